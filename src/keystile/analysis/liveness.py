"""Which columns of common table expressions nothing uses.

The engine prunes what nothing uses, but not what a common table expression puts out: there
`SELECT *` of a table keeps all its columns, whichever of them the query then names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from keystile.analysis.holding import Held, Holding
from keystile.googlesql.protos import inherited, unwrapped


def dead_columns(with_scan: Any) -> frozenset[int]:
    """Give the numbers of all columns that common table expressions put out and nothing uses.

    INVARIANT: a column is dead only if nothing but a scan that puts it out names it, and each
    reference to a common table expression leaves it dead as well.
    """
    found = _Found()
    found.look_at(with_scan)
    live = found.named.union(_put_out(with_scan))
    before = -1
    while len(live) != before:
        before = len(live)
        for name, columns in found.references:
            definition = found.definitions.get(name, [])
            if len(definition) < len(columns):
                live.update(definition)
            pairs = zip(definition, columns, strict=False)
            live.update(inner for inner, outer in pairs if outer in live)
    return frozenset(number for one in found.definitions.values() for number in one) - live


class _Found:
    """What one pass over every message of a statement finds, all by the columns' numbers."""

    def __init__(self) -> None:
        self.named: set[int] = set()
        self.definitions: dict[str, list[int]] = {}
        self.references: list[tuple[str, list[int]]] = []

    def look_at(self, message: Any) -> None:
        name = message.DESCRIPTOR.name
        if name == "ResolvedColumnProto":
            self.named.add(message.column_id)
        elif name == "ResolvedWithEntryProto":
            # Names are unique in a statement: the engine renames those that are not.
            self.definitions[message.with_query_name] = _put_out(message.with_subquery)
        elif name == "ResolvedWithRefScanProto":
            self.references.append((message.with_query_name, _put_out(message)))
        for inner in _used_by(message):
            self.look_at(inner)


def _used_by(message: Any) -> Iterator[Any]:
    """Give the messages within, but for the columns that a scan puts out to another scan."""
    for field, value in message.ListFields():
        if _TELLING[field] is Held.NONE:
            continue
        if message.DESCRIPTOR.name == "ResolvedScanProto" and field.name == "column_list":
            continue
        yield from value if field.is_repeated else (value,)
        if field.message_type.name == "AnyResolvedScanProto" and not _hands_on(message):
            for scan in value if field.is_repeated else (value,):
                yield from inherited(unwrapped(scan), "column_list")


_TELLING = Holding("ResolvedColumnProto", "ResolvedWithEntryProto", "ResolvedWithRefScanProto")
"""What `_Found` takes note of."""


def _hands_on(message: Any) -> bool:
    """Tell whether what holds a scan uses its columns only where it names them one by one."""
    return message.DESCRIPTOR.name in _HAND_ON


def _put_out(scan: Any) -> list[int]:
    return [column.column_id for column in inherited(unwrapped(scan), "column_list")]


_HAND_ON = frozenset(
    {
        "ResolvedAggregateScanBaseProto",
        "ResolvedAnalyticScanProto",
        "ResolvedArrayScanProto",
        "ResolvedFilterScanProto",
        "ResolvedJoinScanProto",
        "ResolvedLimitOffsetScanProto",
        "ResolvedOrderByScanProto",
        "ResolvedPivotScanProto",
        "ResolvedProjectScanProto",
        "ResolvedQueryStmtProto",
        "ResolvedSampleScanProto",
        "ResolvedSetOperationItemProto",
        "ResolvedUnpivotScanProto",
        "ResolvedWithEntryProto",
        "ResolvedWithScanProto",
    }
)
"""Nodes that name every column that they use of a scan beneath them, or hand it on as it is."""
