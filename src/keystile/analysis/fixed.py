"""Expressions whose value no row can change."""

from __future__ import annotations

from typing import Any

from keystile.analysis.functions import ALLOWED
from keystile.analysis.tree import descendants, kind
from keystile.googlesql.protos import inherited

_NODES = frozenset(
    {
        "ResolvedCast",
        "ResolvedConstant",
        "ResolvedFunctionCall",
        "ResolvedLiteral",
        "ResolvedParameter",
        "ResolvedSystemVariable",
    }
)


def is_fixed(expression: Any) -> bool:
    """Tell whether a resolved expression reads nothing: no column, no table, no routine."""
    return all(_is_fixed(node) for node in descendants(expression))


def _is_fixed(node: Any) -> bool:
    if kind(node) == "ResolvedFunctionCall":
        group, _, name = inherited(node, "function").name.partition(":")
        return group == "ZetaSQL" and name.lower() in ALLOWED
    return kind(node) in _NODES
