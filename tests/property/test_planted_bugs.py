"""The proof proves itself: each bug planted here in the product is found within few cases."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any

import msgspec
import pytest
from prove.queries.generator import PARAMETERS, Generator
from prove.schemas import SCHEMAS
from prove.trial import Court, Outcome, Trial

from keystile.analysis import names
from keystile.analysis.lineage import NOTHING, Value
from keystile.analysis.objects import Objects
from keystile.analysis.scans import Walk
from keystile.googlesql import module
from keystile.googlesql.engine import Engine
from keystile.googlesql.inline import InlineRunner
from keystile.googlesql.protos import inherited
from keystile.masking import sql as masks
from keystile.masking import task
from keystile.masking.splice import spliced
from keystile.model.schema import SqlType, TableKind

MOST_CASES = 400
FEW_CASES = 60

Patch = pytest.MonkeyPatch


@cache
def engines() -> tuple[InlineRunner, Engine]:
    return InlineRunner(), Engine(module.load())


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


def scan_of_input(walk: Walk, node: Any) -> None:
    """Walk what lies beneath a scan, and take what the scan itself makes for constants."""
    walk.scan(node.input_scan)
    for column in inherited(node, "column_list"):
        walk._columns.setdefault(column.column_id, NOTHING)


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


def of_a_scan(kind: str, wrong: Callable[[Walk, Any], None]) -> Callable[[Patch], None]:
    return lambda patch: patch.setitem(Walk._scans, kind, wrong)


def of_an_expression(kind: str, wrong: Callable[[Any, Any], Value]) -> Callable[[Patch], None]:
    return lambda patch: patch.setitem(Walk._methods, kind, wrong)


def forgets_order_and_having(patch: Patch) -> None:
    patch.setattr(Walk, "_modifier", lambda *_: NOTHING)


def forgets_correlated(walk: Any, node: Any) -> Value:
    return NOTHING if node.is_correlated else Value(walk.column(node.column).sources)


WALKS: dict[str, tuple[str, Callable[[Patch], None]]] = {
    "windows": ("small", of_a_scan("ResolvedAnalyticScan", forgets_windows)),
    "filters": ("small", of_a_scan("ResolvedFilterScan", scan_of_input)),
    "orders": ("small", of_a_scan("ResolvedOrderByScan", scan_of_input)),
    "what EXCEPT compares": (
        "small",
        of_a_scan("ResolvedSetOperationScan", forgets_what_is_compared),
    ),
    "order and HAVING in aggregates": ("small", forgets_order_and_having),
    "correlated columns": ("small", of_an_expression("ResolvedColumnRef", forgets_correlated)),
    "whole rows": ("small", of_an_expression("ResolvedMakeStruct", lambda _, __: NOTHING)),
}


@pytest.mark.parametrize("forgotten", WALKS)
async def test_a_walker_that_forgets(forgotten: str, monkeypatch: Patch) -> None:
    schema, plant = WALKS[forgotten]
    plant(monkeypatch)
    # Without the guard that counts every scanned column that no walk saw used.
    monkeypatch.setattr(Walk, "finish", lambda _: None)

    assert await leaks(schema)


async def test_a_walker_that_forgets_is_held_by_its_guard(monkeypatch: Patch) -> None:
    WALKS["windows"][1](monkeypatch)

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
