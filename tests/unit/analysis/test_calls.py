# ruff: noqa: S608 - queries made of a test's own words
from __future__ import annotations

from typing import Any

import pytest

from keystile.analysis.calls import called, function, in_full, routine_id
from keystile.analysis.parsing import statement_tree
from keystile.analysis.text import splice
from keystile.analysis.tree import descendants
from keystile.googlesql.engine import Engine
from keystile.model.schema import RoutineId


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


def nodes(engine: Engine, sql: str) -> list[Any]:
    return list(descendants(statement_tree(engine, sql)))


@pytest.mark.parametrize(
    ("call", "path"),
    [
        ("fn.f(1)", ("fn", "f")),
        ("p.fn.f(1)", ("p", "fn", "f")),
        ("SAFE.fn.f(1)", ("fn", "f")),
        ("safe.p.fn.f(1)", ("p", "fn", "f")),
        ("fn.f(DISTINCT 1 ORDER BY 1)", ("fn", "f")),
    ],
)
def test_what_is_called_in_a_dataset_is_a_routine(
    engine: Engine, call: str, path: tuple[str, ...]
) -> None:
    found = nodes(engine, f"SELECT {call}")
    assert [called(node) for node in found if called(node)] == [path]
    assert not any(function(node) for node in found)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ("UPPER('x')", "upper"),
        ("SAFE.UPPER('x')", "upper"),
        ("NET.HOST('x')", "net.host"),
        ("safe.Net.host('x')", "net.host"),
        ("ML.PREDICT(1)", "ml.predict"),
        ("AI.GENERATE('x')", "ai.generate"),
    ],
)
def test_what_googlesql_has_is_no_routine(engine: Engine, call: str, name: str) -> None:
    found = nodes(engine, f"SELECT {call}")
    assert not any(called(node) for node in found)
    assert [function(node) for node in found if function(node)] == [name]


def test_table_functions_are_called_too(engine: Engine) -> None:
    found = nodes(engine, "SELECT * FROM fn.t(1) JOIN p.fn.u((SELECT fn.f(2))) ON TRUE")
    paths = [called(node) for node in found if called(node)]
    assert sorted(paths) == [("fn", "f"), ("fn", "t"), ("p", "fn", "u")]


def test_a_name_is_completed_with_the_default_project() -> None:
    assert routine_id(("fn", "f"), "acme-shop") == RoutineId("acme-shop", "fn", "f")
    assert routine_id(("p", "fn", "f"), "acme-shop") == RoutineId("p", "fn", "f")


def test_a_call_in_full_keeps_its_safe(engine: Engine) -> None:
    sql = "SELECT SAFE.fn.f(fn.f(1)) FROM fn.f(3)"
    id_ = RoutineId("p", "fn", "f")
    edits = [in_full(node, id_) for node in nodes(engine, sql) if called(node)]
    full = "`p`.`fn`.`f`"
    assert splice(sql, edits) == f"SELECT SAFE.{full}({full}(1)) FROM {full}(3)"
