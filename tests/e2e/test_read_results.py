"""A query reads the result of another by the real client, as bigframes does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import bigquery
from tests.support.stack import Client, Stack

MASKED = "SELECT id, name, ssn, LENGTH(ssn) AS size FROM shop.customers ORDER BY id LIMIT 5"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("results"))
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="module")
def reader(stack: Stack) -> Client:
    return stack.client("reader")


def rows(client: Client, sql: str, result: str = "") -> list[tuple[Any, ...]]:
    return [row.values() for row in client.query(sql.replace("RESULT", result)).result()]


def result_of(client: Client, sql: str, result: str = "") -> str:
    job = client.query(sql.replace("RESULT", result))
    job.result()
    return named(job)


def named(job: Any) -> str:
    table = job.destination
    return f"`{table.project}.{table.dataset_id}.{table.table_id}`"


def test_a_result_is_read_as_it_was_masked(reader: Client) -> None:
    name = result_of(reader, MASKED)
    first = rows(reader, MASKED)
    assert rows(reader, "SELECT * FROM RESULT ORDER BY id", name) == first
    assert rows(reader, "SELECT t.ssn, size FROM RESULT AS t WHERE id = 1", name) == [
        ("XXX-XX-XXXX", 11)
    ]
    assert rows(reader, "SELECT COUNT(*) FROM RESULT WHERE ssn LIKE '9%'", name) == [(0,)]


def test_a_result_without_an_alias_keeps_its_name(reader: Client) -> None:
    name = result_of(reader, "SELECT id FROM shop.customers WHERE id < 3")
    sql = "SELECT SHORT.id FROM RESULT ORDER BY 1".replace("SHORT", name.strip("`").split(".")[-1])
    assert rows(reader, sql, name) == [(1,), (2,)]


def test_a_result_is_read_beside_masked_tables(reader: Client) -> None:
    name = result_of(reader, "SELECT id FROM shop.customers WHERE id < 3")
    sql = "SELECT id, c.ssn FROM RESULT JOIN shop.customers AS c USING (id) ORDER BY id"
    assert rows(reader, sql, name) == [(1, "XXX-XX-XXXX"), (2, "XXX-XX-XXXX")]


def test_a_result_of_a_result_is_read(reader: Client) -> None:
    name = result_of(reader, "SELECT * FROM RESULT", result_of(reader, MASKED))
    assert rows(reader, "SELECT ssn FROM RESULT WHERE id = 1", name) == [("XXX-XX-XXXX",)]


def test_a_dry_run_of_it_tells_the_schema(reader: Client) -> None:
    config = bigquery.QueryJobConfig(dry_run=True)
    sql = "SELECT ssn FROM RESULT".replace("RESULT", result_of(reader, MASKED))
    job = reader.query(sql, job_config=config)
    assert [field.name for field in job.schema] == ["ssn"]


def test_what_was_approved_once_waits_again_in_another_query(stack: Stack) -> None:
    support = stack.client("support")
    job = support.query("SELECT id, ssn FROM shop.customers WHERE id = 1")
    (asked,) = stack.waiting(support.session)
    stack.approve(asked.id)
    ((_, ssn),) = [row.values() for row in job.result()]
    assert ssn != "XXX-XX-XXXX"
    again = support.query("SELECT UPPER(ssn) AS shout FROM RESULT".replace("RESULT", named(job)))
    (asked,) = stack.waiting(support.session)
    assert [column.column for column in asked.summary.columns] == [
        "acme-shop.shop.customers.id",
        "acme-shop.shop.customers.ssn",
    ]
    assert [column.unlocked for column in asked.summary.columns] == [False, True]
    stack.approve(asked.id)
    assert [row.values() for row in again.result()] == [(ssn.upper(),)]


def test_the_result_of_another_agent_is_absent(stack: Stack, reader: Client) -> None:
    name = result_of(reader, MASKED)
    with pytest.raises(exceptions.NotFound, match="was not found"):
        rows(stack.client("modest"), "SELECT * FROM RESULT", name)


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("CREATE TEMP TABLE t AS SELECT * FROM RESULT", "only a SELECT reads one"),
        ("DROP TABLE RESULT", "refused by policy"),
        ("INSERT RESULT (id) VALUES (1)", "refused by policy"),
        ("SELECT * FROM RESULT FOR SYSTEM_TIME AS OF CURRENT_TIMESTAMP()", "no earlier state"),
        ("BEGIN SELECT * FROM RESULT; END", "only a SELECT reads one"),
    ],
)
def test_a_result_is_read_by_plain_queries_alone(reader: Client, sql: str, said: str) -> None:
    with pytest.raises(exceptions.Forbidden, match=said):
        rows(reader, sql, result_of(reader, MASKED))
