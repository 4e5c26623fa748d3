# ruff: noqa: S608 - queries read best on one line, and are no injections here
"""Functions made, changed and dropped by the real client, without SQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from google.api_core import exceptions
from google.cloud import bigquery
from tests.support.stack import PROJECT, Client, Stack, standing

POLICY = """
rules:
  - name: makers
    agents: {names: [support]}
    resources: {datasets: [acme-shop.shop]}
    allow: [read, schema_change, routine]
  - name: readers
    agents: {names: [reader]}
    allow: [read]
"""
STRING = bigquery.StandardSqlDataType(type_kind=bigquery.StandardSqlTypeNames.STRING)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose agent `support` may make functions, under the labels of the demo."""
    with standing(Stack(tmp_path_factory.mktemp("routine-changes"), rules=POLICY)) as stack:
        yield stack


@pytest.fixture(scope="module")
def maker(stack: Stack) -> Client:
    return stack.client("support")


def function(name: str, body: str, **more: object) -> bigquery.Routine:
    given = {"type_": "SCALAR_FUNCTION", "language": "SQL", **more}
    routine = bigquery.Routine(f"{PROJECT}.shop.{name}", body=body, **given)
    if given["type_"] == "SCALAR_FUNCTION":
        routine.arguments = [bigquery.RoutineArgument(name="x", data_type=STRING)]
        routine.return_type = STRING
    return routine


def test_a_function_is_made_called_changed_and_dropped(stack: Stack, maker: Client) -> None:
    body = "\n  CONCAT('<', x, '>')  -- in brackets\n"
    made = maker.create_routine(function("bracketed", body))
    assert (made.type_, made.language, made.return_type) == ("SCALAR_FUNCTION", "SQL", STRING)
    with pytest.raises(exceptions.Conflict):
        maker.create_routine(function("bracketed", body))
    rows = maker.query_and_wait("SELECT shop.bracketed(ssn) AS s FROM shop.customers WHERE id = 1")
    assert [row.s for row in rows] == ["<XXX-XX-XXXX>"]
    known = maker.get_routine(made)
    made.body = "UPPER(x)"
    every = ["body", "type_", "language", "arguments", "return_type"]
    changed = maker.update_routine(made, every)
    assert changed.body == "UPPER(x)"
    known.body = "LOWER(x)"
    with pytest.raises(exceptions.PreconditionFailed):
        maker.update_routine(known, every)
    with pytest.raises(exceptions.Forbidden, match="refused by policy"):
        stack.client("reader").delete_routine(made)
    maker.delete_routine(made)
    maker.delete_routine(made, not_found_ok=True)
    with pytest.raises(exceptions.NotFound):
        maker.get_routine(made)
    assert [step.sql.split("`")[0] for step in stack.steps(maker.session)] == [
        "CREATE FUNCTION ",
        "CREATE FUNCTION ",
        "SELECT shop.bracketed(ssn) AS s FROM shop.customers WHERE id = 1",
        "CREATE OR REPLACE FUNCTION ",
        "DROP FUNCTION ",
    ]


def test_what_a_made_function_reads_is_masked(maker: Client) -> None:
    rows = maker.create_routine(
        function(
            "numbers",
            f"SELECT id, ssn FROM `{PROJECT}.shop.customers` WHERE id < 3",
            type_="TABLE_VALUED_FUNCTION",
        )
    )
    assert "XXX-XX-XXXX" in rows.body
    maker.delete_routine(rows)


def test_javascript_keeps_its_text(maker: Client) -> None:
    body = "// it's\n return x + \"'\";\n"
    made = maker.create_routine(function("js", body, language="JAVASCRIPT"))
    assert (made.body, made.language) == (body, "JAVASCRIPT")
    maker.delete_routine(made)


def test_what_is_not_made_here_says_so(maker: Client) -> None:
    for refused, said in (
        (function("p", "return x", language="PYTHON"), "`PYTHON`"),
        (function("p", "1); DROP TABLE shop.orders; SELECT (1"), "Syntax error"),
        (function("p", "x", imported_libraries=["gs://b/x.js"]), "`importedLibraries`"),
    ):
        with pytest.raises(exceptions.ClientError, match=said):
            maker.create_routine(refused)
