"""Routines: functions and table functions, and BigQuery's `Routine` resource of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from keystile.model.schema import SqlType, TableId
from keystile.sandbox.dialect import Argument, Column
from keystile.wire.responses import Resource, etag
from keystile.wire.standard_types import standard_type_from_json, standard_type_json

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
        returns=standard_type_from_json(returns) if returns else None,
        columns=_columns(table),
        language=given.get("language", SQL),
        created=modified,
        modified=modified,
        details={key: value for key, value in given.items() if key not in {*known, "routineType"}},
    )


def _argument(item: Mapping[str, Any]) -> Argument:
    if item.get("argumentKind") == "ANY_TYPE":
        return Argument(item["name"])
    return Argument(item["name"], standard_type_from_json(item["dataType"]))


def _columns(table: Mapping[str, Any]) -> tuple[Column, ...]:
    return tuple(
        (column["name"], standard_type_from_json(column["type"]))
        for column in table.get("columns", ())
    )


def routine_reference(id_: TableId) -> Resource:
    """Give a `RoutineReference`."""
    return {"projectId": id_.project, "datasetId": id_.dataset, "routineId": id_.table}


def routine_resource(routine: Routine) -> Resource:
    """Give the answer of routines.get (`Routine`)."""
    resource = {**listed_routine(routine), "definitionBody": routine.body, **routine.details}
    if routine.arguments:
        resource["arguments"] = [_argument_json(argument) for argument in routine.arguments]
    if routine.returns:
        resource["returnType"] = standard_type_json(routine.returns)
    if routine.columns:
        columns = [
            {"name": name, "type": standard_type_json(type_)} for name, type_ in routine.columns
        ]
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
        columns = [
            {"name": name, "type": standard_type_json(type_)} for name, type_ in argument.table
        ]
        table = {"columns": columns}
        return {"name": argument.name, "argumentKind": "FIXED_TABLE", "tableType": table}
    if argument.type is None:
        return {"name": argument.name, "argumentKind": "ANY_TYPE"}
    return {"name": argument.name, "dataType": standard_type_json(argument.type)}
