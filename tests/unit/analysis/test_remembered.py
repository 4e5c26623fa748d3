from __future__ import annotations

from typing import Any

import msgspec
import pytest

from keystile.analysis.remembered import RememberingAnalyst
from keystile.analysis.statement import Earlier, Statement
from keystile.googlesql.inline import InlineRunner
from keystile.googlesql.task import Task, TaskRunner
from keystile.model.errors import NotFoundError
from keystile.model.schema import (
    Field,
    Parameter,
    Routine,
    RoutineId,
    SqlType,
    Table,
    TableId,
    TableKind,
)

PEOPLE = TableId("p", "d", "people")
SEEN = TableId("p", "d", "seen")


def table(id_: TableId, *columns: str) -> Table:
    fields = tuple(Field(column, "STRING") for column in columns)
    return Table(id_, TableKind.TABLE, fields, ",".join(columns))


def view(sql: str) -> Table:
    return Table(SEEN, TableKind.VIEW, (Field("name", "STRING"),), sql, sql)


class Source:
    """What one caller may see."""

    def __init__(self, *tables: Table) -> None:
        self.tables = {one.id: one for one in tables}

    async def table(self, id: TableId) -> Table:  # noqa: A002 - the port's own word
        if id in self.tables:
            return self.tables[id]
        raise NotFoundError(f"Not found: Table {id}")

    async def routine(self, id: RoutineId) -> Routine:  # noqa: A002 - as above
        raise NotFoundError(f"Not found: Routine {id}")

    async def tables_like(self, id: TableId) -> tuple[Table, ...]:  # noqa: A002 - as above
        return tuple(one for one in self.tables.values() if str(one.id).startswith(str(id)[:-1]))


class Counting(TaskRunner):
    """Counts what the engine is asked."""

    def __init__(self, runner: InlineRunner) -> None:
        self._runner = runner
        self.asked = 0

    async def run(self, task: Task[Any, Any], request: Any) -> Any:
        self.asked += 1
        return await self._runner.run(task, request)


@pytest.fixture
def counting(runner: InlineRunner) -> Counting:
    return Counting(runner)


@pytest.fixture
def analyst(counting: Counting) -> RememberingAnalyst:
    return RememberingAnalyst(counting, 65_536)


def statement(sql: str, dataset: str = "d", *parameters: Parameter) -> Statement:
    return Statement(sql, "p", dataset, parameters)


async def test_the_engine_is_asked_once(analyst: RememberingAnalyst, counting: Counting) -> None:
    source = Source(table(PEOPLE, "name", "ssn"))
    first = await analyst.analyse(statement("SELECT ssn FROM people"), source)
    asked = counting.asked

    again = await analyst.analyse(statement("SELECT ssn FROM people"), source)

    assert counting.asked == asked
    assert again == first


async def test_a_changed_table_is_never_taken_for_the_old_one(analyst: RememberingAnalyst) -> None:
    asked = statement("SELECT * FROM people")
    await analyst.analyse(asked, Source(table(PEOPLE, "name")))

    facts = (await analyst.analyse(asked, Source(table(PEOPLE, "name", "ssn")))).facts

    assert [use.column.path for use in facts.columns] == [("name",), ("ssn",)]


async def test_a_changed_text_of_a_view_is_seen(analyst: RememberingAnalyst) -> None:
    people = table(PEOPLE, "name", "ssn")
    asked = statement("SELECT name FROM seen")
    await analyst.analyse(asked, Source(people, view("SELECT name FROM d.people")))

    facts = await analyst.analyse(asked, Source(people, view("SELECT ssn AS name FROM d.people")))

    assert ("ssn",) in [use.column.path for use in facts.facts.columns]


async def test_who_may_not_see_a_table_learns_nothing_from_others(
    analyst: RememberingAnalyst,
) -> None:
    asked = statement("SELECT name FROM people")
    await analyst.analyse(asked, Source(table(PEOPLE, "name")))

    with pytest.raises(NotFoundError):
        await analyst.analyse(asked, Source())


