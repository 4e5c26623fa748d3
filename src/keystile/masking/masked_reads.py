"""Tells a read of a table through its masks from any other, whatever surrounds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from keystile.analysis.fixed import is_fixed
from keystile.analysis.holding import Holding
from keystile.analysis.tree import kind
from keystile.analysis.walker import enum_name
from keystile.googlesql.protos import has, unwrapped
from keystile.masking.messages import held_messages
from keystile.masking.within import Within

Path = tuple[str, ...]

TO_CHANGE = Holding("ResolvedColumnProto", "ResolvedNodeProto")
"""What `normal` changes in a tree."""


class Template(NamedTuple):
    """A masking subquery as the engine resolves it alone, in its normal form.

    `projection` is empty where the table may only be written. `masked` are the paths of columns and
    fields, in lower case, that must not be read raw; all of a top-level column counts where it is
    handed on. `free` are columns of which nothing is masked; `filtered` tells of some rows only.
    """

    projection: bytes
    masked: Within
    free: tuple[str, ...] = ()
    filtered: bool = False

    def holds(self, column: str) -> bool:
        """Tell whether anything of a top-level column is masked."""
        return self.covers((column,))

    def covers(self, path: Path) -> bool:
        """Tell whether anything at, above or beneath a path is masked."""
        return self.masked.touches(lowered(path))


def lowered(path: Path) -> Path:
    """Give a path as `Template` has it: the engine ignores case."""
    return tuple(name.lower() for name in path)


def normal(node: Any) -> bytes:
    """Give a form that equal trees share: no places in the text, columns numbered from one."""
    copy = type(node)()
    copy.CopyFrom(node)
    numbers: dict[int, int] = {}
    for message in held_messages(copy, TO_CHANGE):
        held = kind(message)
        if held == "ResolvedColumn":
            message.column_id = numbers.setdefault(message.column_id, len(numbers) + 1)
            message.ClearField("table_name")  # the alias around the subquery; the number counts
        elif held == "ResolvedNode":
            message.ClearField("parse_location_range")
    encoded: bytes = copy.SerializeToString(deterministic=True)
    return encoded


def masked_read(projection: Any, templates: Mapping[str, Template]) -> Any | None:
    """Give the scan of the table that a masking subquery reads; None where it is no such one."""
    template = templates.get(_table_beneath(projection))
    if template is None:
        return None
    projection, scan = _of_any_rows(projection)
    return scan if _is_read(scan) and normal(projection) == template.projection else None


def _table_beneath(projection: Any) -> str:
    """Name the table that a masking subquery would read here; empty where there is none."""
    scan = unwrapped(projection.input_scan)
    for between in ("ResolvedFilterScan", "ResolvedSampleScan"):
        if kind(scan) == between:
            scan = unwrapped(scan.input_scan)
    name: str = scan.table.full_name if _is_read(scan) else ""
    return name


def _of_any_rows(projection: Any) -> tuple[Any, Any]:
    """Give a projection without what says of when and how many its rows are, and what it reads.

    INVARIANT: only what no value of any table can change is left out; the rest is compared.
    """
    copy = type(projection)()
    copy.CopyFrom(projection)
    above = unwrapped(copy.input_scan)
    if kind(above) != "ResolvedFilterScan":  # some of the table's rows
        above = copy
    scan = unwrapped(above.input_scan)
    if kind(scan) == "ResolvedSampleScan" and _is_plain(scan):
        sampled = type(above.input_scan)()
        sampled.CopyFrom(scan.input_scan)
        above.input_scan.CopyFrom(sampled)
        scan = unwrapped(above.input_scan)
    is_past = _is_read(scan) and has(scan, "for_system_time_expr")
    if is_past and is_fixed(unwrapped(scan.for_system_time_expr)):
        scan.ClearField("for_system_time_expr")
    return copy, scan


def _is_plain(sample: Any) -> bool:
    """Tell whether a sample is `TABLESAMPLE SYSTEM (n PERCENT)`, with a fixed n."""
    fields = {field.name for field, _ in sample.ListFields()}
    plain = fields <= {"parent", "input_scan", "method", "size", "unit"}
    is_percent = sample.method == "system" and enum_name(sample, "unit") == "PERCENT"
    return plain and is_percent and is_fixed(unwrapped(sample.size))


def _is_read(scan: Any) -> bool:
    return kind(scan) == "ResolvedTableScan"
