"""Routines through the real client, the gateway and a BigQuery that keeps them."""

from __future__ import annotations

import pytest
import requests
from google.api_core import exceptions
from tests.support.stack import PROJECT, Stack

ROUTINES = (
    "CREATE OR REPLACE FUNCTION shop.same(x STRING) AS (CONCAT('<', x, '>'))",
    "CREATE OR REPLACE FUNCTION shop.top() AS ((SELECT MAX(ssn) FROM `acme-shop.shop.customers`))",
    "CREATE OR REPLACE TABLE FUNCTION shop.first(n INT64) AS"  # noqa: ISC004 - one statement
    " SELECT id FROM `acme-shop.shop.customers` WHERE id <= n",
)


@pytest.fixture(scope="module")
def made(stack: Stack) -> Stack:
    """The stack, with routines that somebody made at BigQuery itself."""
    for sql in ROUTINES:
        answer = requests.post(
            f"{stack.sandbox_url}/bigquery/v2/projects/{PROJECT}/queries",
            json={"query": sql, "useLegacySql": False},
            headers={"Authorization": f"Bearer {stack.bearer()}"},
            timeout=30,
        )
        assert answer.status_code == requests.codes.ok, answer.text
    return stack


def test_what_a_routine_is_handed_is_masked(made: Stack) -> None:
    client = made.client("reader")
    rows = client.query("SELECT shop.same(ssn) FROM shop.customers WHERE id = 1").result()
    assert [tuple(row) for row in rows] == [("<XXX-XX-XXXX>",)]


def test_a_table_function_that_reads_open_columns_is_called(made: Stack) -> None:
    client = made.client("reader")
    rows = client.query("SELECT id FROM shop.first(2) ORDER BY id").result()
    assert [row.id for row in rows] == [1, 2]


def test_a_routine_that_reads_a_protected_column_is_refused(made: Stack) -> None:
    client = made.client("reader")
    with pytest.raises(exceptions.Forbidden, match="masked for you"):
        client.query("SELECT shop.top()").result()


def test_temporary_functions_are_a_select(made: Stack) -> None:
    client = made.client("reader")
    sql = (
        "CREATE TEMP FUNCTION f(x STRING) AS (REVERSE(x));"
        " SELECT f(ssn) AS s FROM shop.customers WHERE id = 1"
    )
    job = client.query(sql)
    assert [row.s for row in job.result()] == ["XXXX-XX-XXX"]
    assert job.statement_type == "SELECT"
