"""How many logical bytes a value is, as BigQuery bills it; NULL counts nothing."""

from __future__ import annotations

import base64
from typing import Any, cast

from keystile.model.schema import SqlType
from keystile.sandbox.cells import stored_text

_FIXED_BYTES = {
    "INT64": 8,
    "FLOAT64": 8,
    "BOOL": 1,
    "DATE": 8,
    "DATETIME": 8,
    "TIME": 8,
    "TIMESTAMP": 8,
    "NUMERIC": 16,
    "BIGNUMERIC": 32,
    "INTERVAL": 16,
    "RANGE": 16,
}


def logical_bytes(value: object, type_: SqlType) -> int:
    """Count a stored value's logical size as BigQuery bills it; NULL counts nothing."""
    if value is None:
        return 0
    if type_.kind == "ARRAY":
        element = cast("SqlType", type_.element)
        return sum(logical_bytes(item, element) for item in cast("list[object]", value))
    if type_.kind == "STRUCT":
        record = cast("dict[str, object]", value)
        return sum(logical_bytes(record.get(name), part) for name, part in type_.fields)
    if type_.kind in _FIXED_BYTES:
        return _FIXED_BYTES[type_.kind]
    if type_.kind == "BYTES":
        return 2 + len(base64.b64decode(str(value)))
    return 2 + len(stored_text(value, type_, "").encode())


def value_bytes(value: Any, type_: SqlType) -> int:
    """Count the same of an engine's value (`ValueProto`)."""
    if value.WhichOneof("value") is None:
        return 0
    if type_.kind == "ARRAY":
        element = cast("SqlType", type_.element)
        return sum(value_bytes(item, element) for item in value.array_value.element)
    if type_.kind == "STRUCT":
        parts = zip(value.struct_value.field, type_.fields, strict=True)
        return sum(value_bytes(part, part_type) for part, (_, part_type) in parts)
    if type_.kind in _FIXED_BYTES:
        return _FIXED_BYTES[type_.kind]
    if type_.kind == "BYTES":
        return 2 + len(value.bytes_value)
    return 2 + len((value.string_value or value.json_value).encode())
