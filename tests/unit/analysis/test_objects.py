# ruff: noqa: ISC004, S608 - queries made of a test's own words
from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from keystile.analysis.analysed import Analysed
from keystile.analysis.analyst import Analyst
from keystile.analysis.statement import Statement
from keystile.googlesql.cached import CachedRunner
from keystile.googlesql.inline import InlineRunner
from keystile.googlesql.task import Task
from keystile.model.errors import InvalidQueryError, NotFoundError, RefusedError
from keystile.model.facts import Use
from keystile.model.schema import Field, Table, TableId, TableKind

PROJECT = "acme-shop"
STRING = "STRING"


def table(path: str, *columns: str, kind: TableKind = TableKind.TABLE, query: str = "") -> Table:
    project, dataset, name = ([PROJECT, *path.split(".")])[-3:]
    fields = tuple(
        Field(*(column.split() * 2)[:2] if " " in column else (column, STRING))
        for column in columns
    )
    return Table(TableId(project, dataset, name), kind, fields, "1", query)


def view(path: str, query: str, *columns: str, kind: TableKind = TableKind.VIEW) -> Table:
    return table(path, *columns, kind=kind, query=query)


class Source:
    """Some tables; every look-up is counted."""

    def __init__(self, *tables: Table) -> None:
        self.tables = {each.id: each for each in (*TABLES, *tables)}
        self.asked: list[str] = []

    async def table(self, id: TableId) -> Table:  # noqa: A002 - the port's own word
        self.asked.append(id.table)
        if id in self.tables:
            return self.tables[id]
        raise NotFoundError(f"Not found: Table {id}")

    async def routine(self, id: Any) -> Any:  # noqa: A002 - as above
        raise NotFoundError(f"Not found: Routine {id}")

    async def tables_like(self, id: TableId) -> tuple[Table, ...]:  # noqa: A002 - as above
        raise NotFoundError(f"Not found: {id}")


TABLES = (
    table("shop.people", "id INT64", "name", "ssn"),
    table("shop.People", "id INT64", "name", "ssn"),
    table("shop.orders", "id INT64", "person INT64"),
    table("other-project.shop.people", "id INT64", "name", "ssn"),
    view("v.names", "SELECT id, name FROM shop.people", "id INT64", "name"),
    view("v.numbers", "SELECT id, ssn AS number FROM shop.people", "id INT64", "number"),
    view(
        "v.both",
        "SELECT a.name, b.number FROM v.names AS a JOIN v.numbers AS b USING (id)",
        "name",
        "number",
    ),
    view("v.listed", "SELECT name, UPPER(name) FROM shop.people", "a", "b"),
)

Analyse = Callable[..., Analysed]


@pytest.fixture
def analyse(runner: InlineRunner) -> Analyse:
    def run(sql: str, *more: Table, dataset: str = "shop", limit: int = 20_000) -> Analysed:
        statement = Statement(sql, PROJECT, dataset)
        return asyncio.run(Analyst(runner, limit).analyse(statement, Source(*more)))

    return run


def names(tables: tuple[TableId, ...]) -> list[str]:
    return [f"{each.dataset}.{each.table}" for each in tables]


def uses(analysed: Analysed) -> dict[str, set[Use]]:
    return {
        f"{use.column.table.table}.{'.'.join(use.column.path)}": set(use.uses)
        for use in analysed.facts.columns
    }


def test_a_view_is_read_through_to_its_table(analyse: Analyse) -> None:
    analysed = analyse("SELECT UPPER(name) AS n FROM v.names WHERE id = 1")

    assert names(analysed.facts.reads) == ["shop.people", "v.names"]
    assert {str(each.id) for each in analysed.tables} == {
        f"{PROJECT}.shop.people",
        f"{PROJECT}.v.names",
    }
    assert [scan.table.table for scan in analysed.scans] == ["people"]
    assert uses(analysed) == {
        "people.id": {Use.FILTER, Use.ARGUMENT},
        "people.name": {Use.OUTPUT, Use.ARGUMENT},
        "names.id": {Use.FILTER, Use.ARGUMENT},
        "names.name": {Use.OUTPUT, Use.ARGUMENT},
    }
    assert {ref.table.table for ref in analysed.facts.output[0].sources} == {"people", "names"}
    assert [field.name for field in analysed.schema] == ["n"]


