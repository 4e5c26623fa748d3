"""Values in columns that no label covers, on a running gateway: masked, counted, not written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from google.cloud import bigquery
from tests.support.stack import PROJECT, Client, Stack, standing

RULES = """
rules:
  - name: readers
    resources: {datasets: [acme-shop.lab]}
    allow: [read]
detectors:
  - {name: personal, find: [ssn, card, email], label: pii}
masks:
  - {label: pii, mask: {kind: constant, value: hidden}}
"""
SSN, CARD, EMAIL = "536-22-8714", "4111 1111 1111 1111", "jane.roe@example.com"
TEXTS = [f"his SSN is {SSN}.", f"paid by {CARD}, as before", f"write to {EMAIL}", "nothing"]
MASKED = ["his SSN is hidden.", "paid by hidden, as before", "write to hidden", "nothing"]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("detectors"), rules=RULES)
    for file in (stack.folder / "policy").iterdir():
        file.unlink()
    (stack.folder / "policy" / "rules.yaml").write_text(RULES)
    with standing(stack):
        ask(stack, "datasets", {"datasetReference": {"datasetId": "lab"}})
        values = ", ".join(f"({number}, '{text}')" for number, text in enumerate(TEXTS))
        create = "CREATE TABLE lab.notes (id INT64, note STRING)"
        for sql in (create, f"INSERT lab.notes (id, note) VALUES {values}"):  # noqa: S608 - ours
            ask(stack, "queries", {"query": sql, "useLegacySql": False})
        yield stack


def ask(stack: Stack, path: str, body: dict[str, Any]) -> None:
    """Do something in BigQuery itself, as its owner does."""
    url = f"{stack.sandbox_url}/bigquery/v2/projects/{PROJECT}/{path}"
    bearer = {"Authorization": f"Bearer {stack.bearer()}"}
    answer = requests.post(url, json=body, headers=bearer, timeout=30)
    assert answer.ok, answer.text


def by_query(client: Client) -> list[Any]:
    return [row.note for row in client.query("SELECT note FROM lab.notes ORDER BY id").result()]


def by_list(client: Client) -> list[Any]:
    fields = [bigquery.SchemaField("id", "INTEGER"), bigquery.SchemaField("note", "STRING")]
    listed = client.list_rows("lab.notes", selected_fields=fields)
    return [row.note for row in sorted(listed, key=lambda row: row.id)]


@pytest.mark.parametrize("way", [by_query, by_list])
def test_what_no_label_covers_is_masked_and_counted_and_its_value_is_written_nowhere(
    stack: Stack, way: Any
) -> None:
    before = recorded(stack)
    assert way(stack.client("reader")) == MASKED
    added = recorded(stack) - before
    found = [one for record in added for one in findings(json.loads(record))]
    assert sorted((one["entity"], one["column"], one["count"]) for one in found) == [
        (entity, "note", 1) for entity in ("card", "email", "ssn")
    ]
    for name, content in stack.left_behind():
        assert not [value for value in (SSN, CARD, EMAIL) if value.encode() in content], name


def recorded(stack: Stack) -> set[str]:
    files = stack.recordings.glob("*/*.jsonl")
    return {line for file in files for line in file.read_text().splitlines()}


def findings(value: Any) -> Iterator[dict[str, Any]]:
    """Yield what a record says was found, wherever in it that stands."""
    if isinstance(value, dict):
        if {"entity", "count"} <= value.keys():
            yield value
        for part in value.values():
            yield from findings(part)
    elif isinstance(value, list):
        for part in value:
            yield from findings(part)
