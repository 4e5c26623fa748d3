# ruff: noqa: S608 - queries read best on one line, and are no injections here
"""Rows put into tables without SQL, by the real client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from google.api_core import exceptions
from google.cloud.bigquery import AutoRowIDs
from tests.support.stack import PROJECT, Client, Stack, standing

POLICY = """
rules:
  - name: makers
    agents: {names: [support]}
    resources: {datasets: [acme-shop.lab, acme-shop.shop]}
    allow: [read, write, schema_change]
  - name: readers
    agents: {names: [reader, hurried]}
    resources: {datasets: [acme-shop.lab, acme-shop.shop]}
    allow: [read]
  - name: asking-writers
    agents: {names: [hurried]}
    resources: {datasets: [acme-shop.lab]}
    allow: [write]
  - name: writes-need-a-person
    agents: {names: [hurried]}
    resources: {datasets: [acme-shop.lab]}
    when: '"write" in query.actions'
    require_approval: {from: [data-stewards], count: 1, expires: 1m}
"""
NOTES = f"{PROJECT}.lab.notes"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose agent `support` may write, under the labels of the demo."""
    with standing(Stack(tmp_path_factory.mktemp("streaming"), rules=POLICY)) as stack:
        yield stack


@pytest.fixture(scope="module")
def writer(stack: Stack) -> Client:
    client = stack.client("support")
    client.create_dataset("lab")
    return client


@pytest.fixture
def notes(writer: Client) -> str:
    writer.query_and_wait(
        f"CREATE OR REPLACE TABLE {NOTES} (id INT64, amount NUMERIC, note STRING)"
    )
    return NOTES


def stored(client: Client) -> list[tuple[Any, ...]]:
    found = client.query_and_wait(
        f"SELECT id, CAST(amount AS STRING), note FROM {NOTES} ORDER BY id"
    )
    return [tuple(row) for row in found]


def test_rows_are_in_the_table_and_on_record(stack: Stack, writer: Client, notes: str) -> None:
    rows = [{"id": 1, "note": "a"}, {"id": 2, "amount": "0.10"}]
    assert writer.insert_rows_json(notes, rows) == []
    assert stored(writer) == [(1, None, "a"), (2, "0.1", None)]
    step = next(step for step in stack.steps(writer.session) if step.sent)
    assert [row.json for row in step.sent] == ['{"id":1,"note":"a"}', '{"id":2,"amount":"0.10"}']
    assert (step.state, step.statement, step.tables) == ("done", "INSERT", (notes,))
    assert "(`id`, `amount`, `note`)" in step.sql
    assert step.decision.effect == "allow"


def test_the_same_ids_are_the_same_rows(writer: Client, notes: str) -> None:
    for _ in range(2):
        assert writer.insert_rows_json(notes, [{"id": 7}], row_ids=["seven"]) == []
    assert stored(writer) == [(7, None, None)]
    for _ in range(2):
        assert writer.insert_rows_json(notes, [{"id": 8}], row_ids=AutoRowIDs.DISABLED) == []
    assert [row[0] for row in stored(writer)] == [7, 8, 8]


def test_rows_that_do_not_fit_are_told_and_on_record(
    stack: Stack, writer: Client, notes: str
) -> None:
    rows = [{"id": 1}, {"id": "no number"}, {"id": 3, "other": 1}]
    bad = writer.insert_rows_json(notes, rows)
    assert {one["index"]: one["errors"][0]["reason"] for one in bad} == {
        0: "stopped",
        1: "invalid",
        2: "invalid",
    }
    assert stored(writer) == []
    step = stack.steps(writer.session)[-2]
    assert step.state == "failed"
    assert step.faults.keys() == {0, 1, 2}
    more = {"skip_invalid_rows": True, "ignore_unknown_values": True}
    assert [one["index"] for one in writer.insert_rows_json(notes, rows, **more)] == [1]
    assert [row[0] for row in stored(writer)] == [1, 3]
    step = stack.steps(writer.session)[-2]
    assert (step.state, [*step.faults]) == ("done", [1])


def test_a_request_may_be_as_large_as_bigquery_takes_it(writer: Client, notes: str) -> None:
    rows = [{"id": n, "note": "x" * 50_000} for n in range(60)]
    assert writer.insert_rows_json(notes, rows) == []
    (row,) = writer.query_and_wait(f"SELECT COUNT(*), SUM(LENGTH(note)) FROM {notes}")
    assert tuple(row) == (60, 3_000_000)


def test_who_may_not_insert_puts_no_row_into_a_table(
    stack: Stack, writer: Client, notes: str
) -> None:
    reader = stack.client("reader")
    with pytest.raises(exceptions.Forbidden, match="no rule allows agent `reader` `write`"):
        reader.insert_rows_json(notes, [{"id": 1}])
    hurried = stack.client("hurried")
    with pytest.raises(exceptions.Forbidden, match="an INSERT statement, which waits"):
        hurried.insert_rows_json(notes, [{"id": 1}])
    for name in ("payroll.salaries", "shop.nothing"):
        with pytest.raises(exceptions.NotFound, match=rf"Table acme-shop:{name} was not found"):
            writer.insert_rows_json(f"{PROJECT}.{name}", [{"id": 1}])
    with pytest.raises(exceptions.Forbidden, match="templateSuffix"):
        writer.insert_rows_json(notes, [{"id": 1}], template_suffix="_new")
    assert stored(writer) == []
    for client in (reader, hurried):
        (step,) = stack.steps(client.session)
        assert (step.state, [row.json for row in step.sent]) == ("refused", ['{"id":1}'])


def test_who_may_write_a_protected_column_reads_it_masked_all_the_same(
    stack: Stack, writer: Client
) -> None:
    where = f"{PROJECT}.shop.customers"
    new = {"id": 9_001, "ssn": "951-59-9001", "name": "New Person"}
    assert writer.insert_rows_json(where, [new]) == []
    (row,) = writer.query_and_wait(f"SELECT ssn FROM {where} WHERE id = 9001")
    assert row.ssn == "XXX-XX-XXXX"
    sql = f"SELECT ssn FROM {where} WHERE id = 9001"
    answer = requests.post(
        f"{stack.sandbox_url}/bigquery/v2/projects/{PROJECT}/queries",
        json={"query": sql, "useLegacySql": False},
        headers={"Authorization": f"Bearer {stack.bearer()}"},
        timeout=30,
    )
    assert answer.json()["rows"] == [{"f": [{"v": "951-59-9001"}]}]
