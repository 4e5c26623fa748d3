"""Rows of a table whose columns have changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from keystile.googlesql.messages import value_pb2
from keystile.model.schema import Field, Mode
from keystile.sandbox.changes import rows_of
from keystile.sandbox.data import Stored


def refitted(content: bytes, before: Stored, after: Stored) -> list[list[Any]]:
    """Give the rows of a table the columns that it has now, by name; new ones are NULL."""
    old, new = before.fields + before.hidden, after.fields + after.hidden
    return [_fields(row, old, new) for row in rows_of(content)]


def _fields(values: Sequence[Any], before: Sequence[Field], after: Sequence[Field]) -> list[Any]:
    given = {
        field.name.lower(): (value, field) for value, field in zip(values, before, strict=True)
    }
    made = []
    for field in after:
        known = given.get(field.name.lower())
        made.append(fitted(*known, field) if known else value_pb2.ValueProto())
    return made


def fitted(value: Any, before: Field, after: Field) -> Any:
    """Give a value the fields that its record has been given since."""
    if before.fields == after.fields or value.WhichOneof("value") is None:
        return value
    made = value_pb2.ValueProto()
    if before.mode is Mode.REPEATED:
        one = msgspec.structs.replace(before, mode=Mode.NULLABLE)
        made.array_value.SetInParent()
        made.array_value.element.extend(
            fitted(item, one, after) for item in value.array_value.element
        )
        return made
    made.struct_value.SetInParent()
    made.struct_value.field.extend(_fields(value.struct_value.field, before.fields, after.fields))
    return made
