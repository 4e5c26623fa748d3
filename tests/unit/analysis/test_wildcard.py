from __future__ import annotations

import pytest

from keystile.analysis.analyst import Analyst
from keystile.analysis.statement import Statement
from keystile.analysis.wildcard import MOST_MEMBERS, check_members, stands_for, wildcard_table
from keystile.googlesql.inline import InlineRunner
from keystile.model.errors import InvalidQueryError, KeystileError, NotFoundError, RefusedError
from keystile.model.facts import Use
from keystile.model.schema import Field, Routine, RoutineId, Table, TableId, TableKind

EVENTS = TableId("p", "d", "events_*")


def day(
    name: str, *columns: str, kind: TableKind = TableKind.TABLE, pseudo: tuple[Field, ...] = ()
) -> Table:
    fields = tuple(Field(column, "STRING") for column in columns)
    return Table(TableId("p", "d", name), kind, fields, "1", pseudo_columns=pseudo)


NEW = day("events_2024", "user", "SSN", pseudo=(Field("_PARTITIONTIME", "TIMESTAMP"),))
OLD = day("events_2023", "user", "ssn", "gone")


class Source:
    """Knows one wildcard, and no table by itself."""

    async def table(self, id: TableId) -> Table:  # noqa: A002 - the port's own word
        raise NotFoundError(f"Not found: Table {id}")

    async def routine(self, id: RoutineId) -> Routine:  # noqa: A002 - the port's own word
        raise NotFoundError(f"Not found: Routine {id}")

    async def tables_like(self, id: TableId) -> tuple[Table, ...]:  # noqa: A002 - as above
        return (NEW, OLD) if id == EVENTS else ()


@pytest.fixture(scope="module")
def analyst() -> Analyst:
    return Analyst(InlineRunner(), 10_000)


@pytest.mark.parametrize(
    ("name", "is_so"),
    [("events_2024", True), ("events_", True), ("Events_2024", False), ("event", False)],
)
def test_a_wildcard_stands_for_what_begins_like_it(name: str, *, is_so: bool) -> None:
    assert stands_for(EVENTS, TableId("p", "d", name)) is is_so
    assert not stands_for(EVENTS, TableId("p", "e", name))
    assert not stands_for(EVENTS, TableId("q", "d", name))


def test_the_newest_table_gives_the_columns() -> None:
    table = wildcard_table(EVENTS, [NEW, OLD])
    assert [field.name for field in table.fields] == ["user", "SSN"]
    assert [field.name for field in table.pseudo_columns] == ["_TABLE_SUFFIX", "_PARTITIONTIME"]
    assert table.read == (NEW, OLD)


@pytest.mark.parametrize(
    "kind", [kind for kind in TableKind if kind not in {TableKind.TABLE, TableKind.WILDCARD}]
)
def test_what_bigquery_has_no_wildcard_over_is_refused(kind: TableKind) -> None:
    with pytest.raises(RefusedError, match="no plain table") as error:
        wildcard_table(EVENTS, [NEW, day("events_2", "user", kind=kind)])
    assert "events_2`" not in str(error.value)


def test_too_many_tables_are_refused() -> None:
    check_members(EVENTS, [TableKind.TABLE] * MOST_MEMBERS)
    with pytest.raises(RefusedError, match="narrow its prefix"):
        check_members(EVENTS, [TableKind.TABLE] * (MOST_MEMBERS + 1))


async def test_a_query_of_a_wildcard_reads_every_table_of_it(analyst: Analyst) -> None:
    sql = "SELECT user FROM `d.events_*` WHERE _TABLE_SUFFIX > '2023' AND ssn != ''"
    analysed = await analyst.analyse(Statement(sql, "p", ""), Source())
    facts = analysed.facts
    assert facts.opaque == ()
    assert facts.reads == (OLD.id, NEW.id)
    assert facts.wildcards == (EVENTS,)
    assert {str(use.column): set(use.uses) for use in facts.columns} == {
        "p.d.events_*.user": {Use.OUTPUT},
        "p.d.events_*.SSN": {Use.FILTER, Use.ARGUMENT},
    }
    assert [table.members for table in analysed.tables] == [(NEW, OLD)]


async def test_pseudo_columns_are_no_columns_of_a_star(analyst: Analyst) -> None:
    statement = Statement("SELECT *, _TABLE_SUFFIX AS day FROM `p.d.events_*`", "p", "")
    analysed = await analyst.analyse(statement, Source())
    assert [field.name for field in analysed.schema] == ["user", "SSN", "day"]
    assert analysed.facts.output[-1].sources == ()


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("SELECT * FROM `d.nothing_*`", NotFoundError),
        ("SELECT _FILE_NAME FROM `d.events_*`", InvalidQueryError),
        ("SELECT gone FROM `d.events_*`", InvalidQueryError),
        ("SELECT 1 FROM `d.events_2023`", NotFoundError),
    ],
)
async def test_what_a_wildcard_does_not_have_is_not_found(
    analyst: Analyst, sql: str, error: type[KeystileError]
) -> None:
    with pytest.raises(error):
        await analyst.analyse(Statement(sql, "p", ""), Source())


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("DELETE FROM `d.events_*` WHERE TRUE", "writing to the wildcard `d.events_*`"),
        ("DROP TABLE `d.events_*`", "writing to the wildcard `d.events_*`"),
        ("SELECT 1 FROM `d.ev*_2024`", "`*` before the end of `d.ev*_2024`"),
        ("SELECT 1 FROM `d*.events`", "`*` before the end of `d*.events`"),
    ],
)
async def test_a_wildcard_stands_at_the_end_of_what_is_read(
    analyst: Analyst, sql: str, what: str
) -> None:
    analysed = await analyst.analyse(Statement(sql, "p", ""), Source())
    assert what in {opaque.what for opaque in analysed.facts.opaque}
