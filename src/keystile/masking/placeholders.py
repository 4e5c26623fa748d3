"""What a mask gives, written into the column that it stands for: as far as it can be recognised.

A value that comes out of a masked column is refused by where it comes from (`writes`). Here are
those that an agent has read before and writes as literals or parameters. Of masks that give what a
value may well be (a date, a rounded number, a token) nothing can be told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any

from keystile.analysis.dml import target_path
from keystile.analysis.tree import children, descendants, kind
from keystile.googlesql.protos import has, inherited, sql_type, unwrapped
from keystile.masking import shown
from keystile.masking.constants import Constant, Constants, Place
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
from keystile.model.schema import Parameter, SqlType

Path = tuple[str, ...]

_HASH = re.compile(r"[0-9a-f]{64}")
_EMAIL = re.compile(r".\*\*\*@[^@]+", re.DOTALL)


def is_one(mask: Mask, value: Constant) -> bool:
    """Tell whether a text, or bytes, are what the mask gives, and hardly anything else."""
    if isinstance(value, str):
        return _is_masked(mask, value)
    return isinstance(mask, KeyedHashMask) and len(value) == sha256().digest_size


def _is_masked(mask: Mask, text: str) -> bool:
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


def check(
    statement: Any, masks: Mapping[tuple[str, Path], Mask], given: Iterable[Parameter]
) -> None:
    """Raise `RefusedError` where DML sets a masked column or field to what its mask gives.

    `masks` are by full names of tables and paths in lower case; `given` are the agent's parameters.
    """
    if kind(statement) not in {"ResolvedInsertStmt", "ResolvedMergeStmt", "ResolvedUpdateStmt"}:
        return
    table = statement.table_scan.table.full_name
    own = {path: mask for (of, path), mask in masks.items() if of == table}
    constants = Constants(statement, given) if own else None
    for path, type_, value in _assigned(statement) if constants else ():
        lower = tuple(name.lower() for name in path)
        for masked, mask in own.items():
            depth = min(len(masked), len(lower))
            if masked[:depth] != lower[:depth]:
                continue
            place = _place(type_, masked[depth:])
            found = constants.of(value, place) if constants and place is not None else ()
            if any(is_one(mask, one) for one in found):
                raise RefusedError(
                    "this would write a mask's output over the values of"
                    f" `{'.'.join((*path, *masked[depth:]))}`",
                    hint="write the value itself, or leave this column out",
                )


def _is_starred(text: str) -> bool:
    return bool(text) and not text.strip("*")


def _place(type_: SqlType, names: Path) -> Place | None:
    """Say by numbers of fields what lies beneath a value; None where its type has no such names."""
    while type_.kind == "ARRAY" and type_.element:
        type_ = type_.element
    if not names:
        return ()
    for number, (name, inner) in enumerate(type_.fields):
        if name.lower() == names[0]:
            beneath = _place(inner, names[1:])
            return None if beneath is None else (number, *beneath)
    return None


def _assigned(statement: Any) -> Iterator[tuple[Path, SqlType, Any]]:
    """Give to which column or field, of which type, DML sets which expression or column."""
    for node in descendants(statement):
        if kind(node) == "ResolvedInsertStmt":
            yield from _inserted(node, node.row_list)
            for column, made in zip(
                node.insert_column_list, node.query_output_column_list, strict=False
            ):
                yield (column.name,), sql_type(column.type), made.column_id
        elif kind(node) == "ResolvedMergeWhen" and has(node, "insert_row"):
            yield from _inserted(node, (node.insert_row,))
        elif kind(node) == "ResolvedUpdateItem" and has(node, "set_value"):
            target = unwrapped(node.target)
            if path := target_path(target):
                value = unwrapped(unwrapped(node.set_value).value)
                yield path, sql_type(inherited(target, "type")), value


def _inserted(node: Any, rows: Iterable[Any]) -> Iterator[tuple[Path, SqlType, Any]]:
    for row in rows:
        values = [below for field, below in children(unwrapped(row)) if field == "value_list"]
        for column, value in zip(node.insert_column_list, values, strict=False):
            yield (column.name,), sql_type(column.type), unwrapped(value.value)
