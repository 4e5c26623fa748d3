"""The proof proves itself: each bug planted here in the product is found within few cases."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from operator import attrgetter
from random import Random
from typing import Any

import msgspec
import pytest
from prove.queries.generator import PARAMETERS, Generator
from prove.schemas import SCHEMAS
from prove.trial import Court, Outcome, Trial

from keystile.analysis import names, statements
from keystile.analysis.lineage import NOTHING, Value
from keystile.analysis.objects import Objects
from keystile.analysis.scans import Walk
from keystile.analysis.walker import enum_name
from keystile.googlesql.engine import Engine
from keystile.googlesql.inline import InlineRunner
from keystile.googlesql.native import Service
from keystile.googlesql.protos import has, inherited
from keystile.masking import json_paths, keyed, shown, task
from keystile.masking import sql as masks
from keystile.masking.splice import spliced
from keystile.model.facts import OutputColumn, Use
from keystile.model.schema import SqlType, TableKind

MOST_CASES = 150
FEW_CASES = 60

Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]

_CALL = Service.call
_ASKED = ("Parse", "Analyze", "EvaluateQuery", "EvaluateModify")


@cache
def answer(service: Service, method: str, data: bytes) -> bytes:
    return _CALL(service, method, data)


@pytest.fixture(autouse=True)
def one_answer_each(monkeypatch: Patch) -> None:
    """Ask the engine the same thing once: every bug is sought in the same queries."""

    def call(service: Service, method: str, data: bytes) -> bytes:
        return (answer if method in _ASKED else _CALL)(service, method, data)

    monkeypatch.setattr(Service, "call", call)


@cache
def engines() -> tuple[InlineRunner, Engine]:
    return InlineRunner(), Engine()


@cache
def court(schema: str) -> Court:
    return Court(*engines(), SCHEMAS[schema])


async def trials(schema: str, cases: int) -> list[Trial]:
    """Try queries until one leaks."""
    generator = Generator(Random("planted"), SCHEMAS[schema])  # noqa: S311 - reproducible
    found: list[Trial] = []
    while len(found) < cases and not (found and found[-1].outcome is Outcome.LEAK):
        found.append(await court(schema).try_query(generator.query().sql, PARAMETERS))
    return found


async def leaks(schema: str, cases: int = MOST_CASES) -> bool:
    return (await trials(schema, cases))[-1].outcome is Outcome.LEAK


def of_a_scan(kind: str, wrong: Callable[[Walk, Any], None]) -> Plant:
    return lambda patch: patch.setitem(Walk._scans, kind, wrong)


def of_an_expression(kind: str, wrong: Callable[[Any, Any], Value]) -> Plant:
    return lambda patch: patch.setitem(Walk._methods, kind, wrong)


def scan_seen_but_for(
    kind: str, *inputs: str, where: Callable[[Any], bool] = lambda _: True
) -> Plant:
    """See what a scan reads from, and forget all that it uses of that and makes of it."""
    right = Walk._scans[kind]

    def wrong(walk: Walk, node: Any) -> None:
        if not where(node):
            return right(walk, node)
        for beneath in inputs:
            walk.scan(attrgetter(beneath)(node))
        uses, known = {column: {*seen} for column, seen in walk.uses.items()}, {*walk._columns}
        right(walk, node)
        walk.uses = uses
        return walk._columns.update(dict.fromkeys(walk._columns.keys() - known, NOTHING))

    return of_a_scan(kind, wrong)


def unseen(right: Callable[..., Any]) -> Callable[..., Value]:
    def wrong(walk: Any, *rest: Any) -> Value:
        around, walk.uses = walk.uses, {}
        right(walk, *rest)
        walk.uses = around
        return NOTHING

    return wrong


def unseen_subquery(kind: str) -> Plant:
    right = Walk._methods["ResolvedSubqueryExpr"]

    def wrong(walk: Any, node: Any) -> Value:
        of_this_kind = enum_name(node, "subquery_type") == kind
        return (unseen(right) if of_this_kind else right)(walk, node)

    return of_an_expression("ResolvedSubqueryExpr", wrong)


def unseen_expression(kind: str) -> Plant:
    return of_an_expression(kind, unseen(Walk._methods[kind]))


def unseen_statement(kind: str) -> Plant:
    right = statements._STATEMENTS[kind]

    def wrong(walk: Any, node: Any) -> tuple[OutputColumn, ...]:
        unseen(right)(walk, node)
        return ()

    return lambda patch: patch.setitem(statements._STATEMENTS, kind, wrong)


def forgets_windows(walk: Walk, node: Any) -> None:
    walk.scan(node.input_scan)
    for group in node.function_group_list:
        for column in group.analytic_function_list:
            walk.computed(column)


def forgets_what_is_compared(walk: Walk, node: Any) -> None:
    for item in node.input_item_list:
        walk.scan(item.scan)
    for index, column in enumerate(inherited(node, "column_list")):
        walk.bind(column, walk.column(node.input_item_list[0].output_column_list[index]))


def forgets_what_decides(patch: Patch) -> None:
    right = Walk.use

    def wrong(walk: Walk, value: Value, use: Use) -> None:
        if use in {Use.ARGUMENT, Use.OUTPUT}:
            right(walk, value, use)

    patch.setattr(Walk, "use", wrong)


def forgets_lambdas(patch: Patch) -> None:
    right = Walk._argument

    def wrong(walk: Any, node: Any, before: list[Value]) -> Value:
        is_lambda = has(node, "inline_lambda")
        return (unseen(right) if is_lambda else right)(walk, node, before)

    patch.setattr(Walk, "_argument", wrong)


def forgets_order_and_having(patch: Patch) -> None:
    patch.setattr(Walk, "_modifier", lambda *_: NOTHING)


def forgets_correlated(walk: Any, node: Any) -> Value:
    return NOTHING if node.is_correlated else Value(walk.column(node.column).sources)


def forgets_functions_of_datasets(patch: Patch) -> None:
    right = Walk._methods["ResolvedFunctionCall"]

    def wrong(walk: Any, node: Any) -> Value:
        is_own = inherited(node, "function").name.startswith("routine:")
        return (unseen(right) if is_own else right)(walk, node)

    patch.setitem(Walk._methods, "ResolvedFunctionCall", wrong)


_JOIN = ("ResolvedJoinScan", "left_scan", "right_scan")
WALKS: dict[str, Plant] = {
    "windows": of_a_scan("ResolvedAnalyticScan", forgets_windows),
    "filters": scan_seen_but_for("ResolvedFilterScan", "input_scan"),
    "orders": scan_seen_but_for("ResolvedOrderByScan", "input_scan"),
    "conditions of joins": scan_seen_but_for(*_JOIN),
    "columns that USING joins by": scan_seen_but_for(*_JOIN, where=lambda node: node.has_using),
    "ASSERT": scan_seen_but_for("ResolvedAssertScan", "input_scan"),
    "MATCH_RECOGNIZE": scan_seen_but_for("ResolvedMatchRecognizeScan", "input_scan"),
    "PIVOT": scan_seen_but_for("ResolvedPivotScan", "input_scan"),
    "UNPIVOT": scan_seen_but_for("ResolvedUnpivotScan", "input_scan"),
    "steps of a recursion": scan_seen_but_for("ResolvedRecursiveScan", "non_recursive_term.scan"),
    "what EXCEPT compares": of_a_scan("ResolvedSetOperationScan", forgets_what_is_compared),
    "EXISTS": unseen_subquery("EXISTS"),
    "IN": unseen_subquery("IN"),
    "scalar subqueries": unseen_subquery("SCALAR"),
    "ARRAY subqueries": unseen_subquery("ARRAY"),
    "uses that only decide on rows": forgets_what_decides,
    "order and HAVING in aggregates": forgets_order_and_having,
    "lambdas": forgets_lambdas,
    "arguments of functions of one's own": forgets_functions_of_datasets,
    "correlated columns": of_an_expression("ResolvedColumnRef", forgets_correlated),
    "whole rows": of_an_expression("ResolvedMakeStruct", lambda _, __: NOTHING),
    "casts": unseen_expression("ResolvedCast"),
    "fields of JSON": unseen_expression("ResolvedGetJsonField"),
    "WITH expressions": unseen_expression("ResolvedWithExpr"),
    "the query of an INSERT": unseen_statement("ResolvedInsertStmt"),
    "the condition of a DELETE": unseen_statement("ResolvedDeleteStmt"),
}
# One protected text tells of most; only numbers are equal often enough, and become texts.
ASKED = {
    "arguments of functions of one's own": "calling",
    **dict.fromkeys(("casts", "columns that USING joins by", "what EXCEPT compares"), "numbers"),
}


@pytest.mark.parametrize("forgotten", WALKS)
async def test_a_walker_that_forgets(forgotten: str, monkeypatch: Patch) -> None:
    WALKS[forgotten](monkeypatch)
    # Without the guard that counts every scanned column that no walk saw used.
    monkeypatch.setattr(Walk, "finish", lambda _: None)

    assert await leaks(ASKED.get(forgotten, "small"))


async def test_a_walker_that_forgets_is_held_by_its_guard(monkeypatch: Patch) -> None:
    WALKS["windows"](monkeypatch)

    assert not await leaks("small", FEW_CASES)


async def test_table_names_that_ignore_case(monkeypatch: Patch) -> None:
    right = names.resolve

    def folded(path: names.Path, project: str, dataset: str) -> Any:
        return right(tuple(part.lower() for part in path), project, dataset)

    monkeypatch.setattr(names, "resolve", folded)
    # Without the guard against names that differ by case in one statement.
    monkeypatch.setattr(names, "check_cases", lambda *_: None)
    monkeypatch.setattr(Objects, "with_tables_of", lambda _, __, found: found)

    assert await leaks("cases")


async def test_a_view_that_is_not_expanded(monkeypatch: Patch) -> None:
    right = Objects._understood

    async def as_a_table(objects: Objects, table: Any, *rest: Any) -> Any:
        kind = TableKind.TABLE
        return await right(objects, msgspec.structs.replace(table, kind=kind), *rest)

    monkeypatch.setattr(Objects, "_understood", as_a_table)

    assert await leaks("views")


async def test_a_field_in_fields_that_is_not_masked(monkeypatch: Patch) -> None:
    right = masks.Masking.of
    deep = 3

    def shallow(masking: masks.Masking, type_: SqlType, path: Any, value: str) -> str | None:
        return None if len(path) > deep else right(masking, type_, path, value)

    monkeypatch.setattr(masks.Masking, "of", shallow)

    assert await leaks("deep")


async def test_a_mask_that_leaks_for_one_type(monkeypatch: Patch) -> None:
    right = masks.scalar

    def leaking(mask: Any, type_: SqlType, value: str) -> str:
        leaked = f"IF({value} IS NULL, NULL, {value})"
        return leaked if type_.kind == "DATE" else right(mask, type_, value)

    monkeypatch.setattr(masks, "scalar", leaking)

    assert await leaks("types")


async def test_a_row_filter_that_is_not_put_in(monkeypatch: Patch) -> None:
    monkeypatch.setattr(task, "_filtered", lambda _, table, __: table)

    assert await leaks("filtered")


@pytest.mark.parametrize(
    ("schema", "plant"),
    {  # an array where objects are expected, a network of one address, a value for its token
        "steps": lambda patch: patch.setattr(json_paths, "_above", lambda _: ["$.c"]),
        "traces": lambda patch: patch.setattr(shown, "_V4_PREFIX", 32),
        "keyed": lambda patch: patch.setattr(keyed, "token_sql", lambda _, value: value),
    }.items(),
)
async def test_masks_that_show_too_much(schema: str, plant: Plant, monkeypatch: Patch) -> None:
    plant(monkeypatch)

    assert await leaks(schema)


def forgets_the_last(sql: str, tree: Any, scans: Any, *rest: Any) -> Any:
    """Miss the last reference, as a splicer would that does not look into every subquery."""
    every = list(scans)
    return spliced(sql, tree, every[:-1] if len(every) > 1 else every, *rest)


async def test_a_splice_that_misses_the_last_reference(monkeypatch: Patch) -> None:
    monkeypatch.setattr(task, "spliced", forgets_the_last)
    monkeypatch.setattr(task, "prove", lambda *_: None)

    assert await leaks("small")


async def test_the_proof_refuses_what_such_a_splice_lets_through(monkeypatch: Patch) -> None:
    monkeypatch.setattr(task, "spliced", forgets_the_last)

    outcomes = [trial.outcome for trial in await trials("small", FEW_CASES)]

    assert Outcome.LEAK not in outcomes
    assert Outcome.REFUSED in outcomes