def test_columns_of_a_view_that_the_query_leaves_alone_are_not_put_out(analyse: Analyse) -> None:
    found = uses(analyse("SELECT id FROM v.numbers"))

    assert "numbers.number" not in found
    assert Use.OUTPUT not in found["people.ssn"]


def test_what_a_view_reads_for_itself_is_used(analyse: Analyse) -> None:
    """A filter inside of the view is a use, whatever the query asks of the view."""
    filtered = view("v.f", "SELECT id FROM shop.people WHERE ssn LIKE '1%'", "id INT64")

    assert "people.ssn" in uses(analyse("SELECT COUNT(*) FROM v.f", filtered))


def test_views_on_views_are_all_told(analyse: Analyse) -> None:
    facts = analyse("SELECT number FROM v.both").facts

    assert names(facts.reads) == ["shop.people", "v.both", "v.names", "v.numbers"]
    assert [(each.view.table, names(each.reads)) for each in facts.views] == [
        ("both", ["v.names", "v.numbers"]),
        ("names", ["shop.people"]),
        ("numbers", ["shop.people"]),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "#standardSQL\nSELECT id, name FROM shop.people",
        "SELECT id, name FROM shop.people;",
        "-- one\nSELECT id, name -- two\nFROM shop.people -- three",
        "SELECT id, name FROM shop.people /* four */ ; -- five",
        "SELECT id, name FROM shop.people ORDER BY ssn LIMIT 5",
        "(SELECT id, name FROM `acme-shop.shop.people`)",
        "(SELECT id, name FROM `acme-shop.shop`.people) ORDER BY 1",
        "WITH people AS (SELECT * FROM shop.people) SELECT id, name FROM people",
        "SELECT people.id, people.name FROM shop.people",
        "FROM shop.people |> SELECT id, name",
        "SELECT ID, Name FROM shop.people",
        "SELECT AS STRUCT id, name FROM shop.people",
        "SELECT * EXCEPT (ssn) FROM shop.people",
    ],
)
def test_however_a_view_is_written(analyse: Analyse, text: str) -> None:
    analysed = analyse("SELECT w.name FROM v.w", view("v.w", text, "id INT64", "name"))

    assert not analysed.facts.opaque
    assert "people.name" in uses(analysed)
    assert names(analysed.facts.reads) == ["shop.people", "v.w"]


def test_columns_of_a_list_are_named_by_their_places(analyse: Analyse) -> None:
    output = analyse("SELECT b, a FROM v.listed").facts.output

    assert [column.name for column in output] == ["b", "a"]
    assert all("name" in {ref.path[-1] for ref in column.sources} for column in output)


def test_a_stored_schema_that_is_out_of_date_gives_way_to_the_text(analyse: Analyse) -> None:
    """BigQuery resolves the text anew; `SELECT *` has the columns that the table got since."""
    stale = view("v.stale", "SELECT * FROM shop.people", "id INT64", "name")

    assert [field.name for field in analyse("SELECT * FROM v.stale", stale).schema] == [
        "id",
        "name",
        "ssn",
    ]


def test_a_schema_that_has_nothing_to_do_with_the_text_is_refused(analyse: Analyse) -> None:
    odd = view("v.odd", "SELECT id, name FROM shop.people", "x INT64")

    assert "v.odd" in analyse("SELECT * FROM v.odd", odd).facts.opaque[0].what


