"""What ALTER TABLE does to a table: its columns, its rows, its options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from keystile.googlesql.messages import service, value_pb2
from keystile.model.errors import InvalidQueryError
from keystile.model.schema import Mode, TableId
from keystile.sandbox.data import Stored
from keystile.sandbox.defining import Alteration
from keystile.sandbox.errors import unsupported
from keystile.sandbox.keys import with_keys, without_constraint, without_primary_key

_ToldT = TypeVar("_ToldT")
_OF_KEYS = frozenset(("AddConstraint", "DropConstraint", "DropPrimaryKey"))
_DAY_MS = 24 * 3600 * 1000
_TOLD_AS = {
    "default_partition_expiration_days": "defaultPartitionExpirationMs",
    "default_table_expiration_days": "defaultTableExpirationMs",
    "default_rounding_mode": "defaultRoundingMode",
    "description": "description",
    "expiration_timestamp": "expirationTime",
    "friendly_name": "friendlyName",
    "is_case_insensitive": "isCaseInsensitive",
    "labels": "labels",
    "max_time_travel_hours": "maxTimeTravelHours",
    "require_partition_filter": "requirePartitionFilter",
    "storage_billing_model": "storageBillingModel",
}
"""What options are called in a resource."""


def table_details(options: Mapping[str, object]) -> dict[str, object]:
    """Give the parts of a table's resource that options say."""
    details: dict[str, object] = {}
    labels = options.get("labels")
    if isinstance(labels, list):
        details["labels"] = {pair[0]: pair[1] for pair in labels}
    if options.get("friendly_name"):
        details["friendlyName"] = options["friendly_name"]
    if options.get("expiration_timestamp"):
        details["expirationTime"] = str(options["expiration_timestamp"])
    if options.get("require_partition_filter"):
        details["requirePartitionFilter"] = True
    return details


def with_options(
    details: Mapping[str, object], options: Mapping[str, object], told: Mapping[str, object]
) -> dict[str, object]:
    """Give the parts of a resource after SET OPTIONS, which says `told`; NULL takes one away."""
    gone = {_TOLD_AS[name] for name in options if name in _TOLD_AS} - told.keys()
    return {name: value for name, value in {**details, **told}.items() if name not in gone}


def dataset_details(options: Mapping[str, object]) -> dict[str, object]:
    """Give the parts of a dataset's resource that options say."""
    details = table_details(options)
    for name in ("default_rounding_mode", "description", "storage_billing_model"):
        if options.get(name):
            details[_TOLD_AS[name]] = options[name]
    if options.get("is_case_insensitive"):
        details["isCaseInsensitive"] = True
    if options.get("max_time_travel_hours"):
        details["maxTimeTravelHours"] = str(options["max_time_travel_hours"])
    for name in ("default_table_expiration_days", "default_partition_expiration_days"):
        days = options.get(name)
        if isinstance(days, int | float):
            details[_TOLD_AS[name]] = str(int(days * _DAY_MS))
    return details


def altered(stored: Stored, content: bytes, action: Alteration) -> tuple[Stored, bytes]:
    """Give the table and its rows after one action. Raises `InvalidQueryError`."""
    if (after := _without_rows(stored, action)) is not None:
        return after, content
    if action.kind == "AddColumn":
        return _added(stored, content, action)
    place = _place(stored, action.column)
    if place is None:
        if action.lenient:
            return stored, content
        raise InvalidQueryError(f"Column not found: {action.column}")
    if action.kind == "DropColumn":
        fields = stored.fields[:place] + stored.fields[place + 1 :]
        after = msgspec.structs.replace(_without(stored, action.column), fields=fields)
        return after, _edited(content, lambda cells: cells.pop(place))
    changed = _changed(stored, place, action)
    fields = (*stored.fields[:place], changed, *stored.fields[place + 1 :])
    if changed.name != action.column:
        stored = _without(stored, action.column, changed.name)
    return msgspec.structs.replace(stored, fields=fields), content


def _without_rows(stored: Stored, action: Alteration) -> Stored | None:
    """Give the table after an action that leaves columns and rows as they are; None for others."""
    if action.kind == "SetOptions":
        details = with_options(stored.details, action.options, table_details(action.options))
        described = action.options.get("description", stored.description)
        return msgspec.structs.replace(stored, details=details, description=str(described or ""))
    if action.kind == "RenameTo":
        id_ = TableId(stored.id.project, stored.id.dataset, action.path[-1])
        return msgspec.structs.replace(stored, id=id_)
    if action.kind in _OF_KEYS:
        return msgspec.structs.replace(stored, details=_keys(stored.details, action))
    return None


def _keys(details: Mapping[str, object], action: Alteration) -> dict[str, object]:
    if action.key:
        return with_keys(details, (action.key,))
    if action.kind == "DropPrimaryKey":
        return without_primary_key(details, lenient=action.lenient)
    return without_constraint(details, action.column, lenient=action.lenient)


def _without(stored: Stored, column: str, renamed: str = "") -> Stored:
    """Take away, or give to a column's new name, its default and what is told of its type."""

    def kept(named: Mapping[str, _ToldT]) -> dict[str, _ToldT]:
        found = {}
        for path, told in named.items():
            first, dot, rest = path.partition(".")
            if first.lower() != column.lower():
                found[path] = told
            elif renamed:
                found[f"{renamed}{dot}{rest}"] = told
        return found

    return msgspec.structs.replace(
        stored, attributes=kept(stored.attributes), defaults=kept(stored.defaults)
    )


def _added(stored: Stored, content: bytes, action: Alteration) -> tuple[Stored, bytes]:
    if _place(stored, action.column) is not None:
        if action.lenient:
            return stored, content
        raise InvalidQueryError(f"Column already exists: {action.column}")
    if action.field is None or action.field.mode is Mode.REQUIRED:
        raise InvalidQueryError(
            f"Cannot add required columns to an existing schema. (field: {action.column})"
        )
    at = len(stored.fields)
    after = msgspec.structs.replace(
        stored,
        fields=(*stored.fields, action.field),
        attributes={**stored.attributes, **action.attributes},
        defaults={
            **stored.defaults,
            **({action.column: action.default} if action.default else {}),
        },
    )
    return after, _edited(content, lambda cells: cells.insert(at, value_pb2.ValueProto()))


def _changed(stored: Stored, place: int, action: Alteration) -> Any:
    field = stored.fields[place]
    if action.kind == "RenameColumn":
        return msgspec.structs.replace(field, name=action.path[0])
    if action.kind == "AlterColumnDropNotNull":
        return msgspec.structs.replace(field, mode=Mode.NULLABLE)
    if action.kind == "AlterColumnOptions":
        described = str(action.options.get("description") or "")
        return msgspec.structs.replace(field, description=described)
    raise unsupported(f"the action {action.kind} of ALTER TABLE")


def _place(stored: Stored, column: str) -> int | None:
    names = [field.name.lower() for field in stored.fields]
    return names.index(column.lower()) if column.lower() in names else None


def _edited(content: bytes, edit: Any) -> bytes:
    before, after = service.TableContent.FromString(content), service.TableContent()
    after.table_data.SetInParent()
    for row in before.table_data.row:
        cells = list(row.cell)
        edit(cells)
        after.table_data.row.add().cell.extend(cells)
    encoded: bytes = after.SerializeToString()
    return encoded
