# ruff: noqa: S608 - the statements are built of this file's own words
"""Queries whose result goes into a table, by the real client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import bigquery
from tests.support.stack import PROJECT, Client, Stack, standing

POLICY = """
rules:
  - name: keepers-read
    agents: {names: [support]}
    resources: {datasets: [acme-shop.lab, acme-shop.shop]}
    allow: [read]
  - name: keepers-write
    agents: {names: [support]}
    resources: {datasets: [acme-shop.lab]}
    allow: [write, schema_change]
  - name: askers
    agents: {names: [reader]}
    resources: {datasets: [acme-shop.lab]}
    allow: [read, write, schema_change]
  - name: askers-wait
    agents: {names: [reader]}
    when: '"write" in query.actions'
    require_approval: {from: [data-stewards], count: 1, expires: 30m}
"""
LAB = f"{PROJECT}.lab"
SHOP = f"{PROJECT}.shop"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose agent `support` may write to `lab`, and `reader` once people approve."""
    with standing(Stack(tmp_path_factory.mktemp("into"), rules=POLICY)) as stack:
        yield stack


@pytest.fixture(scope="module")
def keeper(stack: Stack) -> Client:
    client = stack.client("support")
    client.create_dataset("lab")
    return client


def into(table: str, **more: Any) -> bigquery.QueryJobConfig:
    return bigquery.QueryJobConfig(destination=f"{LAB}.{table}", **more)


def values(rows: Any) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in rows]


def test_a_result_is_kept_and_told_as_bigquery_does(stack: Stack, keeper: Client) -> None:
    sql = f"SELECT id, status FROM {SHOP}.orders WHERE id < 4 ORDER BY id DESC"
    job = keeper.query(sql, job_config=into("kept", clustering_fields=["id"]))
    rows = values(job.result())
    assert [row[0] for row in rows] == [3, 2, 1]
    assert str(job.destination) == f"{LAB}.kept"
    assert sorted(values(keeper.list_rows(f"{LAB}.kept"))) == sorted(rows)
    table = keeper.get_table(job.destination)
    assert (table.num_rows, table.clustering_fields) == (3, ["id"])
    again = keeper.get_job(job.job_id)
    assert (str(again.destination), again.statement_type) == (f"{LAB}.kept", "SELECT")
    (step,) = [step for step in stack.steps(keeper.session) if step.sql == sql]
    assert step.state == "done"
    assert step.into.startswith(f"{LAB}.kept ")
    assert f"{LAB}.kept" in step.tables
    assert {"write", "schema_change"} <= set(step.actions)


def test_dispositions_do_what_they_say(keeper: Client) -> None:
    keeper.query("SELECT 1 AS n", job_config=into("disposed")).result()
    with pytest.raises(exceptions.Conflict, match="Already Exists"):
        keeper.query("SELECT 2 AS n", job_config=into("disposed")).result()
    more = into("disposed", write_disposition="WRITE_APPEND")
    assert values(keeper.query("SELECT 3 AS n", job_config=more).result()) == [(3,)]
    assert sorted(values(keeper.list_rows(f"{LAB}.disposed"))) == [(1,), (3,)]
    grown = into(
        "disposed",
        write_disposition="WRITE_APPEND",
        schema_update_options=["ALLOW_FIELD_ADDITION"],
    )
    keeper.query("SELECT 4 AS n, 'x' AS word", job_config=grown).result()
    assert len(values(keeper.list_rows(f"{LAB}.disposed"))) == 3
    anew = into("disposed", write_disposition="WRITE_TRUNCATE")
    keeper.query("SELECT 'only' AS word", job_config=anew).result()
    assert values(keeper.list_rows(f"{LAB}.disposed")) == [("only",)]
    never = into("absent", create_disposition="CREATE_NEVER")
    with pytest.raises(exceptions.NotFound):
        keeper.query("SELECT 1 AS n", job_config=never).result()


def test_rows_of_a_table_that_grew_since_were_given_for_the_results(keeper: Client) -> None:
    job = keeper.query("SELECT 1 AS n", job_config=into("grown"))
    job.result()
    keeper.query_and_wait(f"INSERT INTO {LAB}.grown VALUES (2)")
    assert values(keeper.get_job(job.job_id).result()) == [(1,)]
    keeper.query_and_wait(f"DROP TABLE {LAB}.grown")
    assert values(keeper.get_job(job.job_id).result()) == [(1,)]


def test_what_is_kept_is_masked(keeper: Client, customers: list[dict[str, Any]]) -> None:
    sql = f"SELECT id, ssn AS number FROM {SHOP}.customers ORDER BY id"
    rows = values(keeper.query(sql, job_config=into("numbers")).result())
    assert {row[1] for row in rows} == {"XXX-XX-XXXX"}
    kept = values(keeper.list_rows(f"{LAB}.numbers"))
    assert {row[1] for row in kept} == {"XXX-XX-XXXX"}
    assert len(kept) == len(customers)


def test_masks_were_written_over_values(keeper: Client) -> None:
    # `ssn` is labelled wherever it lies.
    keeper.query_and_wait(f"CREATE TABLE {LAB}.owned AS SELECT '951-59-0001' AS ssn")
    for disposition in ("WRITE_TRUNCATE", "WRITE_APPEND", "WRITE_TRUNCATE_DATA"):
        config = into("owned", write_disposition=disposition)
        with pytest.raises(exceptions.Forbidden, match="its mask would be written over"):
            keeper.query(f"SELECT ssn FROM {SHOP}.customers", job_config=config)


def test_a_dry_run_writes_nothing(keeper: Client) -> None:
    job = keeper.query("SELECT 1 AS n", job_config=into("dry", dry_run=True))
    assert (job.total_bytes_processed, str(job.destination)) == (0, f"{LAB}.dry")
    with pytest.raises(exceptions.NotFound):
        keeper.get_table(f"{LAB}.dry")


def test_a_table_outside_the_rules_was_written(keeper: Client) -> None:
    config = bigquery.QueryJobConfig(destination=f"{SHOP}.mine")
    with pytest.raises(exceptions.Forbidden, match="no rule allows agent `support`"):
        keeper.query("SELECT 1 AS n", job_config=config)
    with pytest.raises(exceptions.BadRequest, match="`destinationTable` is for a SELECT"):
        keeper.query(f"CREATE TABLE {LAB}.x AS SELECT 1 AS n", job_config=into("y"))


def test_people_see_where_the_result_goes_before_they_approve(stack: Stack, keeper: Client) -> None:
    del keeper  # it makes the dataset
    asker = stack.client("reader")
    job = asker.query("SELECT 7 AS n", job_config=into("asked"))
    assert job.state == "PENDING"
    (request,) = stack.waiting(asker.session)
    assert f"{LAB}.asked" in stack.run("approvals", "show", request.id).stdout
    stack.approve(request.id)
    assert values(job.result(timeout=30)) == [(7,)]
    assert values(asker.list_rows(f"{LAB}.asked")) == [(7,)]
