"""Moving about in the engine's parse trees and resolved trees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from keystile.googlesql.protos import has, inherited, levels, unwrapped


class Span(NamedTuple):
    """A range of the text, in bytes of its UTF-8 form, end excluded."""

    start: int
    end: int


def kind(node: Any) -> str:
    """Name a node's kind: `ResolvedTableScan` for `ResolvedTableScanProto`."""
    name: str = node.DESCRIPTOR.name
    return name.removesuffix("Proto")


def children(node: Any) -> Iterator[tuple[str, Any]]:
    """Give each child node, unwrapped, with the name of the field that holds it.

    Types, signatures, column definitions (`ResolvedColumn`) and places in the text are no nodes.
    """
    for level in levels(node):
        for field, value in level.ListFields():
            if not _holds_nodes(field):
                continue
            for child in value if field.is_repeated else (value,):
                if (inner := unwrapped(child)) is not None:
                    yield field.name, inner


def descendants(node: Any) -> Iterator[Any]:
    """Give the node and everything beneath it, parents first."""
    stack = [node]
    while stack:
        current = stack.pop()
        yield current
        stack.extend(reversed([child for _, child in children(current)]))


def span(node: Any) -> Span | None:
    """Give the range of the text that a node came from, where the engine recorded it."""
    if not has(node, "parse_location_range"):
        return None
    place = inherited(node, "parse_location_range")
    return Span(place.start, place.end)


def line_and_column(sql: str, offset: int) -> tuple[int, int]:
    """Turn a byte offset into a 1-based line and a 1-based column in characters."""
    before = sql.encode()[:offset].decode("utf-8", "replace")
    return before.count("\n") + 1, len(before) - before.rfind("\n")


_NO_NODES = frozenset({"ResolvedColumnProto", "ResolvedFunctionCallInfoProto"})


def _holds_nodes(field: Any) -> bool:
    if field.name == "parent" or field.message_type is None:
        return False
    name = field.message_type.name
    return name not in _NO_NODES and name.startswith(("Resolved", "AnyResolved", "AST", "AnyAST"))
