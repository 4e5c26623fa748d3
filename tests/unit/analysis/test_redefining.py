from __future__ import annotations

import pytest

from keystile.analysis.parsing import statement_tree
from keystile.analysis.redefining import redefined
from keystile.googlesql.engine import Engine

ALL = [((), None)]


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("DROP TABLE t", ALL),
        ("DROP TABLE IF EXISTS t", ALL),
        ("DROP SCHEMA d CASCADE", ALL),
        ("CREATE OR REPLACE TABLE t (a STRING)", ALL),
        ("CREATE OR REPLACE TABLE t AS SELECT 1 AS a", ALL),
        ("CREATE OR REPLACE TABLE t CLONE u", ALL),
        ("CREATE OR REPLACE TABLE t LIKE u", ALL),
        ("CREATE TABLE t (a STRING)", []),
        ("CREATE TABLE IF NOT EXISTS t (a STRING)", []),
        ("CREATE OR REPLACE VIEW v AS SELECT 1 AS a", []),
        ("SELECT 1", []),
        ("ALTER TABLE t ADD COLUMN a STRING OPTIONS (description = 'x')", []),
        ("ALTER TABLE t SET OPTIONS (description = 'x')", []),
        ("ALTER TABLE t DROP COLUMN a, DROP COLUMN IF EXISTS b", [(("a",), None), (("b",), None)]),
        ("ALTER TABLE t ALTER COLUMN a SET OPTIONS (description = 'x')", [(("a",), "x")]),
        ("ALTER TABLE t ALTER COLUMN a SET OPTIONS (Description = NULL)", [(("a",), None)]),
        ("ALTER TABLE t ALTER COLUMN a SET OPTIONS (description = 'x' || 'y')", [(("a",), None)]),
        ("ALTER TABLE t ALTER COLUMN a SET OPTIONS (rounding_mode = 'x')", []),
        ("ALTER VIEW v ALTER COLUMN a SET OPTIONS (description = '')", [(("a",), "")]),
        (
            "ALTER MATERIALIZED VIEW v ALTER COLUMN a SET OPTIONS (description = '')",
            [(("a",), "")],
        ),
        ("ALTER TABLE t ALTER COLUMN a SET DATA TYPE STRING", []),
        ("ALTER TABLE t ALTER COLUMN a SET DATA TYPE STRUCT<b STRING>", [(("a",), None)]),
        ("ALTER TABLE t ALTER COLUMN a SET DATA TYPE ARRAY<STRUCT<b STRING>>", [(("a",), None)]),
        ("ALTER TABLE t ALTER COLUMN a DROP NOT NULL", []),
    ],
)
def test_what_takes_words_from_columns_is_found(
    engine: Engine, sql: str, found: list[tuple[tuple[str, ...], str | None]]
) -> None:
    assert list(redefined(statement_tree(engine, sql))) == found
