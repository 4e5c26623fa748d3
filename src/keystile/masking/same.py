"""Proves that a rewritten text is the same query, but for the masks.

Each masking subquery of the resolved tree is replaced by the table that it reads; what comes out
must be the tree of the text that was rewritten.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keystile.analysis.tree import kind
from keystile.googlesql.protos import inherited, unwrapped
from keystile.masking.masked_reads import Template, masked_read, normal
from keystile.masking.messages import messages


def same_query(original: Any, rewritten: Any, templates: Mapping[str, Template]) -> bool:
    """Compare two resolved statements (not pruned). `templates` are as for `prove`."""
    copy = type(rewritten)()
    copy.CopyFrom(rewritten)
    columns: dict[int, int] = {}
    for message in list(messages(copy)):
        if "node" in message.DESCRIPTOR.oneofs_by_name:
            _without_masks(message, templates, columns)
    for message in messages(copy):
        if kind(message) == "ResolvedColumn":
            message.column_id = columns.get(message.column_id, message.column_id)
    return _comparable(copy) == _comparable(original)


def _without_masks(holder: Any, templates: Mapping[str, Template], columns: dict[int, int]) -> None:
    """Put the table in the place of a masking subquery; note which columns are which."""
    projection = unwrapped(holder)
    if projection is None or kind(projection) != "ResolvedProjectScan":
        return
    if (scan := masked_read(projection, templates)) is None:
        return
    below = projection.input_scan
    if kind(unwrapped(below)) == "ResolvedFilterScan":
        below = unwrapped(below).input_scan
    pairs = zip(inherited(projection, "column_list"), inherited(scan, "column_list"), strict=True)
    columns |= {put_out.column_id: read.column_id for put_out, read in pairs}
    table = type(below)()
    table.CopyFrom(below)
    if type(holder) is type(table):
        holder.CopyFrom(table)


def _comparable(statement: Any) -> bytes:
    copy = type(statement)()
    copy.CopyFrom(statement)
    for message in messages(copy):
        if kind(message) == "ResolvedColumn":
            message.name = ""  # its number counts, and what it is called where it is put out
        elif kind(message) == "ResolvedTableScan":
            message.alias = ""
        elif kind(message) == "ResolvedSubqueryExpr":
            _sort(message.parameter_list)  # in the order of the numbers, which masks change
        elif kind(message) == "TableRef":
            message.name, message.serialization_id = "", 0
    return normal(copy)


def _sort(references: Any) -> None:
    for reference in sorted(references, key=lambda one: one.column.column_id):
        references.append(reference)
    del references[: len(references) // 2]
