"""The proof proves itself: each bug planted here in the product is found within few cases."""

from __future__ import annotations

from typing import Any

import pytest
from prove.core import Search

from keystile.analysis import names
from keystile.analysis.lineage import NOTHING, Value
from keystile.analysis.scans import Walk
from keystile.masking import sql as masks
from keystile.masking import task
from keystile.masking.splice import spliced
from keystile.model.schema import SqlType

MOST_CASES = 400


async def leaks_within(cases: int, *, only: str, seed: str = "planted") -> list[tuple[str, str]]:
    """Search until something is found."""
    search = Search(seed, save_found=False, only=only)
    for _ in range(0, cases, 10):
        if found := (await search.tally(10)).leaks:
            return found
    return []


def forget_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the guard that counts every scanned column that no walk saw used."""
    monkeypatch.setattr(Walk, "finish", lambda _: None)


def _forgets_windows(walk: Walk, node: Any) -> None:
    walk.scan(node.input_scan)
    for group in node.function_group_list:
        for column in group.analytic_function_list:
            walk.computed(column)


async def test_a_walker_that_forgets_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Walk._scans, "ResolvedAnalyticScan", _forgets_windows)
    forget_the_rest(monkeypatch)

    assert await leaks_within(MOST_CASES, only="small")


async def test_a_walker_that_forgets_windows_is_held_by_its_guard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(Walk._scans, "ResolvedAnalyticScan", _forgets_windows)

    assert not await leaks_within(60, only="small")


async def test_a_walker_that_forgets_order_and_having_in_aggregates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forgets(_: Walk, __: str, ___: Any) -> Value:
        return NOTHING

    monkeypatch.setattr(Walk, "_modifier", forgets)
    forget_the_rest(monkeypatch)

    assert await leaks_within(MOST_CASES, only="small")


async def test_a_walker_that_forgets_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgets(walk: Walk, node: Any) -> None:
        walk.scan(node.input_scan)

    monkeypatch.setitem(Walk._scans, "ResolvedFilterScan", forgets)
    forget_the_rest(monkeypatch)

    assert await leaks_within(MOST_CASES, only="small")


async def test_table_names_that_ignore_case(monkeypatch: pytest.MonkeyPatch) -> None:
    right = names.resolve

    def folded(path: names.Path, project: str, dataset: str) -> Any:
        return right(tuple(part.lower() for part in path), project, dataset)

    monkeypatch.setattr(names, "resolve", folded)

    assert await leaks_within(MOST_CASES, only="cases")


def _forgets_the_last(sql: str, tree: Any, scans: Any, protected: Any) -> str:
    """Miss the last reference, as a splicer would that does not look into every subquery."""
    every = list(scans)
    return spliced(sql, tree, every[:-1] if len(every) > 1 else every, protected)


async def test_a_splice_that_misses_the_last_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "spliced", _forgets_the_last)
    monkeypatch.setattr(task, "prove", lambda *_: None)

    assert await leaks_within(MOST_CASES, only="small")


async def test_the_proof_refuses_what_such_a_splice_lets_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(task, "spliced", _forgets_the_last)

    tally = await Search("planted", save_found=False, only="small").tally(60)

    assert tally.leaks == []
    assert tally.outcomes["refused"] > 0


async def test_a_mask_that_leaks_for_one_type(monkeypatch: pytest.MonkeyPatch) -> None:
    right = masks.scalar

    def leaking(mask: Any, type_: SqlType, value: str) -> str:
        leaked = f"IF({value} IS NULL, NULL, {value})"
        return leaked if type_.kind == "DATE" else right(mask, type_, value)

    monkeypatch.setattr(masks, "scalar", leaking)

    assert await leaks_within(MOST_CASES, only="types")
