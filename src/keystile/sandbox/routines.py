"""Routines: functions and table functions, and BigQuery's `Routine` resource of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from keystile.model.errors import InvalidRequestError
from keystile.model.schema import SqlType, TableId
from keystile.sandbox.dialect import Argument, Column
from keystile.wire.responses import Resource, etag
from keystile.wire.schema import SCALARS, standard_type

SCALAR, TABLE, AGGREGATE, PROCEDURE = (
    "SCALAR_FUNCTION",
    "TABLE_VALUED_FUNCTION",
    "AGGREGATE_FUNCTION",
    "PROCEDURE",
)
SQL = "SQL"


class Routine(msgspec.Struct, frozen=True):
    """A routine. `returns` is None where the body decides; `columns` is a table's declared shape.

    `language` is `SQL`, `JAVASCRIPT` or `PYTHON`; one with `remoteFunctionOptions` in `details` has
    none. Times are seconds since 1970. `details` are parts of the resource as they stand.
    """

    id: TableId
    kind: str
    body: str
    arguments: tuple[Argument, ...] = ()
    returns: SqlType | None = None
    columns: tuple[Column, ...] = ()
    language: str = SQL
    created: float = 0
    modified: float = 0
    details: dict[str, object] = {}

    @property
    def is_sql(self) -> bool:
        """Whether the sandbox can run it."""
        return self.language == SQL and self.kind != PROCEDURE


def routine_from_json(id_: TableId, given: Mapping[str, Any], modified: float) -> Routine:
    """Read a `Routine` resource. Raises `InvalidRequestError` and `KeyError`."""
    table = given.get("returnTableType") or {}
    returns = given.get("returnType")
    known = {"arguments", "definitionBody", "language", "returnTableType", "returnType"}
    return Routine(
        id=id_,
        kind=given.get("routineType", SCALAR),
        body=given.get("definitionBody", ""),
        arguments=tuple(_argument(item) for item in given.get("arguments", ())),
        returns=type_from_json(returns) if returns else None,
        columns=_columns(table),
        language=given.get("language", SQL),
        created=modified,
        modified=modified,
        details={key: value for key, value in given.items() if key not in {*known, "routineType"}},
    )


def _argument(item: Mapping[str, Any]) -> Argument:
    if item.get("argumentKind") == "ANY_TYPE":
        return Argument(item["name"])
    return Argument(item["name"], type_from_json(item["dataType"]))


def _columns(table: Mapping[str, Any]) -> tuple[Column, ...]:
    return tuple(
        (column["name"], type_from_json(column["type"])) for column in table.get("columns", ())
    )


def type_from_json(item: Mapping[str, Any]) -> SqlType:
    """Read a `StandardSqlDataType`. Raises `InvalidRequestError` and `KeyError`."""
    kind = item["typeKind"]
    if kind == "ARRAY":
        return SqlType(kind, element=type_from_json(item["arrayElementType"]))
    if kind == "RANGE":
        return SqlType(kind, element=type_from_json(item["rangeElementType"]))
    if kind == "STRUCT":
        parts = item["structType"]["fields"]
        return SqlType(
            kind,
            fields=tuple((part.get("name", ""), type_from_json(part["type"])) for part in parts),
        )
    if standard_type(kind, "a routine") not in SCALARS:
        raise InvalidRequestError(f"the type `{kind}` of a routine is not understood")
    return SqlType(kind)


def type_json(type_: SqlType) -> Resource:
    """Write a `StandardSqlDataType`."""
    if type_.kind == "STRUCT":
        parts = [{"name": name, "type": type_json(part)} for name, part in type_.fields]
        return {"typeKind": "STRUCT", "structType": {"fields": parts}}
    if type_.element is None:
        return {"typeKind": type_.kind}
    key = "arrayElementType" if type_.kind == "ARRAY" else "rangeElementType"
    return {"typeKind": type_.kind, key: type_json(type_.element)}


def routine_reference(id_: TableId) -> Resource:
    """Give a `RoutineReference`."""
    return {"projectId": id_.project, "datasetId": id_.dataset, "routineId": id_.table}


def routine_resource(routine: Routine) -> Resource:
    """Give the answer of routines.get (`Routine`)."""
    resource = {**listed_routine(routine), "definitionBody": routine.body, **routine.details}
    if routine.arguments:
        resource["arguments"] = [_argument_json(argument) for argument in routine.arguments]
    if routine.returns:
        resource["returnType"] = type_json(routine.returns)
    if routine.columns:
        columns = [{"name": name, "type": type_json(type_)} for name, type_ in routine.columns]
        resource["returnTableType"] = {"columns": columns}
    return {**resource, "etag": etag(resource)}


def listed_routine(routine: Routine) -> Resource:
    """Give what routines.list tells of a routine where no `readMask` asks for more."""
    resource: Resource = {
        "routineReference": routine_reference(routine.id),
        "routineType": routine.kind,
        "creationTime": str(int(routine.created * 1000)),
        "lastModifiedTime": str(int(routine.modified * 1000)),
    }
    if routine.language:
        resource["language"] = routine.language
    return {**resource, "etag": etag([resource, routine.body])}


def _argument_json(argument: Argument) -> Resource:
    if argument.table:
        columns = [{"name": name, "type": type_json(type_)} for name, type_ in argument.table]
        table = {"columns": columns}
        return {"name": argument.name, "argumentKind": "FIXED_TABLE", "tableType": table}
    if argument.type is None:
        return {"name": argument.name, "argumentKind": "ANY_TYPE"}
    return {"name": argument.name, "dataType": type_json(argument.type)}
