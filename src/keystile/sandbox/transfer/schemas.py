"""A table's schema against the one that a job brings."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from keystile.model.errors import InvalidRequestError
from keystile.model.schema import Field, Mode, TableId
from keystile.wire.schema import field_json

_ADDITION = "ALLOW_FIELD_ADDITION"
_RELAXATION = "ALLOW_FIELD_RELAXATION"


def merged(
    present: Sequence[Field], given: Sequence[Field], options: Collection[str], table: TableId
) -> tuple[Field, ...]:
    """Give the schema of a table after rows of a given schema are added to it.

    Raises `InvalidRequestError` where they do not fit, or only with options that are not there.
    """
    return _merged(present, given, _Merge(table, options), "")


class _Merge(msgspec.Struct, frozen=True):
    table: TableId
    options: Collection[str]

    def differs(self, what: str) -> InvalidRequestError:
        id_ = self.table
        return InvalidRequestError(
            f"Provided Schema does not match Table {id_.project}:{id_.dataset}.{id_.table}. {what}"
        )


def _merged(
    present: Sequence[Field], given: Sequence[Field], merge: _Merge, path: str
) -> tuple[Field, ...]:
    by_name = {field.name.lower(): field for field in given}
    fields = []
    for field in present:
        new = by_name.pop(field.name.lower(), None)
        where = f"{path}{field.name}"
        if new is None and field.mode is Mode.REQUIRED:
            raise merge.differs(f"Field {where} is missing in new schema")
        fields.append(_one(field, new, merge, where) if new else field)
    for new in by_name.values():
        where = f"{path}{new.name}"
        if _ADDITION not in merge.options:
            raise merge.differs(f"Cannot add fields (field: {where})")
        if new.mode is Mode.REQUIRED:
            raise merge.differs(
                f"Cannot add required fields to an existing schema. (field: {where})"
            )
        fields.append(new)
    return tuple(fields)


def _one(field: Field, new: Field, merge: _Merge, where: str) -> Field:
    before, after = field_json(field)["type"], field_json(new)["type"]
    if (field.type, field.range_element) != (new.type, new.range_element):
        raise merge.differs(f"Field {where} has changed type from {before} to {after}")
    mode = field.mode
    if Mode.REPEATED in (field.mode, new.mode) and field.mode is not new.mode:
        raise merge.differs(f"Field {where} has changed mode from {mode.value} to {new.mode.value}")
    if field.mode is Mode.REQUIRED and new.mode is Mode.NULLABLE:
        if _RELAXATION not in merge.options:
            raise merge.differs(f"Field {where} has changed mode from REQUIRED to NULLABLE")
        mode = Mode.NULLABLE
    inner = _merged(field.fields, new.fields, merge, f"{where}.")
    return msgspec.structs.replace(field, mode=mode, fields=inner)
