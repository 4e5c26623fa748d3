# ruff: noqa: E501, S608 - queries read best on one line, and are no injections here
"""Attack shapes through routines: what they are handed is masked, what they read by themselves refused."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from prove.evaluator import Answer, World, runnable
from prove.schemas import SHOP
from prove.shop import DATASET, HASH, PROJECT, TABLES
from prove.trial import Court, Outcome, masks_for
from prove.worlds import SchemaSource

from keystile.analysis import walker
from keystile.analysis.lineage import NOTHING
from keystile.analysis.scope import Scope
from keystile.analysis.statement import Statement
from keystile.googlesql.engine import Engine
from keystile.googlesql.inline import InlineRunner
from keystile.masking import filters
from keystile.masking import routines as masking_routines
from keystile.model.decision import RowFilter
from keystile.model.errors import RefusedError
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

CUSTOMERS = f"`{PROJECT}`.`shop`.`customers`"


TYPES = {"ANY": None, "ARRAY": SqlType("ARRAY", element=SqlType("STRING"))}


def sql(name: str, body: str, *arguments: str, **more: Any) -> Routine:
    given = (argument.split() for argument in arguments)
    typed = tuple(
        Argument(name, TYPES.get(type_, SqlType(type_)), not rest) for name, type_, *rest in given
    )
    more = {"kind": RoutineKind.SCALAR} | more
    id_ = RoutineId(PROJECT, "fn", name)
    return Routine(id_, language="SQL", arguments=typed, body=body, **more)


def rows(name: str, body: str, columns: str, *arguments: str) -> Routine:
    fields = tuple(Field(*column.split()) for column in columns.split(", "))
    return sql(name, body, *arguments, kind=RoutineKind.TABLE_VALUED, columns=fields)


ROUTINES = (
    # What is handed values
    sql("same", "x", "x STRING"),
    sql("any_", "CONCAT(x, CAST(y AS STRING))", "x ANY", "y ANY"),
    sql("twice", "fn.same(x) || fn.same(x)", "x STRING"),
    sql("older", "age > n", "age INT64", "n INT64"),
    sql("most", "MAX(x)", "x STRING", kind=RoutineKind.AGGREGATE),
    sql(
        "scaled",
        "SUM(x) * f",
        "x INT64",
        "f INT64 not",
        kind=RoutineKind.AGGREGATE,
    ),
    sql("called", f"(SELECT COUNT(*) FROM {CUSTOMERS} WHERE name = n)", "n STRING"),
    sql("rows_there", f"(SELECT COUNT(*) FROM {CUSTOMERS})"),
    sql("longest", "(SELECT MAX(LENGTH(n)) FROM UNNEST(x) AS n)", "x ARRAY"),
    rows(
        "older_than",
        f"SELECT id, name FROM {CUSTOMERS} WHERE id > n",
        "id INT64, name STRING",
        "n INT64",
    ),
    # What reads protected columns by itself
    sql("top", f"(SELECT MAX(ssn) FROM {CUSTOMERS})"),
    sql("count_old", f"(SELECT COUNT(*) FROM {CUSTOMERS} WHERE age > n)", "n INT64"),
    sql("first", f"(SELECT name FROM {CUSTOMERS} ORDER BY ssn LIMIT 1 OFFSET 3)"),
    sql("row_", f"(SELECT TO_JSON_STRING(c) FROM {CUSTOMERS} AS c WHERE id = n)", "n INT64"),
    sql("inside", f"(SELECT ANY_VALUE(address.geo.zone HAVING MIN id) FROM {CUSTOMERS})"),
    sql("through", "fn.top()"),
    sql(
        "agg",
        f"MAX(x) || (SELECT MAX(ssn) FROM {CUSTOMERS})",
        "x STRING",
        kind=RoutineKind.AGGREGATE,
    ),
    sql("beneath", f"(SELECT MAX(number) FROM `{PROJECT}`.`v`.`people`)"),
    rows("people", f"SELECT id, ssn FROM {CUSTOMERS}", "id INT64, ssn STRING"),
    rows("ordered", f"SELECT id FROM {CUSTOMERS} ORDER BY ssn LIMIT n", "id INT64", "n INT64"),
    rows("through_rows", "SELECT * FROM fn.people()", "id INT64, ssn STRING"),
)
VIEW = Table(
    TableId(PROJECT, "v", "people"),
    TableKind.VIEW,
    (Field("id", "INT64"), Field("number", "STRING")),
    "1",
    "SELECT id, ssn AS number FROM shop.customers",
)
SHOP_WITH_ROUTINES = SHOP._replace(tables=(*TABLES, VIEW), routines=ROUTINES)

MASKED = [
    "SELECT fn.same(ssn) FROM customers ORDER BY id",
    f"SELECT `{PROJECT}`.fn.same(ssn) FROM customers ORDER BY id",
    "SELECT SAFE.fn.same(ssn) FROM customers ORDER BY id",
    "SELECT fn.any_(ssn, age) FROM customers ORDER BY id",
    "SELECT fn.twice(email) FROM customers ORDER BY id",
    "SELECT id FROM customers WHERE fn.older(age, 50) ORDER BY id",
    "SELECT fn.most(ssn) FROM customers",
    "SELECT fn.scaled(age, 2) FROM customers",
    "SELECT fn.called(ssn), fn.same(email) FROM customers ORDER BY id",
    "SELECT c.id, r.id FROM customers AS c JOIN fn.older_than(2) AS r ON c.age > r.id * 10 AND r.name != 'x'",
    "SELECT * FROM fn.older_than((SELECT COUNTIF(age > 70) FROM customers)) ORDER BY id",
    "SELECT ARRAY(SELECT fn.same(k.value) FROM UNNEST(contacts) AS k) FROM customers ORDER BY id",
]
REFUSED = [
    "SELECT fn.top()",
    "SELECT IF(SUBSTR(fn.top(), 1, 1) > '8', 1, 0)",
    "SELECT fn.count_old(50)",
    "SELECT fn.first()",
    "SELECT fn.row_(1)",
    "SELECT fn.inside()",
    "SELECT fn.through()",
    "SELECT fn.agg(name) FROM customers",
    "SELECT fn.beneath()",
    "SELECT * FROM fn.people()",
    "SELECT id FROM fn.people() WHERE ssn > '5'",
    "SELECT id FROM fn.ordered(4)",
    "SELECT * FROM fn.through_rows()",
    "FROM fn.people() |> AGGREGATE MAX(ssn) AS m GROUP BY id",
    "SELECT id FROM customers WHERE id = 1 AND fn.top() > '8'",
    "WITH t AS (SELECT fn.top() AS x) SELECT x FROM t",
]
_IN_A_VIEW = {"SELECT fn.beneath()"}  # the evaluator knows no views


@pytest.fixture(scope="module")
def court() -> Court:
    return Court(InlineRunner(), Engine(), SHOP_WITH_ROUTINES)


@pytest.mark.parametrize("query", MASKED)
async def test_what_a_routine_is_handed_is_masked(court: Court, query: str) -> None:
    assert court.reveals_unmasked(query), "this is no attack"

    tried = await court.try_query(query)

    assert tried.outcome is Outcome.SAME, tried
    assert not tried.answers[0].error


@pytest.mark.parametrize("query", REFUSED)
async def test_a_routine_that_reads_a_protected_column_is_refused(court: Court, query: str) -> None:
    assert query in _IN_A_VIEW or court.reveals_unmasked(query), "this is no attack"

    tried = await court.try_query(query)

    assert tried.outcome is Outcome.REFUSED, tried
    assert "a column that is masked for you" in tried.why
    assert "as arguments" in tried.why


@pytest.mark.parametrize(
    "query",
    ["SELECT fn.called('Ada')", "SELECT * FROM fn.older_than(3) ORDER BY id"],
)
async def test_a_routine_that_reads_open_columns_keeps_its_values(court: Court, query: str) -> None:
    tried = await court.try_query(query)

    assert tried.outcome is Outcome.SAME
    assert tried.answers[0].rows == court.worlds[0].run(query).rows


async def test_the_proof_refuses_it_by_itself(
    court: Court, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masking_routines, "check", lambda *_: None)

    for query in REFUSED:
        tried = await court.try_query(query)
        assert tried.outcome is Outcome.REFUSED, tried
        assert "masked for you" in tried.why


async def test_a_routine_whose_reads_are_forgotten_would_leak(
    court: Court, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgotten(self: Scope) -> dict[str, frozenset[Any]]:
        return {str(one.routine.id): frozenset() for one in self.routines}

    monkeypatch.setattr(masking_routines, "check", lambda *_: None)
    monkeypatch.setattr(Scope, "routines_by_full_name", forgotten)
    monkeypatch.setattr(Scope, "raw_reads", forgotten)

    leaks = [(await court.try_query(query)).outcome is Outcome.LEAK for query in REFUSED]

    assert sum(leaks) > len(REFUSED) / 3


async def test_arguments_that_are_forgotten_would_leak(
    court: Court, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a use that only an argument is does count: masks follow the facts here."""
    call = walker.Expressions._call

    def blind(self: Any, node: Any) -> Any:
        before = {ref: set(uses) for ref, uses in self.uses.items()}
        value = call(self, node)
        if walker.inherited(node, "function").name.startswith("routine:"):
            self.uses = before
            return NOTHING
        return value

    methods = {
        kind: blind if method is call else method
        for kind, method in walker.Expressions._methods.items()
    }
    monkeypatch.setattr(walker.Expressions, "_methods", methods)
    monkeypatch.setattr(walker.Expressions, "finish", lambda _: None)

    leaks = [(await court.try_query(query)).outcome is Outcome.LEAK for query in MASKED]

    assert any(leaks)


