"""The common jobs of dbt: seed, run, test and show of a small project."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from checks import check, main
from dbt.cli.main import dbtRunner, dbtRunnerResult

PROJECT = Path(__file__).resolve().parent.parent / "dbt"
HERE = Path.cwd() / "project"


def dbt(*words: str) -> dbtRunnerResult:
    """Run a command of dbt's, in this process for its start is slow."""
    return dbtRunner().invoke(["--quiet", *words])


def ended(answer: dbtRunnerResult) -> Any:
    """Give how each node of a command ended. Raises its own words for those that failed."""
    if answer.exception:
        raise answer.exception
    found = {one.node.unique_id: str(one.status) for one in answer.result}
    if bad := [one.message for one in answer.result if one.status in {"error", "fail"}]:
        raise RuntimeError(f"{found}: {bad}")
    return found


def show(sql: str) -> dbtRunnerResult:
    """Run a query in dbt's own language."""
    return dbt("show", "--inline", sql, "--limit", "20")


def shown(sql: str) -> Any:
    """Give the rows of a query."""
    answer = show(sql)
    ended(answer)
    table = answer.result.results[0].agate_table
    return [dict(zip(table.column_names, row, strict=True)) for row in table.rows]


def told(answer: dbtRunnerResult) -> Any:
    """Give the words of a command that failed."""
    if answer.success:
        raise AssertionError("nothing failed")
    said = str(answer.exception or answer.result.results[0].message)
    return {"message": said.splitlines()[-1].strip()}


@check()
def seed() -> Any:
    return ended(dbt("seed", "--full-refresh"))


@check()
def run_view() -> Any:
    return ended(dbt("run", "--select", "complaints"))


@check()
def run_view_beside_a_hashed_column() -> Any:
    return ended(dbt("run", "--select", "contacts"))


@check()
def run_view_of_protected_names() -> Any:
    return ended(dbt("run", "--select", "protected"))


@check()
def run_table() -> Any:
    return ended(dbt("run", "--select", "spending"))


@check()
def run_incremental_first() -> Any:
    return ended(dbt("run", "--select", "latest", "--full-refresh"))


@check()
def run_incremental_again() -> Any:
    return ended(dbt("run", "--select", "latest"))


@check()
def run_on_seed() -> Any:
    return ended(dbt("run", "--select", "in_a_region"))


@check()
def test() -> Any:
    return ended(dbt("test"))


@check()
def show_view() -> Any:
    return shown("select * from {{ ref('complaints') }} order by id")


@check()
def show_table() -> Any:
    return shown("select * from {{ ref('spending') }} order by customer_id")


@check()
def show_incremental() -> Any:
    return shown("select count(*) as n from {{ ref('latest') }}")


@check()
def debug() -> Any:
    answer = dbt("debug")
    if not answer.success:
        raise RuntimeError(str(answer.exception))
    return "connected"


@check()
def docs() -> Any:
    dbt("docs", "generate")
    found = json.loads((HERE / "target" / "catalog.json").read_text())
    nodes = {**found["nodes"], **found["sources"]}
    return {name: [*node["columns"]] for name, node in sorted(nodes.items())}


@check()
def syntax_error() -> Any:
    return told(show("selec 1"))


@check("approval")
def approval() -> Any:
    return shown("select id, ssn from {{ source('shop', 'customers') }} where id = 1")


@check("refusal")
def denial() -> Any:
    return told(show("select ssn from {{ source('shop', 'customers') }} where id = 2"))


@check("refusal")
def expiry() -> Any:
    return told(show("select phone from {{ source('shop', 'customers') }} where id = 3"))


if __name__ == "__main__":
    os.environ["DO_NOT_TRACK"] = "1"
    shutil.copytree(PROJECT, HERE, dirs_exist_ok=True)
    os.chdir(HERE)
    main()
