"""A small size of `script/prove corpus`, over tests and a benchmark of our own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from prove.benchmarks import measured
from prove.cases import of_googlesql
from prove.coverage import Coverage, Trier
from prove.goldens import read
from prove.scramble import Contents, difference

from keystile.analysis.scans import Walk
from keystile.model.facts import QueryFacts

ANALYSER = """[default language_features=MAXIMUM]
# A comment, and what follows is read.
SELECT Value FROM KeyValue WHERE Key = {{1|2}}
--
QueryStmt
==
SELECT nothing FROM KeyValue
--
ERROR: Unrecognized name: nothing
==
DROP TABLE KeyValue
--
DropStmt
==
SELECT Key FROM KeyValue FOR UPDATE
--
QueryStmt
==
SELECT KitchenSink FROM KeyValue
--
QueryStmt
==
SELECT KEYS.NEW_KEYSET('AEAD_AES_GCM_256') AS k
--
QueryStmt
"""

COMPLIANCE = """[prepare_database]
CREATE TABLE Made AS SELECT CAST(1 AS INT32) AS a, "x" AS b
--
ARRAY<STRUCT<a INT32, b STRING>>[{1, "x"}]
==
[parameters=1 AS most]
SELECT b FROM Made WHERE a <= @most
--
ARRAY<STRUCT<b STRING>>[{"x"}]
==
[name=before]
SELECT LAG(b) OVER (ORDER BY a) AS r FROM Made
--
ARRAY<STRUCT<r STRING>>[{NULL}]
"""


def written(folder: Path) -> Path:
    for name, text in (("analyzer", ANALYSER), ("compliance", COMPLIANCE)):
        tests = folder / "googlesql" / name / "testdata"
        tests.mkdir(parents=True, exist_ok=True)
        (tests / "own.test").write_text(text)
    return folder


def coverage(folder: Path) -> Coverage:
    trier = Trier(compare=True)
    whole = Coverage()
    for case in of_googlesql(written(folder), trier.engine):
        whole.add(trier.tried(case))
    return whole


def test_each_case_is_classed_analysed_and_masked(tmp_path: Path) -> None:
    summary = coverage(tmp_path).summary()

    assert summary["excluded"] == {
        "the test expects an error": 1,
        "no query": 1,
        "not in BigQuery": 1,
        "the engine rejects it in BigQuery's dialect": 2,
    }
    assert {name: summary[name] for name in ("accepted", "analysed", "refused", "misread")} == {
        "accepted": 5,
        "analysed": 4,
        "refused": 1,
        "misread": 0,
    }
    assert summary["masked"] == summary["masked_proved"] == 4
    assert summary["worlds_compared"] == 3  # the evaluator is given no parameters


def test_a_walk_that_forgets_an_order_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgetful(walk: Walk, node: Any) -> None:
        walk.scan(node.input_scan)
        for group in node.function_group_list:
            for column in group.analytic_function_list:
                walk.computed(column)

    monkeypatch.setitem(Walk._scans, "ResolvedAnalyticScan", forgetful)
    monkeypatch.setattr(Walk, "finish", lambda _: None)

    assert coverage(tmp_path).misread == ["own.test:12: `Made.a` is scanned and not in the facts"]


def test_facts_that_miss_a_use_are_found_out_by_other_content(tmp_path: Path) -> None:
    trier = Trier(compare=True)
    *_, case = of_googlesql(written(tmp_path), trier.engine)
    analysed = trier.analysed(case)
    assert analysed is not None

    def differs(facts: QueryFacts) -> str | None:
        engine, sql = trier.engine, case.golden.sql
        return difference(Contents(engine), engine, sql, case.tables, facts)

    assert differs(analysed.facts) == ""
    assert differs(msgspec.structs.replace(analysed.facts, columns=()))


def test_what_stands_around_a_statement_is_no_part_of_it() -> None:
    text = (
        "# one\n[a]\n[default b=2]\n\\# kept\nSELECT 1\n--\nX\n==\n\nSELECT {{2|3}}\n--\nERROR: no"
    )

    cases = list(read(text, "f.test"))

    assert [(case.sql, case.options, case.line, case.expects_error) for case in cases] == [
        ("# kept\nSELECT 1", {"a": "", "b": "2"}, 4, False),
        ("SELECT 2", {"b": "2"}, 10, True),
        ("SELECT 3", {"b": "2"}, 10, True),
    ]


def test_a_benchmark_is_masked_wherever_it_reads(tmp_path: Path) -> None:
    (tmp_path / "schema.sql").write_text(
        "CREATE TABLE a (id INT64, s STRING);\nCREATE TABLE b (id INT64, n NUMERIC);\n"
    )
    (tmp_path / "q1.sql").write_text("SELECT s, (SELECT COUNT(*) FROM b) FROM a ORDER BY s")
    (tmp_path / "q2.sql").write_text("SELECT gone FROM a")

    result = measured(tmp_path)

    assert (result.queries, result.analysed, result.proved) == (2, 1, 1)
    assert list(result.refused) == ["q2.sql"]