def test_a_views_project_completes_its_names_and_no_default_dataset_does(analyse: Analyse) -> None:
    far = view("other-project.v.far", "SELECT name FROM shop.people", "name")
    loose = view("v.loose", "SELECT name FROM people", "name")

    facts = analyse("SELECT name FROM `other-project.v.far`", far).facts
    assert {each.project for each in facts.reads} == {"other-project"}
    assert analyse("SELECT name FROM v.loose", loose).facts.opaque


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("SELECT SESSION_USER() AS name", "function `SESSION_USER`"),
        ("SELECT @p AS name", "not valid"),
        ("SELECT gone AS name FROM shop.people", "not valid"),
        ("DELETE FROM shop.people WHERE TRUE", "no query"),
        ("SELECT 'a' AS name; SELECT 'b' AS name", ""),
        ("", ""),
        ("SELECT name FROM v.w", "leads back to itself"),
        ("#legacySQL\nSELECT name FROM shop.people", ""),
    ],
)
def test_a_text_that_is_not_understood_is_opaque_at_its_name(
    analyse: Analyse, text: str, words: str
) -> None:
    opaque = analyse("SELECT name\nFROM v.w", view("v.w", text, "name")).facts.opaque

    assert [(one.line, one.column) for one in opaque] == [(2, 6)]
    assert f"`{PROJECT}.v.w`" in opaque[0].what
    assert words in opaque[0].what
    assert "people" not in opaque[0].what


def test_a_hidden_table_beneath_a_view_is_not_named(analyse: Analyse) -> None:
    above = view("v.above", "SELECT name FROM v.payroll_view", "name")
    beneath = view("v.payroll_view", "SELECT name FROM hr.payroll", "name")

    with pytest.raises(RefusedError, match=r"`acme-shop\.v\.above` reads a table") as caught:
        analyse("SELECT * FROM v.above", above, beneath)

    assert "payroll" not in str(caught.value)


def test_views_that_read_each_other_are_refused(analyse: Analyse) -> None:
    one = view("v.one", "SELECT name FROM v.two", "name")
    two = view("v.two", "SELECT name FROM v.one", "name")

    assert "leads back to itself" in analyse("SELECT * FROM v.one", one, two).facts.opaque[0].what


def test_as_many_views_on_views_as_bigquery_has(analyse: Analyse) -> None:
    stack = [view(f"v.v{n}", f"SELECT name FROM v.v{n - 1}", "name") for n in range(2, 18)]
    stack.append(view("v.v1", "SELECT name FROM shop.people", "name"))

    assert "people.name" in uses(analyse("SELECT * FROM v.v16", *stack))
    assert "more than 16" in analyse("SELECT * FROM v.v17", *stack).facts.opaque[0].what
    wide = "SELECT * FROM v.v16 UNION ALL SELECT * FROM v.v17"
    assert "more than 16" in analyse(wide, *stack).facts.opaque[0].what


def test_views_that_grow_without_end_are_refused(analyse: Analyse) -> None:
    stack = [
        view(
            f"v.v{n}", f"SELECT name FROM v.v{n - 1} UNION ALL SELECT name FROM v.v{n - 1}", "name"
        )
        for n in range(2, 17)
    ]
    stack.append(view("v.v1", "SELECT name FROM shop.people", "name"))

    with pytest.raises(RefusedError, match="texts of its views"):
        analyse("SELECT * FROM v.v16", *stack)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT (SELECT MAX(n.name) FROM v.names AS n) FROM shop.orders AS `acme-shop`",
        "SELECT (SELECT MAX(n.name) FROM v.names AS n) FROM (SELECT STRUCT("
        "[STRUCT(1 AS id, 'a' AS name, 'b' AS ssn)] AS people) AS shop) AS `acme-shop`",
    ],
)
def test_an_alias_cannot_take_the_place_of_a_views_table(analyse: Analyse, sql: str) -> None:
    """`p.d.t` beneath an alias `p` once read an array of the alias: the table was not seen."""
    with pytest.raises(RefusedError, match="takes the place"):
        analyse(sql)


