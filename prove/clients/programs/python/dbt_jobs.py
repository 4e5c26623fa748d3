"""The common jobs of dbt: seed, run, test and show of a small project."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from checks import check, main

PROJECT = Path(__file__).resolve().parent.parent / "dbt"
HERE = Path.cwd() / "project"
_CODES = re.compile(r"\x1b\[[0-9;]*m")


def dbt(*words: str) -> str:
    """Run a command, and give what it printed."""
    done = subprocess.run(
        ["dbt", *words, "--profiles-dir", str(HERE)],  # noqa: S607 - the same
        cwd=HERE,
        env={**os.environ, "DO_NOT_TRACK": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return _CODES.sub("", done.stdout + done.stderr)


def results(*words: str) -> Any:
    """Run a command, and give how each of its nodes ended."""
    file = HERE / "target" / "run_results.json"
    file.unlink(missing_ok=True)
    said = dbt(*words)
    if not file.exists():
        raise RuntimeError(said[-600:])
    found = json.loads(file.read_text())["results"]
    ends = {one["unique_id"]: one["status"] for one in found}
    if bad := [one["message"] for one in found if one["status"] in {"error", "fail"}]:
        raise RuntimeError(f"{ends}: {bad}")
    return ends


def shown(sql: str) -> Any:
    """Give the rows of a query in dbt's own language."""
    said = dbt("--quiet", "show", "--inline", sql, "--output", "json", "--limit", "20")
    start = said.find("{")
    if start < 0 or "Error" in said[:start]:
        raise RuntimeError(said[-600:])
    return json.loads(said[start:])["show"]


@check()
def seed() -> Any:
    return results("seed", "--full-refresh")


@check()
def run_view() -> Any:
    return results("run", "--select", "contacts")


@check()
def run_table() -> Any:
    return results("run", "--select", "spending")


@check()
def run_incremental_first() -> Any:
    return results("run", "--select", "latest", "--full-refresh")


@check()
def run_incremental_again() -> Any:
    return results("run", "--select", "latest")


@check()
def run_on_seed() -> Any:
    return results("run", "--select", "in_a_region")


@check()
def test() -> Any:
    return results("test")


@check()
def show_view() -> Any:
    return shown("select * from {{ ref('contacts') }} order by id")


@check()
def show_table() -> Any:
    return shown("select * from {{ ref('spending') }} order by customer_id")


@check()
def show_incremental() -> Any:
    return shown("select count(*) as n from {{ ref('latest') }}")


@check()
def debug() -> Any:
    return re.findall(r"(?:Connection test|All checks)[^\n]*", dbt("debug"))[0]


@check()
def docs() -> Any:
    dbt("docs", "generate")
    found = json.loads((HERE / "target" / "catalog.json").read_text())
    nodes = {**found["nodes"], **found["sources"]}
    return {name: [*node["columns"]] for name, node in sorted(nodes.items())}


@check()
def syntax_error() -> Any:
    said = dbt("--quiet", "show", "--inline", "selec 1")
    return re.findall(r"Syntax error[^\n]*", said)[0]


@check("approval")
def approval() -> Any:
    return shown("select id, ssn from {{ source('shop', 'customers') }} where id = 1")


@check("refusal")
def denial() -> Any:
    return dbt("show", "--inline", "select ssn from {{ source('shop', 'customers') }} where id = 2")


@check("refusal")
def expiry() -> Any:
    return dbt(
        "show", "--inline", "select phone from {{ source('shop', 'customers') }} where id = 3"
    )


if __name__ == "__main__":
    shutil.copytree(PROJECT, HERE, dirs_exist_ok=True)
    main()
