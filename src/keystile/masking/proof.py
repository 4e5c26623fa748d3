"""Proves of a rewritten text that nothing reads a protected column unmasked.

It does not trust the splicing. The rewritten text is resolved anew, and every mention of a
protected table must stand directly under the very projection that masks it, equal to what the
engine makes of that projection alone; no column that such a read gives raw may be named anywhere
else in the statement.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from keystile.analysis.tree import kind
from keystile.googlesql.protos import inherited, unwrapped
from keystile.model.errors import RefusedError


class Template(NamedTuple):
    """A masking subquery as the engine resolves it alone, in its normal form.

    `columns` are the top-level columns that it must not hand on raw.
    """

    projection: bytes
    columns: frozenset[str]


def prove(statement: Any, templates: Mapping[str, Template], expected: int) -> None:
    """Prove a resolved statement (not pruned) safe, or raise `RefusedError`.

    `templates` are by the full names of the protected tables; `expected` is how many reads of them
    there must be.
    """
    found = _Found(templates)
    found.look_at(statement)
    if found.masked != expected or found.unmasked or found.raw & found.named:
        raise RefusedError(
            "the masked form of this query could not be proved safe",
            hint="write it in a simpler way",
        )


def normal(node: Any) -> bytes:
    """Give a form that equal trees share: no places in the text, columns numbered from one."""
    copy = type(node)()
    copy.CopyFrom(node)
    numbers: dict[int, int] = {}
    for message in _messages(copy):
        fields = message.DESCRIPTOR.fields_by_name
        if message.DESCRIPTOR.name == "ResolvedColumnProto":
            message.column_id = numbers.setdefault(message.column_id, len(numbers) + 1)
            message.ClearField("table_name")  # the alias around the subquery; the number counts
        if "parse_location_range" in fields:
            message.ClearField("parse_location_range")
    encoded: bytes = copy.SerializeToString(deterministic=True)
    return encoded


class _Found:
    """What one pass over every message of a statement finds."""

    def __init__(self, templates: Mapping[str, Template]) -> None:
        self._templates = templates
        self.masked = 0
        self.unmasked = 0
        self.raw: set[int] = set()
        self.named: set[int] = set()

    def look_at(self, message: Any) -> None:
        name = message.DESCRIPTOR.name
        if name == "ResolvedProjectScanProto" and self._is_masked(message):
            self.masked += 1
            self.look_at(message.parent)  # the columns that it puts out, not what it makes them of
            return
        if name == "ResolvedColumnProto":
            self.named.add(message.column_id)
        elif name == "TableRefProto" and message.full_name in self._templates:
            self.unmasked += 1
        for inner in _inner(message):
            self.look_at(inner)

    def _is_masked(self, projection: Any) -> bool:
        scan = unwrapped(projection.input_scan)
        template = self._templates.get(scan.table.full_name) if _is_read(scan) else None
        if template is None or normal(projection) != template.projection:
            return False
        columns = inherited(scan, "column_list")
        self.raw |= {column.column_id for column in columns if column.name in template.columns}
        return True


def _is_read(scan: Any) -> bool:
    return kind(scan) == "ResolvedTableScan"


def _messages(message: Any) -> Iterator[Any]:
    stack = [message]
    while stack:
        yield (current := stack.pop())
        stack.extend(_inner(current))


def _inner(message: Any) -> Iterator[Any]:
    for field, value in message.ListFields():
        if field.message_type is not None:
            yield from value if field.is_repeated else (value,)