SCRIPTS = [
    "CREATE TEMP FUNCTION f_same(x STRING) AS (x);\nSELECT f_same(ssn) FROM customers ORDER BY id",
    "CREATE TEMP FUNCTION f_any(x ANY TYPE) AS (x);\nSELECT f_any(age) FROM customers ORDER BY id",
    "CREATE TEMP FUNCTION f_top() AS ((SELECT MAX(ssn) FROM `acme-shop`.`shop`.`customers`));\nSELECT f_top()",
    (
        "CREATE TEMP FUNCTION f_over(n INT64) AS ((SELECT COUNT(*) FROM `acme-shop`.`shop`.`customers` WHERE age > n));\n"
        "SELECT id FROM customers WHERE f_over(50) > id ORDER BY id"
    ),
    (
        "CREATE TEMP FUNCTION f_one(x STRING) AS (fn.same(x));\n"
        "CREATE TEMP FUNCTION f_two(x STRING) AS (f_one(x) || f_one(x));\nSELECT f_two(email) FROM customers ORDER BY id"
    ),
    (
        "CREATE TEMP FUNCTION f_row(n INT64) AS ((SELECT TO_JSON_STRING(c) FROM `acme-shop`.`shop`.`customers` AS c WHERE c.id = n));\n"
        "SELECT f_row(id) FROM customers ORDER BY id"
    ),
]
_DEFINED = re.compile(r"CREATE TEMP FUNCTION (\w+)\((.*?)\) AS \((.*)\)", re.DOTALL)


