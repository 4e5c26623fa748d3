# ruff: noqa: E501 - queries read best on one line, and are no injections here
"""Statements that make routines, and scripts that call what they make."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from keystile.analysis.analysed import Analysed
from keystile.analysis.analyst import Analyst
from keystile.analysis.made_routines import (
    EnclosedRequest,
    changed,
    enclosed,
    is_foreign,
    language,
    made_routine,
    takes_any_type,
    temporary_function,
)
from keystile.analysis.parsing import statement_tree
from keystile.analysis.resolve import ResolveRequest
from keystile.analysis.scope import Scope
from keystile.analysis.statement import Statement
from keystile.googlesql.engine import Engine
from keystile.googlesql.inline import InlineRunner
from keystile.model.errors import InvalidQueryError, NotFoundError, RefusedError
from keystile.model.facts import Action
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

PEOPLE = Table(
    TableId("p", "d", "people"),
    TableKind.TABLE,
    (Field("id", "INT64"), Field("name", "STRING"), Field("ssn", "STRING")),
    "1",
)
MAKES = TableId("p", "d", "")
STRING = SqlType("STRING")
KEPT = Routine(RoutineId("p", "d", "kept"), RoutineKind.SCALAR, "SQL", (), "1")


class Source:
    async def table(self, id: TableId) -> Table:  # noqa: A002 - the port's own word
        if id == PEOPLE.id:
            return PEOPLE
        raise NotFoundError(f"Not found: {id}")

    async def routine(self, id: RoutineId) -> Routine:  # noqa: A002 - as above
        if id == KEPT.id:
            return KEPT
        raise NotFoundError(f"Not found: {id}")

    async def tables_like(self, id: TableId) -> tuple[Table, ...]:  # noqa: A002 - as above
        raise NotFoundError(f"Not found: {id}")


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


Analyse = Callable[[str], Analysed]


@pytest.fixture
def analyse(runner: InlineRunner) -> Analyse:
    analyst = Analyst(runner, 20_000)
    return lambda sql: asyncio.run(analyst.analyse(Statement(sql, "p", "d"), Source()))


def doubts(analysed: Analysed) -> list[str]:
    return [one.what for one in analysed.facts.opaque]


def sources(analysed: Analysed) -> list[list[str]]:
    return [[".".join(ref.path) for ref in one.sources] for one in analysed.facts.output]


@pytest.mark.parametrize(
    ("sql", "path", "temporary"),
    [
        ("CREATE FUNCTION d.f() AS (1)", ("d", "f"), ""),
        ("CREATE OR REPLACE FUNCTION `p.d.f`() AS (1)", ("p", "d", "f"), ""),
        ("CREATE AGGREGATE FUNCTION d.f(x INT64) AS (SUM(x))", ("d", "f"), ""),
        ("CREATE TABLE FUNCTION d.f() AS SELECT 1 AS a", ("d", "f"), ""),
        ("CREATE PROCEDURE d.f() BEGIN SELECT 1; END", ("d", "f"), ""),
        ("DROP FUNCTION d.f", ("d", "f"), ""),
        ("DROP TABLE FUNCTION IF EXISTS d.f", ("d", "f"), ""),
        ("DROP PROCEDURE p.d.f", ("p", "d", "f"), ""),
        ("DROP TABLE d.f", (), ""),
        ("CREATE TEMP FUNCTION f() AS (1)", (), "f"),
        ("CREATE TEMPORARY FUNCTION f(x STRING) RETURNS STRING LANGUAGE js AS 'x'", (), "f"),
        ("SELECT 1", (), ""),
    ],
)
def test_what_a_statement_makes_or_drops(
    engine: Engine, sql: str, path: tuple[str, ...], temporary: str
) -> None:
    tree = statement_tree(engine, sql)
    assert (changed(tree), temporary_function(tree)) == (path, temporary)


def test_a_text_ends_with_the_brackets_around_it(engine: Engine) -> None:
    def whole(text: str) -> bool:
        before, body = "CREATE FUNCTION d.f(`ü` STRING, x STRING) AS ", f"(\n{text}\n)"
        start = len(before.encode())
        request = EnclosedRequest(before + body, start, start + len(body.encode()))
        return enclosed(engine, request).whole

    assert whole("x")
    assert whole("'ü' -- )")
    assert not whole("x) OPTIONS (description = 'a'")


def test_a_text_without_brackets_goes_to_the_end_of_its_one_statement(engine: Engine) -> None:
    head = "CREATE TABLE FUNCTION d.f() AS\nSELECT 1 AS a"
    assert enclosed(engine, EnclosedRequest(head)).whole
    assert not enclosed(engine, EnclosedRequest("CREATE FUNCTION d.f() AS (1)")).whole
    with pytest.raises(InvalidQueryError):
        enclosed(engine, EnclosedRequest(f"{head}; DROP TABLE d.t"))


def test_a_function_that_masks_for_others_changes_access(analyse: Analyse) -> None:
    option = "OPTIONS (data_governance_type = 'DATA_MASKING')"
    facts = analyse(f"CREATE FUNCTION d.f(x STRING) AS (x) {option}").facts
    assert facts.actions == (Action.SCHEMA_CHANGE, Action.ACCESS_CHANGE, Action.ROUTINE)
    assert facts.opaque == ()
    table = analyse(f"CREATE TABLE d.t (a INT64) {option}")
    assert doubts(table) == ["option `data_governance_type`"]


def test_languages_and_arguments_of_any_type(engine: Engine) -> None:
    plain = statement_tree(engine, "CREATE FUNCTION d.f(x STRING) AS (x)")
    script = statement_tree(
        engine, "CREATE FUNCTION d.f(x STRING) RETURNS STRING LANGUAGE js AS 'x'"
    )
    anything = statement_tree(engine, "CREATE FUNCTION d.f(x ANY TYPE) AS (x)")

    assert [language(tree) for tree in (plain, script, anything)] == ["SQL", "JAVASCRIPT", "SQL"]
    assert [is_foreign(tree) for tree in (plain, script, anything)] == [False, True, False]
    assert [takes_any_type(tree) for tree in (plain, script, anything)] == [False, False, True]


def test_a_made_function_has_its_types(engine: Engine) -> None:
    def made(sql: str) -> Routine:
        return made_routine(engine, ResolveRequest(sql, Scope())).routine

    typed = made("CREATE TEMP FUNCTION f(x STRING) AS (LENGTH(x))")
    assert (typed.arguments, typed.returns) == ((Argument("x", STRING),), SqlType("INT64"))
    assert typed.body == "LENGTH(x)"
    anything = made("CREATE TEMP FUNCTION f(x ANY TYPE) AS (x)")
    assert (anything.arguments, anything.returns) == ((Argument("x"),), None)
    aggregate = made(
        "CREATE TEMP AGGREGATE FUNCTION f(x INT64, n INT64 NOT AGGREGATE) AS (SUM(x) * n)"
    )
    assert aggregate.kind is RoutineKind.AGGREGATE
    assert [one.aggregated for one in aggregate.arguments] == [True, False]
    script = made("CREATE TEMP FUNCTION f(x STRING) RETURNS STRING LANGUAGE js AS 'return x'")
    assert (script.language, script.returns) == ("JAVASCRIPT", STRING)


def test_making_a_function_is_done_to_its_dataset(analyse: Analyse) -> None:
    facts = analyse(
        "CREATE FUNCTION f(n STRING) AS ((SELECT MAX(ssn) FROM people WHERE name = n))"
    ).facts

    assert facts.statement == "CREATE_FUNCTION"
    assert set(facts.actions) == {Action.READ, Action.ROUTINE, Action.SCHEMA_CHANGE}
    assert (facts.writes, facts.unseen, facts.reads) == ((MAKES,), (MAKES,), (PEOPLE.id,))
    assert not facts.opaque


@pytest.mark.parametrize(
    "sql", ["DROP FUNCTION d.f", "DROP TABLE FUNCTION d.f", "DROP PROCEDURE d.f"]
)
def test_dropping_a_routine_is_done_to_its_dataset(analyse: Analyse, sql: str) -> None:
    facts = analyse(sql).facts

    assert set(facts.actions) == {Action.ROUTINE, Action.SCHEMA_CHANGE}
    assert facts.writes == (MAKES,)
    assert not facts.opaque


@pytest.mark.parametrize(
    ("sql", "doubt"),
    [
        (
            "CREATE FUNCTION d.f(x STRING) RETURNS STRING REMOTE WITH CONNECTION us.c OPTIONS (endpoint='https://x')",
            "remote function",
        ),
        (
            "CREATE FUNCTION d.f(x STRING) RETURNS STRING LANGUAGE python OPTIONS (entry_point='f') AS 'x'",
            "function in PYTHON",
        ),
        (
            "CREATE FUNCTION d.f(x STRING) RETURNS STRING LANGUAGE js OPTIONS (library=['gs://x/y.js']) AS 'x'",
            "option `library`",
        ),
        (
            "CREATE FUNCTION d.f(x ANY TYPE) AS ((SELECT MAX(ssn) FROM people WHERE name = x))",
            "an argument of any type, and tables or routines",
        ),
        ("CREATE FUNCTION d.f(x ANY TYPE) AS (UNHEARD(x))", "function `UNHEARD`"),
        ("CREATE FUNCTION _anon.f() AS (1)", "hidden dataset in `p._anon.f`"),
        ("CREATE TEMP TABLE FUNCTION f() AS SELECT 1 AS a", "temporary table function"),
        ("CREATE TABLE FUNCTION d.f(t ANY TABLE) AS SELECT 1 AS a", "table function"),
        ("CREATE PROCEDURE d.f() BEGIN SELECT ssn FROM people; END", "CREATE PROCEDURE statement"),
        ("CALL d.f()", "CALL statement"),
    ],
)
def test_what_is_not_understood_of_a_definition_is_refused(
    analyse: Analyse, sql: str, doubt: str
) -> None:
    assert any(doubt in found for found in doubts(analyse(sql)))


def test_a_name_needs_a_dataset(runner: InlineRunner) -> None:
    analyst = Analyst(runner, 20_000)
    statement = Statement("CREATE FUNCTION f() AS (1)", "p")
    with pytest.raises(InvalidQueryError, match='"f" missing dataset'):
        asyncio.run(analyst.analyse(statement, Source()))


def test_temporary_functions_and_a_query_are_a_select(analyse: Analyse) -> None:
    analysed = analyse("CREATE TEMP FUNCTION f(x STRING) AS (x); SELECT f(ssn) AS s FROM people")

    assert (analysed.facts.statement, analysed.facts.actions) == ("SELECT", (Action.READ,))
    assert [field.name for field in analysed.schema] == ["s"]
    assert sources(analysed) == [["ssn"]]


def test_a_function_that_is_kept_makes_a_script_of_it(analyse: Analyse) -> None:
    facts = analyse("CREATE FUNCTION d.g() AS (1); SELECT 1").facts

    assert facts.statement == "SCRIPT"
    assert {Action.ROUTINE, Action.SCHEMA_CHANGE, Action.SCRIPT} <= set(facts.actions)


def test_what_a_temporary_function_reads_its_callers_derive_from(analyse: Analyse) -> None:
    analysed = analyse(
        "CREATE TEMP FUNCTION f() AS ((SELECT MAX(ssn) FROM people)); "
        "CREATE TEMP FUNCTION g() AS (f()); SELECT g(), id FROM people"
    )

    assert sources(analysed) == [["ssn"], ["id"]]


def test_temporary_javascript_is_a_routine_that_nobody_reads(analyse: Analyse) -> None:
    analysed = analyse(
        "CREATE TEMP FUNCTION f(x STRING) RETURNS STRING LANGUAGE js AS 'return x';"
        " SELECT f(ssn) FROM people"
    )

    assert set(analysed.facts.actions) == {Action.READ, Action.ROUTINE}
    assert sources(analysed) == [["ssn"]]


@pytest.mark.parametrize(
    ("sql", "doubt"),
    [
        ("IF TRUE THEN CREATE TEMP FUNCTION f() AS (1); END IF", "temporary function in a block"),
        ("BEGIN CREATE TEMP FUNCTION f() AS (1); SELECT f(); END", "temporary function in a block"),
        (
            "CREATE TEMP FUNCTION f() AS (1); CREATE OR REPLACE TEMP FUNCTION F() AS (2); SELECT f()",
            "second temporary function `F`",
        ),
        ("CREATE TEMP FUNCTION upper(x STRING) AS (x); SELECT 1", "temporary function `upper`"),
        ("CREATE TEMP FUNCTION Ceiling(x STRING) AS (x); SELECT 1", "temporary function `Ceiling`"),
        ("CREATE TEMP FUNCTION `d.f`(x STRING) AS (x); SELECT 1", "temporary function `d.f`"),
        (
            "EXECUTE IMMEDIATE 'CREATE TEMP FUNCTION f() AS (1)'",
            "temporary function in EXECUTE IMMEDIATE",
        ),
    ],
)
def test_a_temporary_function_means_one_thing_in_all_of_a_script(
    analyse: Analyse, sql: str, doubt: str
) -> None:
    assert doubt in doubts(analyse(sql))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT f(); CREATE TEMP FUNCTION f() AS (1)",
        "CREATE TEMP FUNCTION f(n INT64) AS (f(n - 1)); SELECT f(1)",
        "CREATE TEMP FUNCTION f() AS (1); EXECUTE IMMEDIATE 'SELECT f()'",
    ],
)
def test_a_temporary_function_is_known_after_it_was_made(analyse: Analyse, sql: str) -> None:
    with pytest.raises(InvalidQueryError, match="not found"):
        analyse(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE OR REPLACE FUNCTION d.kept() AS ((SELECT MAX(ssn) FROM people)); SELECT d.kept()",
        "SELECT d.kept(); DROP FUNCTION d.kept",
        "EXECUTE IMMEDIATE 'CREATE OR REPLACE FUNCTION d.kept() AS (1)'; SELECT d.kept()",
        "CREATE OR REPLACE FUNCTION kept() AS (1); CREATE TEMP FUNCTION f() AS (p.d.kept()); SELECT f()",
    ],
)
def test_a_routine_that_the_script_changes_is_not_called_in_it(analyse: Analyse, sql: str) -> None:
    with pytest.raises(RefusedError, match=r"`p\.d\.kept` is changed in this script"):
        analyse(sql)
