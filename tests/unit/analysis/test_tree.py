"""No node is passed over on the way through a tree."""

from __future__ import annotations

from typing import Any

import pytest

from keystile.analysis import tree
from keystile.analysis.parsing import statement_tree
from keystile.analysis.tree import children, edges, kind
from keystile.googlesql.engine import Engine
from keystile.googlesql.protos import levels, unwrapped

QUERIES = [
    "WITH w AS (SELECT a.b.c[OFFSET(1)] FROM t TABLESAMPLE SYSTEM (1 PERCENT)) SELECT * FROM w",
    "SELECT AS STRUCT CASE WHEN x > 1 THEN 'a' ELSE @p END, COUNT(*) OVER (ORDER BY y DESC) FROM t",
    "MERGE t USING u ON t.a = u.a WHEN MATCHED THEN UPDATE SET b = DEFAULT",
    "CREATE TABLE t (a STRUCT<x INT64 OPTIONS (description = 'd')>) PARTITION BY DATE(b)",
    "FROM t |> WHERE a IN (SELECT 1) |> AGGREGATE SUM(b) GROUP BY c |> SELECT *",
]


def plainly(node: Any) -> list[tuple[str, Any]]:
    """Give the children by looking at every field of every level."""
    found = []
    for level in levels(node):
        for field, value in level.ListFields():
            held = field.message_type
            if field.name != "parent" and held is not None and tree._is_node(held):
                several = value if field.is_repeated else (value,)
                found += [(field.name, inner) for one in several if (inner := unwrapped(one))]
    return found


@pytest.mark.parametrize("sql", QUERIES)
def test_children_are_all_that_any_field_holds(sql: str) -> None:
    root = statement_tree(Engine(), sql)
    nodes = [root, *(node for _, node in edges(root))]
    assert len(nodes) > 10
    for node in nodes:
        shown = [(field, kind(child)) for field, child in children(node)]
        assert shown == [(field, kind(child)) for field, child in plainly(node)]
