"""The API's `StandardSqlDataType` ↔ the model's types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keystile.model.errors import InvalidRequestError
from keystile.model.schema import SqlType
from keystile.wire.schema import MAX_DEPTH, SCALARS, standard_type


def standard_type_from_json(item: Mapping[str, Any], depth: int = 0) -> SqlType:
    """Read a `StandardSqlDataType`. Raises `InvalidRequestError` where it is not understood."""
    try:
        kind = item["typeKind"]
        if depth > MAX_DEPTH:
            raise InvalidRequestError("the type of a routine is nested too deeply")
        if kind == "ARRAY":
            return SqlType(kind, standard_type_from_json(item["arrayElementType"], depth + 1))
        if kind == "RANGE":
            return SqlType(kind, standard_type_from_json(item["rangeElementType"], depth + 1))
        if kind == "STRUCT":
            parts = item["structType"]["fields"]
            fields = (
                (str(part.get("name") or ""), standard_type_from_json(part["type"], depth + 1))
                for part in parts
            )
            return SqlType(kind, fields=tuple(fields))
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidRequestError("the type of a routine is not understood") from error
    if standard_type(kind, "a routine") not in SCALARS:
        raise InvalidRequestError(f"the type `{kind}` of a routine is not understood")
    return SqlType(kind)


def standard_type_json(type_: SqlType) -> dict[str, object]:
    """Write a `StandardSqlDataType`."""
    if type_.kind == "STRUCT":
        parts = [{"name": name, "type": standard_type_json(part)} for name, part in type_.fields]
        return {"typeKind": "STRUCT", "structType": {"fields": parts}}
    if type_.element is None:
        return {"typeKind": type_.kind}
    key = "arrayElementType" if type_.kind == "ARRAY" else "rangeElementType"
    return {"typeKind": type_.kind, key: standard_type_json(type_.element)}