def run_script(court: Court, text: str) -> list[Answer]:
    """Run temporary functions and a query in both worlds: the evaluator knows no scripts."""
    text = runnable(re.sub(r"\bf_(\w+)\(", r"fn.f_\1(", text), SHOP_WITH_ROUTINES.tables)
    *functions, query = text.split(";\n")
    made = []
    for function in functions:
        found = _DEFINED.fullmatch(function.replace("FUNCTION fn.", "FUNCTION "))
        assert found
        arguments = [argument.replace(" TYPE", "") for argument in found[2].split(", ") if argument]
        made.append(sql(found[1], found[3], *arguments))
    texts = [msgspec.structs.replace(r, body=runnable(r.body, TABLES)) for r in ROUTINES]
    worlds = [World(court.engine, content, routines=(*texts, *made)) for content in court.contents]
    answers = [world.run(query) for world in worlds]
    for world in worlds:
        world.close()
    return answers


@pytest.mark.parametrize("script", SCRIPTS)
async def test_what_a_temporary_function_is_handed_and_reads_is_masked(
    court: Court, script: str
) -> None:
    first, second = run_script(court, script)
    assert not first.error
    assert not first.same(second), "this is no attack"

    source = SchemaSource(SHOP_WITH_ROUTINES.tables, ROUTINES)
    analysed = await court.analyst.analyse(Statement(script, PROJECT, DATASET), source)
    masks = masks_for(analysed, SHOP_WITH_ROUTINES)
    rewritten = await court.rewriter.rewrite(analysed, masks)

    first, second = run_script(court, rewritten.sql)
    assert not first.error
    assert first.same(second), rewritten.sql