def test_common_table_expressions_do_not_reach_into_a_view(analyse: Analyse) -> None:
    sql = (
        "WITH people AS (SELECT 1 AS id, 'x' AS name), shop AS (SELECT 2) SELECT name FROM v.names"
    )

    assert "people.name" in uses(analyse(sql))
    assert f"`{PROJECT}`.`shop`.`people`" in analyse(sql).sql


def test_names_that_differ_by_case_are_refused_across_views(analyse: Analyse) -> None:
    with pytest.raises(RefusedError, match="upper and lower case"):
        analyse("SELECT n.name FROM v.names AS n JOIN shop.People AS p USING (id)")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM v.names TABLESAMPLE SYSTEM (1 PERCENT)",
        "SELECT * FROM v.names@{a=1}",
        "SELECT * FROM v.names FOR SYSTEM_TIME AS OF CURRENT_TIMESTAMP()",
    ],
)
def test_forms_that_have_no_place_for_a_text_are_refused(analyse: Analyse, sql: str) -> None:
    try:
        said = analyse(sql).facts.opaque[0].what
    except RefusedError as error:
        said = str(error)
    assert "FOR SYSTEM_TIME" in said or "v.names" in said


@pytest.mark.parametrize(
    ("sql", "column"),
    [
        ("INSERT INTO shop.orders (id) SELECT id FROM v.names WHERE name = 'x'", "people.name"),
        ("CREATE TABLE shop.x AS SELECT number FROM v.numbers", "people.ssn"),
        (
            "UPDATE shop.orders SET person = n.id FROM v.numbers AS n WHERE n.number = '1'",
            "people.ssn",
        ),
        (
            "MERGE shop.orders USING v.numbers AS n ON n.number = '1' WHEN MATCHED THEN DELETE",
            "people.ssn",
        ),
    ],
)
def test_statements_that_read_a_view_read_its_tables(
    analyse: Analyse, sql: str, column: str
) -> None:
    analysed = analyse(sql)

    assert not analysed.facts.opaque
    assert column in uses(analysed)


def test_a_view_is_no_target(analyse: Analyse) -> None:
    assert "as a target" in analyse("DELETE FROM v.names WHERE name = 'x'").facts.opaque[0].what


def test_a_materialized_view_is_read_by_its_text(analyse: Analyse) -> None:
    made = view(
        "v.made",
        "SELECT COUNT(*) AS n, name FROM shop.people GROUP BY name",
        "n INT64",
        "name",
        kind=TableKind.MATERIALIZED_VIEW,
    )

    assert "people.name" in uses(analyse("SELECT n FROM v.made", made))


def test_errors_are_those_of_the_agents_own_text(analyse: Analyse) -> None:
    with pytest.raises(InvalidQueryError) as caught:
        analyse("SELECT ssn\nFROM v.names")

    assert caught.value.message == "Unrecognized name: ssn at [1:8]"


async def test_an_unchanged_view_is_made_ready_once(runner: InlineRunner) -> None:
    asked: list[str] = []

    class Counting:
        async def run(self, task: Task[Any, Any], request: Any) -> Any:
            asked.append(f"{task.function.__name__} {request.sql[:20]}")
            return await runner.run(task, request)

    analyst = Analyst(CachedRunner(Counting()), 20_000)
    for n in (1, 2):
        await analyst.analyse(Statement(f"SELECT {n}, name FROM v.names", PROJECT), Source())

    assert len([one for one in asked if "view_text" in one]) == 1
    assert len([one for one in asked if one.startswith("outline SELECT id, name")]) == 1

    changed = view("v.names", "SELECT id, ssn AS name FROM shop.people", "id INT64", "name")
    again = await analyst.analyse(
        Statement("SELECT 1, name FROM v.names", PROJECT), Source(changed)
    )
    assert "people.ssn" in uses(again)
