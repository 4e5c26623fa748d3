"""Moving about in the engine's parse trees and resolved trees."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from keystile.googlesql.protos import has, inherited, unwrapped


class Span(NamedTuple):
    """A range of the text, in bytes of its UTF-8 form, end excluded."""

    start: int
    end: int


def kind(node: Any) -> str:
    """Name a node's kind: `ResolvedTableScan` for `ResolvedTableScanProto`."""
    return _kind(node.__class__)


def children(node: Any) -> list[tuple[str, Any]]:
    """Give each child node, unwrapped, with the name of the field that holds it.

    Types, signatures, column definitions (`ResolvedColumn`) and places in the text are no nodes.
    """
    found = []
    level = node
    while level is not None:
        base = None
        for field, value in level.ListFields():
            name, several = _held(field)
            if name == "parent":
                base = value
            elif not name:
                continue
            elif several:
                below = [(name, unwrapped(child)) for child in value]
                found += [pair for pair in below if pair[1] is not None]
            elif (inner := unwrapped(value)) is not None:
                found.append((name, inner))
        level = base
    return found


def edges(node: Any) -> Iterator[tuple[str, Any]]:
    """Give everything beneath the node with the field that holds it, parents first."""
    stack = children(node)[::-1]
    while stack:
        yield (edge := stack.pop())
        stack += children(edge[1])[::-1]


def descendants(node: Any) -> Iterator[Any]:
    """Give the node and everything beneath it, parents first."""
    yield node
    for _, below in edges(node):
        yield below


def span(node: Any) -> Span | None:
    """Give the range of the text that a node came from, where the engine recorded it."""
    if not has(node, "parse_location_range"):
        return None
    place = inherited(node, "parse_location_range")
    return Span(place.start, place.end)


_NO_NODES = frozenset({"ResolvedColumnProto", "ResolvedFunctionCallInfoProto"})


@cache
def _kind(message: Any) -> str:
    name: str = message.DESCRIPTOR.name
    return name.removesuffix("Proto")


@cache
def _held(field: Any) -> tuple[str, bool]:
    """Give the field's name, empty where it holds no nodes, and whether it holds several."""
    if field.name != "parent" and (field.message_type is None or not _is_node(field.message_type)):
        return "", False
    return field.name, field.is_repeated


def _is_node(message: Any) -> bool:
    name: str = message.name
    return name not in _NO_NODES and name.startswith(("Resolved", "AnyResolved", "AST", "AnyAST"))