async def test_a_temporary_function_that_calls_what_reads_is_refused(court: Court) -> None:
    for body in ("fn.top()", "fn.same(fn.top())"):
        tried = await court.try_query(f"CREATE TEMP FUNCTION f() AS ({body}); SELECT f()")
        assert tried.outcome is Outcome.REFUSED
        assert "masked for you" in tried.why


async def test_a_function_that_is_kept_reads_masked(court: Court) -> None:
    source = SchemaSource(SHOP_WITH_ROUTINES.tables, ROUTINES)
    for text in (
        "CREATE FUNCTION fn.new() AS ((SELECT MAX(ssn) FROM shop.customers))",
        "CREATE OR REPLACE TABLE FUNCTION fn.new(n INT64) AS SELECT ssn FROM shop.customers WHERE id = n",
        "CREATE AGGREGATE FUNCTION fn.new(x STRING) AS (MAX(x) || (SELECT MAX(ssn) FROM shop.customers))",
    ):
        analysed = await court.analyst.analyse(Statement(text, PROJECT, DATASET), source)
        assert not analysed.facts.opaque
        sent = (await court.rewriter.rewrite(analysed, SHOP.masks)).sql
        assert sent.count("`shop`.`customers` AS keystile_row)") == 1
        assert "shop.customers" not in sent


async def test_no_function_may_hold_the_key_of_a_hash(court: Court) -> None:
    source = SchemaSource(SHOP_WITH_ROUTINES.tables, ROUTINES)
    for text in (
        "CREATE FUNCTION fn.new() AS ((SELECT MAX(ssn) FROM shop.customers))",
        "CREATE TEMP FUNCTION f() AS ((SELECT MAX(ssn) FROM shop.customers)); SELECT f()",
    ):
        analysed = await court.analyst.analyse(Statement(text, PROJECT, DATASET), source)
        with pytest.raises(RefusedError, match="which no function may hold"):
            await court.rewriter.rewrite(analysed, (HASH,))


SOME_ROWS = (RowFilter(SHOP.tables[0].id, "mine", "id = 1"),)


async def filtered(court: Court, sql: str) -> str:
    source = SchemaSource(SHOP_WITH_ROUTINES.tables, ROUTINES)
    analysed = await court.analyst.analyse(Statement(sql, PROJECT, DATASET), source)
    return (await court.rewriter.rewrite(analysed, (), SOME_ROWS)).sql


@pytest.mark.parametrize(
    "query",
    [
        "SELECT fn.called('Ada')",
        "SELECT fn.rows_there()",
        "SELECT fn.rows_there() FROM customers",
        "SELECT * FROM fn.older_than(1)",
        "CREATE TEMP FUNCTION f() AS (fn.rows_there()); SELECT f()",
    ],
)
async def test_a_routine_that_reads_a_filtered_table_is_refused(
    court: Court, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RefusedError, match="reads a table of which you see only some rows"):
        await filtered(court, query)

    monkeypatch.setattr(filters, "check", lambda *_: None)
    with pytest.raises(RefusedError, match="is masked for you"):  # the proof's own words
        await filtered(court, query)


async def test_other_routines_are_called_beside_a_filtered_table(court: Court) -> None:
    sent = await filtered(court, "SELECT fn.same(ssn), fn.longest(nicknames) FROM customers")
    assert sent.count(" WHERE (id = 1)") == 1


async def test_a_temporary_function_reads_some_rows_only(court: Court) -> None:
    script = "CREATE TEMP FUNCTION f() AS ((SELECT COUNT(*) FROM customers)); SELECT f()"
    assert (await filtered(court, script)).count(" WHERE (id = 1)") == 1
