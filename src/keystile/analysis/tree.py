"""Moving about in the engine's parse trees and resolved trees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from keystile.googlesql.protos import has, inherited, unwrapped


class Span(NamedTuple):
    """A range of the text, in bytes of its UTF-8 form, end excluded."""

    start: int
    end: int


def kind(node: Any) -> str:
    """Name a node's kind: `ResolvedTableScan` for `ResolvedTableScanProto`."""
    return _KINDS[node.__class__]


def children(node: Any) -> list[tuple[str, Any]]:
    """Give each child node, unwrapped, with the name of the field that holds it.

    Types, signatures, column definitions (`ResolvedColumn`) and places in the text are no nodes.
    """
    found = []
    level = node
    while level is not None and _HOLDERS[level.__class__]:
        base = None
        for field, value in level.ListFields():
            name, several = _HELD[field]
            if not name:
                continue
            if name == "parent":
                base = value
            elif several:
                found += [(name, inner) for each in value if (inner := unwrapped(each)) is not None]
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


class _Kinds(dict[Any, str]):
    """The kind of each class of messages."""

    def __missing__(self, message: Any) -> str:
        name: str = message.DESCRIPTOR.name
        self[message] = kind_of = name.removesuffix("Proto")
        return kind_of


class _Holders(dict[Any, bool]):
    """Whether a class of messages, or a base class of it, has a field that holds nodes."""

    def __missing__(self, message: Any) -> bool:
        self[message] = holds = _holds_nodes(message.DESCRIPTOR)
        return holds


def _holds_nodes(message: Any) -> bool:
    kinds = [(field.name, field.message_type) for field in message.fields if field.message_type]
    if any(_is_node(held) for name, held in kinds if name != "parent"):
        return True
    return any(_holds_nodes(held) for name, held in kinds if name == "parent")


class _Held(dict[Any, tuple[str, bool]]):
    """Of each field its name, empty where it holds no nodes, and whether it holds several."""

    def __missing__(self, field: Any) -> tuple[str, bool]:
        is_node = field.message_type is not None and _is_node(field.message_type)
        name = field.name if field.name == "parent" or is_node else ""
        self[field] = held = (name, field.is_repeated)
        return held


_KINDS = _Kinds()
_HOLDERS = _Holders()
_HELD = _Held()


def _is_node(message: Any) -> bool:
    name: str = message.name
    return name not in _NO_NODES and name.startswith(("Resolved", "AnyResolved", "AST", "AnyAST"))
