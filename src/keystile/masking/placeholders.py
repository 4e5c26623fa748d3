"""What a mask gives, written into the column that it stands for: as far as it can be recognised.

A value that comes out of a masked column is refused by where it comes from (`writes`). Here are
those that an agent has read before and writes as literals or parameters. Of masks that give what a
value may well be (a date, a rounded number, a token) nothing can be told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from keystile.analysis.dml import target_path
from keystile.analysis.tree import children, descendants, kind
from keystile.googlesql.protos import has, inherited, unwrapped
from keystile.masking import shown
from keystile.model.errors import RefusedError
from keystile.model.masks import (
    ConstantMask,
    EmailMask,
    IpMask,
    KeepFirstMask,
    KeepLastMask,
    KeyedHashMask,
    Mask,
    PatternMask,
    UrlHostMask,
)

Path = tuple[str, ...]

_HASH = re.compile(r"[0-9a-f]{64}")
_EMAIL = re.compile(r".\*\*\*@[^@]+", re.DOTALL)


def is_one(mask: Mask, text: str) -> bool:
    """Tell whether a text is what the mask gives, and hardly anything else."""
    found = False
    match mask:
        case PatternMask(pattern=given) | ConstantMask(value=str() as given):
            found = bool(text) and text == given
        case KeyedHashMask():
            found = _HASH.fullmatch(text) is not None
        case EmailMask():
            found = text == shown.NOTHING or _EMAIL.fullmatch(text) is not None
        case UrlHostMask() | IpMask():
            found = text == shown.NOTHING
        case KeepFirstMask(count=count):
            found = _is_starred(text[count:]) or _is_starred(text)
        case KeepLastMask(count=count):
            found = _is_starred(text[: max(len(text) - count, 0)]) or _is_starred(text)
    return found


def check(statement: Any, masks: Mapping[tuple[str, Path], Mask], texts: Mapping[str, str]) -> None:
    """Raise `RefusedError` where DML sets a masked column to what its mask gives.

    `masks` are by full names of tables and paths in lower case; `texts` are the values of the
    query's STRING parameters, by names in lower case.
    """
    if kind(statement) not in {"ResolvedInsertStmt", "ResolvedMergeStmt", "ResolvedUpdateStmt"}:
        return
    table = statement.table_scan.table.full_name
    for path, value in _assigned(statement):
        mask = masks.get((table, tuple(name.lower() for name in path)))
        text = _text(value, texts)
        if mask and text is not None and is_one(mask, text):
            raise RefusedError(
                f"this would write a mask's output over the values of `{'.'.join(path)}`",
                hint="write the value itself, or leave this column out",
            )


def _is_starred(text: str) -> bool:
    return bool(text) and not text.strip("*")


def _assigned(statement: Any) -> Iterator[tuple[Path, Any]]:
    """Give what single values DML sets, and to which column or field."""
    for node in descendants(statement):
        if kind(node) == "ResolvedInsertStmt":
            yield from _inserted(node, node.row_list)
            yield from _selected(node)
        elif kind(node) == "ResolvedMergeWhen" and has(node, "insert_row"):
            yield from _inserted(node, (node.insert_row,))
        elif kind(node) == "ResolvedUpdateItem" and has(node, "set_value"):
            path = target_path(unwrapped(node.target))
            if path:
                yield path, unwrapped(unwrapped(node.set_value).value)


def _inserted(node: Any, rows: Iterable[Any]) -> Iterator[tuple[Path, Any]]:
    for row in rows:
        values = [below for field, below in children(unwrapped(row)) if field == "value_list"]
        for column, value in zip(node.insert_column_list, values, strict=False):
            yield (column.name,), unwrapped(value.value)


def _selected(node: Any) -> Iterator[tuple[Path, Any]]:
    """Give what the query of an INSERT makes for its columns itself, and reads from no table."""
    made: dict[int, Any] = {}
    united: dict[int, list[int]] = {}
    for below in descendants(node):
        if kind(below) == "ResolvedComputedColumn":
            made[below.column.column_id] = unwrapped(below.expr)
        elif kind(below) == "ResolvedSetOperationScan":
            for item in below.input_item_list:
                pairs = zip(inherited(below, "column_list"), item.output_column_list, strict=False)
                for column, given in pairs:
                    united.setdefault(column.column_id, []).append(given.column_id)
    for column, given in zip(node.insert_column_list, node.query_output_column_list, strict=False):
        waiting = [given.column_id]
        while waiting:
            one = waiting.pop()
            waiting += united.get(one, ())
            if one in made:
                yield (column.name,), made[one]


def _text(value: Any, texts: Mapping[str, str]) -> str | None:
    while kind(value) == "ResolvedCast":
        value = unwrapped(value.expr)
    if kind(value) == "ResolvedParameter":
        return texts.get(value.name.lower())
    if kind(value) != "ResolvedLiteral":
        return None
    literal = inherited(value, "value").value
    return str(literal.string_value) if literal.WhichOneof("value") == "string_value" else None