async def test_a_wildcard_that_has_got_another_table_is_analysed_anew(
    analyst: RememberingAnalyst,
) -> None:
    asked = statement("SELECT name FROM `d.people_*`")
    old = table(TableId("p", "d", "people_1"), "name")
    new = table(TableId("p", "d", "people_2"), "name")
    await analyst.analyse(asked, Source(old))

    facts = (await analyst.analyse(asked, Source(new, old))).facts

    assert {old.id, new.id} <= {*facts.reads}


async def test_a_table_that_was_missing_is_looked_up_again(analyst: RememberingAnalyst) -> None:
    asked = statement("DELETE FROM people WHERE name = 'a'")
    assert (await analyst.analyse(asked, Source())).facts.opaque

    assert not (await analyst.analyse(asked, Source(table(PEOPLE, "name")))).facts.opaque


async def test_a_default_dataset_and_types_of_parameters_are_part_of_the_question(
    analyst: RememberingAnalyst,
) -> None:
    other = TableId("p", "e", "people")
    source = Source(table(PEOPLE, "name"), table(other, "name"))
    sql = "SELECT @x AS x, name FROM people"
    text, number = (Parameter("x", SqlType(kind), {}) for kind in ("STRING", "INT64"))

    found = [
        await analyst.analyse(statement(sql, dataset, parameter), source)
        for dataset, parameter in (("d", text), ("e", text), ("d", number))
    ]

    assert [one.facts.reads for one in found] == [(PEOPLE,), (other,), (PEOPLE,)]
    assert [one.schema[0].type for one in found] == ["STRING", "STRING", "INT64"]


async def test_values_of_parameters_are_the_askers_own(analyst: RememberingAnalyst) -> None:
    source = Source(table(PEOPLE, "name"))
    sql = "SELECT name FROM people WHERE name = @x"
    mine, yours = (Parameter("x", SqlType("STRING"), {"value": one}) for one in "ab")
    await analyst.analyse(statement(sql, "d", mine), source)

    found = await analyst.analyse(statement(sql, "d", yours), source)

    assert found.statement.parameters == (yours,)


async def test_a_script_never_gets_the_values_of_another(analyst: RememberingAnalyst) -> None:
    source = Source(table(PEOPLE, "name"))
    sql = "SELECT 1; SELECT name FROM people WHERE name = @x"
    mine, yours = (Parameter("x", SqlType("STRING"), {"value": one}) for one in "ab")
    await analyst.analyse(statement(sql, "d", mine), source)

    found = await analyst.analyse(statement(sql, "d", yours), source)

    assert "'a'" not in repr(msgspec.to_builtins(found))
    assert mine not in [one for part in found.parts for one in part.analysed.statement.parameters]


async def test_only_so_many_are_kept(counting: Counting) -> None:
    analyst = RememberingAnalyst(counting, 65_536, kept=2)
    source = Source(table(PEOPLE, "name"))
    for number in (1, 2, 3):
        await analyst.analyse(statement(f"SELECT {number} FROM people"), source)  # noqa: S608
    asked = counting.asked

    await analyst.analyse(statement("SELECT 3 FROM people"), source)
    assert counting.asked == asked
    await analyst.analyse(statement("SELECT 1 FROM people"), source)
    assert counting.asked > asked


async def test_a_text_of_a_session_was_taken_for_the_same_text_of_another() -> None:
    analyst, source = RememberingAnalyst(InlineRunner(), 10_000), Source()
    for columns in (["a"], ["b"]):
        sql = f"CREATE TEMP TABLE t AS SELECT 1 AS {columns[0]}\n;\n"
        earlier = (Earlier(sql, sql),)
        statement = Statement("SELECT * FROM t", "p", "d", in_session=True, earlier=earlier)
        found = await analyst.analyse(statement, source)
        assert [field.name for field in found.schema] == columns
