"""`keystile labels` against real data in the sandbox: what it finds, and that it tells no value."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.support.stack import PROJECT, Stack, standing

PLANTED = {
    "a": "CONCAT('user', CAST(n AS STRING), '@planted.example.com')",
    "b": "FORMAT('%03d-%02d-%04d', 100 + MOD(n, 500), 10 + MOD(n, 80), 1000 + n)",
    "c": "FORMAT('+1 (415) 555-%04d', 1000 + n)",
    "d": "FORMAT('10.%d.%d.%d', MOD(n, 200), MOD(n, 100), MOD(n * 7, 250))",
    "e": "STRUCT(CONCAT('deep', CAST(n AS STRING), '@planted.example.com') AS mail, n AS rank)",
    "f": "IF(MOD(n, 10) = 0, CONCAT('write to me: t', CAST(n AS STRING), '@planted.example.com'),"
    " 'all is well, thank you')",
}
OTHERS = {
    "id": "n",
    "order_ref": "FORMAT('ORD-%08d', 12345678 + n)",
    "price": "CAST(n AS NUMERIC) / 100",
    "price_text": "FORMAT('%d.%02d', n, MOD(n, 100))",
    "made_at": "TIMESTAMP_ADD(TIMESTAMP '2026-01-01', INTERVAL n MINUTE)",
    "at_text": "CAST(TIMESTAMP_ADD(TIMESTAMP '2026-01-01', INTERVAL n MINUTE) AS STRING)",
    "epoch": "1700000000 + n",
    "uuid": "GENERATE_UUID()",
    "status": "IF(MOD(n, 2) = 0, 'open', 'sent')",
    "digest": "TO_HEX(SHA256(CAST(n AS STRING)))",
}
ROWS = "UNNEST(GENERATE_ARRAY(1, 400)) AS n"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with standing(Stack(tmp_path_factory.mktemp("scan"))) as stack:
        columns = ", ".join(f"{sql} AS {name}" for name, sql in (PLANTED | OTHERS).items())
        made = f"CREATE TABLE shop.planted AS SELECT {columns} FROM {ROWS}"  # noqa: S608 - its own
        answer = requests.post(
            f"{stack.sandbox_url}/bigquery/v2/projects/{PROJECT}/queries",
            json={"query": made, "useLegacySql": False},
            headers={"Authorization": f"Bearer {stack.bearer()}"},
            timeout=60,
        )
        assert answer.ok, answer.text
        yield stack


@pytest.fixture(scope="module")
def found(stack: Stack) -> dict[str, Any]:
    (one,) = stack.json("labels", "scan", "--table", f"{PROJECT}.shop.planted", "--rows", "200")
    proposals: dict[str, Any] = {each["column"]: each for each in one["proposals"]}
    assert one["rows"] == 200
    return proposals


def test_what_was_planted_is_found_and_nothing_else(found: dict[str, Any]) -> None:
    assert {column: one["label"] for column, one in found.items()} == {
        "a": "pii.email",
        "b": "pii.ssn",
        "c": "pii.phone",
        "d": "pii.ip",
        "e.mail": "pii.email",
        "f": "pii.text",
    }
    assert {found[column]["confidence"] for column in ("a", "b", "c", "d", "e.mail")} == {"high"}


def test_labelled_columns_are_not_looked_at(stack: Stack) -> None:
    (one,) = stack.json("labels", "scan", "--table", f"{PROJECT}.shop.customers")
    assert one["labelled"]["ssn"] == ["pii.ssn"]
    assert not {each["column"] for each in one["proposals"]} & {"ssn", "email", "phone", "name"}
    asked = [
        json.loads(line)["query"]
        for line in stack.sandbox_log.read_text().splitlines()
        if "/tables/customers/data" in line
    ]
    assert asked
    assert not any("ssn" in query or "email" in query for query in asked)


def test_no_value_is_told_anywhere(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "policy" / "proposed.yaml"
    file.parent.mkdir()
    ran = stack.run("labels", "scan", "--dataset", f"{PROJECT}.shop", "--write", str(file))
    assert ran.returncode == 0, ran.stderr
    assert "BigQuery bills nothing" in ran.stderr
    for text in (ran.stdout, ran.stderr, file.read_text()):
        assert "planted.example.com" not in text
        assert "555-1" not in text
    for name, content in stack.left_behind():
        assert b"planted.example.com" not in content, name
    (file.parent / "rules.yaml").write_text("rules: [{name: r, allow: [read]}]")
    checked = stack.run("policy", "validate", str(file.parent))
    assert "the policy is valid" in checked.stdout or "no such option" in checked.stderr.lower()
    again = stack.run("labels", "scan", "--dataset", f"{PROJECT}.shop", "--write", str(file))
    assert again.returncode == 1
    assert "is there already" in again.stderr


def test_a_scan_is_on_record_before_it_reads(stack: Stack) -> None:
    lines = [
        json.loads(line)["event"]
        for file in sorted(stack.recordings.glob("*/*.jsonl"))
        for line in file.read_text().splitlines()
        if '"labels_scanned"' in line
    ]
    assert lines
    body = lines[0]["body"]
    assert (body["tables"], body["rows"]) == ([f"{PROJECT}.shop.planted"], 200)
    assert body["person"]


def test_each_label_says_where_it_is_from(stack: Stack) -> None:
    listed = stack.json("labels", "list", "--table", f"{PROJECT}.shop.customers")
    by_column = {one["column"]: one for one in listed}
    ssn = by_column[f"{PROJECT}.shop.customers.ssn"]
    assert (ssn["label"], ssn["from"], ssn["fits"]) == ("pii.ssn", "columns", "ssn")
    street = by_column[f"{PROJECT}.shop.customers.address.street"]
    assert street["fits"] == "customers.address"
    shown = stack.run("labels", "list", "--dataset", f"{PROJECT}.shop").stdout
    assert "columns: customers.notes" in shown


def test_wrong_names_are_one_sentence(stack: Stack) -> None:
    for words, said in (
        (["scan"], "nothing to look at"),
        (["scan", "--table", "customers"], "`customers` is no table's name"),
        (["list", "--dataset", "shop"], "`shop` is no dataset's name"),
        (["forget", f"{PROJECT}.shop.customers"], "has no labels for what was written there"),
    ):
        ran = stack.run("labels", *words)
        assert ran.returncode == 1
        assert said in ran.stderr
