# ruff: noqa: E501, S608 - queries read best on one line, and are no injections here
"""Statements that call routines, and what their texts bring along."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from keystile.analysis.analysed import Analysed
from keystile.analysis.analyst import Analyst
from keystile.analysis.statement import Statement
from keystile.googlesql.inline import InlineRunner
from keystile.model.errors import InvalidQueryError, NotFoundError, RefusedError
from keystile.model.facts import Action, Use
from keystile.model.schema import (
    Argument,
    Field,
    Routine,
    RoutineId,
    RoutineKind,
    SqlType,
    Table,
    TableId,
    TableKind,
)

PROJECT = "acme-shop"
STRING, INT64 = SqlType("STRING"), SqlType("INT64")
TEXT, NUMBER, ANY = Argument("x", STRING), Argument("n", INT64), Argument("x")
PEOPLE = Table(
    TableId(PROJECT, "shop", "people"),
    TableKind.TABLE,
    (Field("id", "INT64"), Field("name", "STRING"), Field("ssn", "STRING")),
    "1",
)


def routine(path: str, body: str, *arguments: Argument, **more: Any) -> Routine:
    project, dataset, name = ([PROJECT, *path.split(".")])[-3:]
    more = {"kind": RoutineKind.SCALAR, "language": "SQL"} | more
    return Routine(RoutineId(project, dataset, name), arguments=arguments, body=body, **more)


def view(path: str, query: str, *columns: str) -> Table:
    dataset, name = path.split(".")
    pairs = [column.split() for column in columns]
    fields = tuple(Field(column, type_) for column, type_ in pairs)
    return Table(TableId(PROJECT, dataset, name), TableKind.VIEW, fields, "1", query)


FoundT = TypeVar("FoundT", Routine, Table)


class Source:
    def __init__(self, *objects: Routine | Table) -> None:
        self.objects = {str(each.id): each for each in (PEOPLE, *objects)}
        self.asked: list[str] = []

    async def table(self, id: TableId) -> Table:  # noqa: A002 - the port's own word
        return self._found(id, Table)

    async def routine(self, id: RoutineId) -> Routine:  # noqa: A002 - as above
        self.asked.append(str(id))
        return self._found(id, Routine)

    async def tables_like(self, id: TableId) -> tuple[Table, ...]:  # noqa: A002 - as above
        raise NotFoundError(f"Not found: {id}")

    def _found(self, id_: object, type_: type[FoundT]) -> FoundT:
        found = self.objects.get(str(id_))
        if not isinstance(found, type_):
            raise NotFoundError(f"Not found: {id_}")
        return found


Analyse = Callable[..., Analysed]


@pytest.fixture
def analyse(runner: InlineRunner) -> Analyse:
    def run(sql: str, *objects: Routine | Table) -> Analysed:
        source = Source(*objects)
        statement = Statement(sql, PROJECT, "shop")
        return asyncio.run(Analyst(runner, 20_000).analyse(statement, source))

    return run


def uses(analysed: Analysed) -> dict[str, set[Use]]:
    return {".".join(use.column.path): set(use.uses) for use in analysed.facts.columns}


def sources(analysed: Analysed) -> list[list[str]]:
    return [[".".join(ref.path) for ref in column.sources] for column in analysed.facts.output]


def doubts(analysed: Analysed) -> list[str]:
    return [one.what for one in analysed.facts.opaque]


CLEAN = routine("fn.clean", "UPPER(TRIM(x))", TEXT)
MOST = routine("fn.most", "(SELECT MAX(ssn) FROM shop.people WHERE name = x)", TEXT)
MANY = routine(
    "fn.many", "SELECT id, ssn FROM shop.people WHERE id > n", NUMBER, kind=RoutineKind.TABLE_VALUED
)


def test_a_result_derives_from_what_a_routine_is_handed(analyse: Analyse) -> None:
    analysed = analyse("SELECT fn.clean(ssn) AS s, id FROM people", CLEAN)

    assert sources(analysed) == [["ssn"], ["id"]]
    assert [str(one.type) for one in analysed.facts.output] == ["STRING", "INT64"]
    assert [str(id_) for id_ in analysed.facts.routines] == ["acme-shop.fn.clean"]
    assert analysed.facts.actions == (Action.READ,)
    assert [one.id.routine for one in analysed.routines] == ["clean"]


@pytest.mark.parametrize(
    "call", ["fn.clean(ssn)", "`acme-shop`.fn.clean(ssn)", "`acme-shop.fn.clean`(ssn)", "SAFE.fn.clean(ssn)", "`fn`.`clean`(ssn)"]
)  # fmt: skip
def test_every_spelling_of_a_name_is_the_same_routine(analyse: Analyse, call: str) -> None:
    analysed = analyse(f"SELECT {call} FROM people", CLEAN)

    assert analysed.facts.routines == (CLEAN.id,)
    assert sources(analysed) == [["ssn"]]


def test_case_counts_in_the_name_of_a_routine(analyse: Analyse) -> None:
    with pytest.raises(NotFoundError):
        analyse("SELECT fn.Clean(ssn) FROM people", CLEAN)
    with pytest.raises(RefusedError, match="upper and lower case only"):
        analyse("SELECT fn.clean(ssn), fn.Clean(ssn) FROM people", CLEAN)


def test_what_a_text_reads_is_read_by_the_statement(analyse: Analyse) -> None:
    analysed = analyse("SELECT 1 + LENGTH(fn.most('Ada')) AS n", MOST)

    assert uses(analysed) == {"name": {Use.FILTER, Use.ARGUMENT, Use.OUTPUT}, "ssn": {Use.ARGUMENT, Use.OUTPUT}}  # fmt: skip
    assert sources(analysed) == [["name", "ssn"]]
    assert analysed.facts.reads == analysed.facts.through_routines == (PEOPLE.id,)
    assert analysed.tables == (PEOPLE,)
    assert analysed.scans == ()


def test_a_table_that_the_query_reads_too_is_not_through_routines_alone(analyse: Analyse) -> None:
    analysed = analyse("SELECT fn.most(name) FROM people", MOST)

    assert analysed.facts.reads == (PEOPLE.id,)
    assert analysed.facts.through_routines == ()


def test_what_a_text_gives_is_output_only_where_the_query_puts_it_out(analyse: Analyse) -> None:
    analysed = analyse("SELECT id FROM people WHERE fn.most(name) = 'x'", MOST)

    assert uses(analysed)["ssn"] == {Use.ARGUMENT, Use.FILTER}


def test_values_handed_to_a_text_that_reads_tables_may_choose_rows(analyse: Analyse) -> None:
    analysed = analyse("SELECT fn.most(ssn), fn.clean(name) FROM people", MOST, CLEAN)

    assert Use.FILTER in uses(analysed)["ssn"]
    assert Use.FILTER not in uses(analyse("SELECT fn.clean(ssn) FROM people", CLEAN))["ssn"]


def test_a_table_function_gives_its_columns(analyse: Analyse) -> None:
    analysed = analyse("SELECT * FROM fn.many((SELECT MAX(id) FROM people)) AS m", MANY)

    assert [(one.name, str(one.type)) for one in analysed.facts.output] == [("id", "INT64"), ("ssn", "STRING")]  # fmt: skip
    assert sources(analysed) == [["id", "ssn"], ["id", "ssn"]]
    assert Use.FILTER in uses(analysed)["id"]


def test_declared_columns_of_a_table_function_count(analyse: Analyse) -> None:
    declared = (Field("a", "INT64"), Field("b", "STRING"))
    kind = RoutineKind.TABLE_VALUED
    text = "SELECT id AS a, name AS b FROM shop.people"
    found = analyse("SELECT * FROM fn.t()", routine("fn.t", text, kind=kind, columns=declared))
    assert [one.name for one in found.facts.output] == ["a", "b"]

    other = routine("fn.t", "SELECT id, name FROM shop.people", kind=kind, columns=declared)
    assert doubts(analyse("SELECT * FROM fn.t()", other)) == [
        "routine `acme-shop.fn.t` with columns that are not those of its text"
    ]


def test_aggregate_routines_with_values_that_are_not_aggregated(analyse: Analyse) -> None:
    kind = RoutineKind.AGGREGATE
    factor = Argument("f", INT64, aggregated=False)
    scaled = routine("fn.scaled", "SUM(n) * f", NUMBER, factor, kind=kind)
    analysed = analyse("SELECT name, fn.scaled(id, 2) FROM people GROUP BY name", scaled)

    assert sources(analysed) == [["name"], ["id"]]


def test_a_routine_of_any_type_is_looked_at_for_each_call(analyse: Analyse) -> None:
    joined = routine("fn.joined", "CONCAT(CAST(x AS STRING), '!')", ANY)
    analysed = analyse("SELECT fn.joined(ssn), fn.joined(id) FROM people", joined)
    assert sources(analysed) == [["ssn"], ["id"]]

    reading = routine("fn.joined", "(SELECT MAX(ssn) FROM shop.people WHERE id = x)", ANY)
    assert doubts(analyse("SELECT fn.joined(1)", reading)) == [
        "routine `acme-shop.fn.joined` with an argument of any type, and tables or routines"
    ]


def test_routines_that_routines_call_count_too(analyse: Analyse) -> None:
    outer = routine("fn.outer", "fn.clean(fn.most(x))", TEXT)
    analysed = analyse("SELECT fn.outer('Ada')", outer, MOST, CLEAN)

    assert [id_.routine for id_ in analysed.facts.routines] == ["clean", "most", "outer"]
    assert sources(analysed) == [["name", "ssn"]]
    assert analysed.facts.reads == (PEOPLE.id,)


def test_names_in_a_text_are_those_of_its_own_project(analyse: Analyse) -> None:
    there = routine("other.fn.there", "(SELECT MAX(a) FROM shop.people)")
    table = Table(TableId("other", "shop", "people"), TableKind.TABLE, (Field("a", "INT64"),), "1")
    analysed = analyse("SELECT other.fn.there()", there, table)

    assert analysed.facts.reads == (table.id,)


def test_views_that_routines_read_are_seen_through(analyse: Analyse) -> None:
    text = routine("fn.v", "(SELECT MAX(number) FROM v.people)")
    analysed = analyse(
        "SELECT fn.v()",
        text,
        view("v.people", "SELECT ssn AS number FROM shop.people", "number STRING"),
    )

    assert {str(id_) for id_ in analysed.facts.reads} == {
        "acme-shop.shop.people",
        "acme-shop.v.people",
    }
    assert sources(analysed) == [["ssn", "number"]]
    assert [str(one.view) for one in analysed.facts.views] == ["acme-shop.v.people"]


def test_routines_that_views_call_are_called_by_their_full_names(analyse: Analyse) -> None:
    people = view("v.people", "SELECT id, SAFE.fn.clean(ssn) AS c FROM shop.people", "id INT64", "c STRING")  # fmt: skip
    analysed = analyse("SELECT c FROM v.people", people, CLEAN)

    assert "SAFE.`acme-shop`.`fn`.`clean`(ssn)" in analysed.sql
    assert analysed.facts.routines == (CLEAN.id,)
    assert set(sources(analysed)[0]) == {"ssn", "c"}


@pytest.mark.parametrize(
    ("language", "remote", "action"),
    [
        ("JAVASCRIPT", "", Action.ROUTINE),
        ("PYTHON", "", Action.EXTERNAL),
        ("", "acme-shop.us.send", Action.EXTERNAL),
        ("JAVASCRIPT", "acme-shop.us.send", Action.EXTERNAL),
        ("SQL", "acme-shop.us.send", Action.EXTERNAL),
    ],
)
def test_what_nobody_reads_is_an_action(
    analyse: Analyse, language: str, remote: str, action: Action
) -> None:
    sent = routine("fn.sent", "return x", TEXT, language=language, returns=STRING, remote=remote)
    analysed = analyse("SELECT fn.outer(ssn) FROM people", sent, routine("fn.outer", "fn.sent(x)", TEXT))  # fmt: skip

    assert set(analysed.facts.actions) == {Action.READ, action}
    assert analysed.facts.connections == ((remote,) if remote else ())
    assert sources(analysed) == [["ssn"]]


@pytest.mark.parametrize(
    ("made", "doubt"),
    [
        (routine("fn.f", "x", TEXT, language="PYTHON"), "a result whose type is not declared"),
        (routine("fn.f", "BEGIN END", TEXT, kind=RoutineKind.PROCEDURE), "a kind that a query cannot call"),
        (routine("fn.f", "SESSION_USER()", TEXT), "function `SESSION_USER`"),
        (routine("fn.f", "fn.g(x)", TEXT), "a text that leads back to itself"),
        (routine("fn.f", "(SELECT nothing FROM shop.people)", TEXT), "a text that is not valid, or no longer"),
        (routine("fn.f", "(SELECT MAX(p.name) FROM shop.people AS p FOR SYSTEM_TIME AS OF TIMESTAMP '2026-01-01')", TEXT), "a text that reads an older state of a table"),
        (routine("fn.f", "x); DROP TABLE people; SELECT (1", TEXT), ""),
        (routine("fn.f", "(SELECT MAX(table_name) FROM shop.INFORMATION_SCHEMA.TABLES)", TEXT), "a text that reads INFORMATION_SCHEMA"),
    ],
)  # fmt: skip
def test_what_is_not_understood_of_a_routine_is_refused(
    analyse: Analyse, made: Routine, doubt: str
) -> None:
    back = routine("fn.g", "fn.f(x)", TEXT)
    id_ = TableId(PROJECT, "shop", "INFORMATION_SCHEMA.TABLES")
    metadata = Table(id_, TableKind.METADATA, (Field("table_name", "STRING"),), "1")
    try:
        analysed = analyse("SELECT fn.f('x')", made, back, metadata)
    except RefusedError:
        assert not doubt
    else:
        assert analysed.facts.opaque[0].what.startswith("routine `acme-shop.fn.f`")
        assert doubt in doubts(analysed)[0]


def test_routines_on_one_another_have_an_end(analyse: Analyse) -> None:
    chain = [routine(f"fn.f{n}", f"fn.f{n + 1}(x)", TEXT) for n in range(20)]
    analysed = analyse("SELECT fn.f0('x')", *chain, routine("fn.f20", "x", TEXT))
    assert doubts(analysed) == [
        "routine `acme-shop.fn.f0` with more than 16 views and routines on one another"
    ]


def test_a_view_and_a_routine_that_lead_to_each_other_are_refused(analyse: Analyse) -> None:
    around = view("v.around", "SELECT fn.around() AS a", "a STRING")
    back = routine("fn.around", "(SELECT MAX(a) FROM v.around)")
    assert "leads back to itself" in doubts(analyse("SELECT fn.around()", around, back))[0]
    assert "leads back to itself" in doubts(analyse("SELECT a FROM v.around", around, back))[0]


def test_a_refusal_does_not_tell_what_lies_beneath(analyse: Analyse) -> None:
    with pytest.raises(RefusedError) as error:
        analyse("SELECT fn.f()", routine("fn.f", "(SELECT MAX(a) FROM payroll.salaries)"))
    assert "salaries" not in str(error.value)
    assert "`acme-shop.fn.f`" in str(error.value)

    hidden = routine("fn.f", "fn.secret()")
    with pytest.raises(RefusedError) as error:
        analyse("SELECT fn.f()", hidden)
    assert "secret" not in str(error.value)


def test_a_missing_routine_is_not_found(analyse: Analyse) -> None:
    with pytest.raises(NotFoundError):
        analyse("SELECT fn.nothing()")
    analysed = analyse("DELETE FROM people WHERE id = fn.nothing()")
    assert doubts(analysed) == ["routine `acme-shop.fn.nothing`, which was not found"]


def test_wrong_arguments_are_said_in_bigquerys_words(analyse: Analyse) -> None:
    with pytest.raises(InvalidQueryError, match=r"fn\.clean"):
        analyse("SELECT fn.clean(1)", CLEAN)


def test_a_routine_is_looked_up_in_statements_that_write(analyse: Analyse) -> None:
    analysed = analyse("INSERT INTO people (id, ssn) SELECT id, fn.most(name) FROM people", MOST)

    assert not analysed.facts.opaque
    written = {w.column.path[0]: {ref.path[0] for ref in w.sources} for w in analysed.facts.written}
    assert written["ssn"] == {"name", "ssn"}
