"""Primary and foreign keys, which BigQuery tells of and never enforces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from keystile.model.errors import DuplicateError, InvalidQueryError
from keystile.model.schema import TableId
from keystile.sandbox.dialect import Spelled
from keystile.sandbox.errors import unsupported
from keystile.wire.responses import table_reference

_TOLD_AS = "tableConstraints"


class Key(msgspec.Struct, frozen=True):
    """A key that a statement names. A foreign one has the full name of the `table` that it is of.

    `referenced` are the columns there, in the order of `columns`; an empty `name` is none.
    """

    name: str
    columns: tuple[str, ...]
    table: str = ""
    referenced: tuple[str, ...] = ()


def primary_key(node: Any) -> Key:
    """Read a resolved PRIMARY KEY."""
    if not node.unenforced:
        raise unsupported("a primary key without NOT ENFORCED")
    return Key(node.constraint_name, tuple(node.column_name_list))


def foreign_key(node: Any, tables: Iterable[Spelled]) -> Key:
    """Read a resolved FOREIGN KEY, which references one of the tables."""
    if node.enforced:
        raise unsupported("a foreign key without NOT ENFORCED")
    name = node.referenced_table.full_name
    there = next(table.columns for table in tables if table.name == name)
    referenced = (there[at][0] for at in node.referenced_column_offset_list)
    return Key(node.constraint_name, tuple(node.referencing_column_list), name, tuple(referenced))


def with_keys(details: Mapping[str, object], keys: Iterable[Key]) -> dict[str, object]:
    """Give the parts of a table's resource with more keys. Raises `DuplicateError`."""
    told = _told(details)
    for key in keys:
        if not key.table:
            if "primaryKey" in told:
                raise DuplicateError("Already Exists: Primary key")
            told["primaryKey"] = {"columns": list(key.columns)}
            continue
        listed = told.get("foreignKeys", [])
        if key.name and any(one.get("name") == key.name for one in listed):
            raise DuplicateError(f"Already Exists: Constraint {key.name}")
        told["foreignKeys"] = [*listed, _foreign_json(key)]
    return _with(details, told)


def without_primary_key(details: Mapping[str, object], *, lenient: bool) -> dict[str, object]:
    """Take the primary key away. Raises `InvalidQueryError` where there is none."""
    told = _told(details)
    if told.pop("primaryKey", None) is None and not lenient:
        raise InvalidQueryError("The table has no primary key")
    return _with(details, told)


def without_constraint(
    details: Mapping[str, object], name: str, *, lenient: bool
) -> dict[str, object]:
    """Take a foreign key away. Raises `InvalidQueryError` where there is none of the name."""
    told = _told(details)
    listed = told.pop("foreignKeys", [])
    kept = [one for one in listed if one.get("name") != name]
    if kept == listed and not lenient:
        raise InvalidQueryError(f"Constraint not found: {name}")
    return _with(details, told | ({"foreignKeys": kept} if kept else {}))


def _told(details: Mapping[str, object]) -> dict[str, Any]:
    told = details.get(_TOLD_AS)
    return dict(told) if isinstance(told, Mapping) else {}


def _with(details: Mapping[str, object], told: Mapping[str, Any]) -> dict[str, object]:
    rest = {name: value for name, value in details.items() if name != _TOLD_AS}
    return rest | ({_TOLD_AS: dict(told)} if told else {})


def _foreign_json(key: Key) -> dict[str, object]:
    pairs = zip(key.columns, key.referenced, strict=True)
    columns = [{"referencingColumn": one, "referencedColumn": other} for one, other in pairs]
    table = table_reference(TableId(*key.table.rsplit(".", 2)))
    named = {"name": key.name} if key.name else {}
    return {**named, "referencedTable": table, "columnReferences": columns}
