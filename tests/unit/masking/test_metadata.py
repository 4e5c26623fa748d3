"""INFORMATION_SCHEMA through the real analysis, rewriting and proof."""

from __future__ import annotations

import pytest
from prove.evaluator import Content, World

from keystile.analysis.analyst import Analyst
from keystile.analysis.information_schema import view_of, view_table
from keystile.analysis.statement import Statement
from keystile.googlesql.inline import InlineRunner
from keystile.masking.keyed import always
from keystile.masking.metadata import metadata_query
from keystile.masking.rewrite import Rewriter, Rewritten
from keystile.model.errors import OpaqueQueryError, RefusedError
from keystile.model.schema import Field, Routine, RoutineId, Table, TableId, TableKind

TABLES = TableId("p", "d", "INFORMATION_SCHEMA.TABLES")
SCHEMATA = TableId("p", "INFORMATION_SCHEMA", "SCHEMATA")
ORDERS = Table(TableId("p", "d", "orders"), TableKind.TABLE, (Field("name", "STRING"),), "1")
SEEN = ("orders", "o'brien`s")


class Source:
    """Lets the reader see rows about two names, and one table."""

    async def table(self, id: TableId) -> Table:  # noqa: A002 - the port's own word
        return view_table(id, SEEN) if view_of(id) else ORDERS

    async def routine(self, id: RoutineId) -> Routine:  # noqa: A002 - the port's own word
        raise NotImplementedError

    async def tables_like(self, id: TableId) -> tuple[Table, ...]:  # noqa: A002 - as above
        raise NotImplementedError


@pytest.fixture(scope="module")
def runner() -> InlineRunner:
    return InlineRunner()


async def rewritten(runner: InlineRunner, sql: str) -> Rewritten:
    analysed = await Analyst(runner, 100_000).analyse(Statement(sql, "p", "d"), Source())
    return await Rewriter(runner, always(bytes(range(32)))).rewrite(analysed, ())


def world(runner: InlineRunner) -> World:
    """Give the view as BigQuery would fill it, with a table that the reader may not see."""
    table = view_table(TABLES, ())
    columns = {"table_catalog": "p", "table_schema": "d", "ddl": "CREATE TABLE … secret"}
    rows = [
        tuple((columns | {"table_name": name}).get(field.name) for field in table.fields)
        for name in (*SEEN, "salaries")
    ]
    engine = runner._engine
    assert engine is not None
    return World(engine, [Content(table, rows)])


FULL = "`p`.`d`.`INFORMATION_SCHEMA`.`TABLES`"


async def test_a_reader_sees_rows_about_what_it_may_see_and_no_sql_text(
    runner: InlineRunner,
) -> None:
    sql = "SELECT table_name, ddl, table_schema FROM d.INFORMATION_SCHEMA.TABLES ORDER BY 1"
    text = (await rewritten(runner, sql)).sql
    assert FULL in text
    answer = world(runner).run(text.replace(FULL, f"`{TABLES.table}`"))
    assert answer.error == ""
    shown = [[cell.string_value for cell in row.cell] for row in answer.rows]
    assert shown == [["o'brien`s", "", "d"], ["orders", "", "d"]]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT COUNT(*) FROM d.INFORMATION_SCHEMA.TABLES",
        "SELECT 1 FROM `p.d.INFORMATION_SCHEMA.TABLES` AS t",
        "WITH TABLES AS (SELECT * FROM d.INFORMATION_SCHEMA.TABLES) SELECT * FROM TABLES",
        "FROM d.information_schema.tables |> AGGREGATE COUNT(*)",
        "SELECT name IN (SELECT table_name FROM d.INFORMATION_SCHEMA.TABLES) FROM d.orders",
        "INSERT INTO d.orders SELECT table_name FROM d.INFORMATION_SCHEMA.TABLES",
        "CREATE TABLE d.mine AS SELECT * FROM d.INFORMATION_SCHEMA.TABLES",
    ],
)
async def test_whatever_the_text_is_each_mention_is_filtered(
    runner: InlineRunner, sql: str
) -> None:
    text = (await rewritten(runner, sql)).sql
    assert text.count(FULL) == 1
    assert text.count(r"IN UNNEST(ARRAY<STRING>['orders', 'o\'brien`s'])") == 1
    assert "keystile_row.`ddl`" not in text


async def test_a_project_lists_the_datasets_that_a_reader_may_see(runner: InlineRunner) -> None:
    text = (await rewritten(runner, "SELECT schema_name FROM INFORMATION_SCHEMA.SCHEMATA")).sql
    assert "FROM `p`.`INFORMATION_SCHEMA`.`SCHEMATA` AS" in text
    assert "keystile_row.`schema_name` IN UNNEST(" in text


@pytest.mark.parametrize(
    ("sql", "word"),
    [
        ("SELECT query FROM `region-us`.INFORMATION_SCHEMA.JOBS", "what others do"),
        ("SELECT query FROM `region-us.INFORMATION_SCHEMA.JOBS_BY_PROJECT`", "what others do"),
        ("SELECT 1 FROM d.INFORMATION_SCHEMA.SESSIONS_BY_USER", "what others do"),
        ("SELECT 1 FROM INFORMATION_SCHEMA.OBJECT_PRIVILEGES", "what others do"),
        ("SELECT 1 FROM `region-eu`.INFORMATION_SCHEMA.TABLES", "for one dataset"),
        ("SELECT 1 FROM INFORMATION_SCHEMA.TABLES", "for one dataset"),
        ("SELECT 1 FROM d.INFORMATION_SCHEMA.NO_SUCH_THING", "COLUMN_FIELD_PATHS"),
        ("DELETE FROM d.INFORMATION_SCHEMA.TABLES WHERE TRUE", "read it"),
    ],
)
async def test_what_is_not_served_is_refused_with_what_to_do(
    runner: InlineRunner, sql: str, word: str
) -> None:
    with pytest.raises(OpaqueQueryError) as error:
        await rewritten(runner, sql)
    assert "INFORMATION_SCHEMA" in error.value.message
    assert word in error.value.hint


def test_too_many_names_are_refused() -> None:
    table = view_table(TABLES, tuple(f"table_{number:06}" for number in range(10_000)))
    view = view_of(TABLES)
    assert view
    with pytest.raises(RefusedError, match="too many names"):
        metadata_query(table, view, "r")


def test_sizes_in_bytes_are_withheld_since_they_tell_how_long_masked_values_are() -> None:
    view = view_of(TableId("p", "d", "INFORMATION_SCHEMA.PARTITIONS"))
    assert view
    assert "total_logical_bytes" in view.withheld
    assert not any(
        "bytes" in field.name
        for name in ("TABLES", "PARTITIONS", "COLUMNS", "TABLE_OPTIONS")
        for field in (view_of(TableId("p", "d", f"INFORMATION_SCHEMA.{name}")) or view).fields
        if field.name not in view.withheld
    )


def test_the_columns_of_every_view_have_a_key_and_types_of_bigquery() -> None:
    for name in ("TABLES", "COLUMNS", "PARTITIONS", "ROUTINES", "PARAMETERS", "VIEWS"):
        view = view_of(TableId("p", "d", f"INFORMATION_SCHEMA.{name}"))
        assert view
        names = [field.name for field in view.fields]
        assert view.key in names
        assert view.withheld.isdisjoint({view.key})
        assert len(set(names)) == len(names)
        assert {field.type for field in view.fields} <= {"STRING", "INT64", "TIMESTAMP"}
