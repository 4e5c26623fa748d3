"""Table resources that clients send, as tables and views."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec

from keystile.model.errors import InvalidRequestError
from keystile.model.schema import Field, TableId, TableKind
from keystile.sandbox.binding import Question
from keystile.sandbox.bodies import Fields
from keystile.sandbox.columns import Columns, changed_columns, read_columns
from keystile.sandbox.data import Stored, partition_columns
from keystile.sandbox.errors import unsupported
from keystile.sandbox.queries import Catalog
from keystile.wire.responses import Resource, etag

FIELDS = Fields(
    kept=frozenset(
        (
            "clustering",
            "defaultCollation",
            "defaultRoundingMode",
            "encryptionConfiguration",
            "expirationTime",
            "friendlyName",
            "labels",
            "maxStaleness",
            "rangePartitioning",
            "requirePartitionFilter",
            "resourceTags",
            "tableConstraints",
            "timePartitioning",
        )
    ),
    read=frozenset(("description", "materializedView", "schema", "tableReference", "view")),
    output=frozenset(
        (
            "caseInsensitive",
            "cloneDefinition",
            "creationTime",
            "etag",
            "id",
            "kind",
            "lastModifiedTime",
            "location",
            "materializedViewStatus",
            "numActiveLogicalBytes",
            "numActivePhysicalBytes",
            "numBytes",
            "numCurrentPhysicalBytes",
            "numLongTermBytes",
            "numLongTermLogicalBytes",
            "numLongTermPhysicalBytes",
            "numPartitions",
            "numPhysicalBytes",
            "numRows",
            "numTimeTravelPhysicalBytes",
            "numTotalLogicalBytes",
            "numTotalPhysicalBytes",
            "replicas",
            "restrictions",
            "selfLink",
            "snapshotDefinition",
            "streamingBuffer",
            "type",
        )
    ),
    unserved=frozenset(
        (
            "biglakeConfiguration",
            "externalCatalogTableOptions",
            "externalDataConfiguration",
            "managedTableType",
            "model",
            "partitionDefinition",
            "tableReplicationInfo",
        )
    ),
)
_VIEW_FIELDS = frozenset(("query", "useLegacySql"))
_MATERIALIZED_FIELDS = frozenset(
    (
        "allowNonIncrementalDefinition",
        "enableRefresh",
        "lastRefreshTime",
        "maxStaleness",
        "query",
        "refreshIntervalMs",
    )
)
_PARTITIONED_BY = frozenset(("DATE", "DATETIME", "TIMESTAMP"))


async def new_table(catalog: Catalog, id_: TableId, given: Resource) -> Stored:
    """Make an empty table, or a view, of the body of tables.insert.

    Raises `InvalidRequestError` naming what is not understood, and `InvalidQueryError` and
    `NotFoundError` for the query of a view.
    """
    now = time.time()
    blank = Stored(
        id=id_,
        kind=TableKind.TABLE,
        etag=etag([str(id_), now]),
        modified=now,
        created=now,
        row_count=0,
        details=_details(given),
        description=_description(given),
    )
    for name, kind in (("view", TableKind.VIEW), ("materializedView", TableKind.MATERIALIZED_VIEW)):
        if given.get(name):
            view = msgspec.structs.replace(blank, kind=kind)
            return await _with_query(catalog, view, name, given)
    columns = read_columns(given.get("schema") or [])
    return with_columns(blank, columns)


async def changed_table(catalog: Catalog, before: Stored, given: Resource) -> Stored:
    """Give a table, still with its old rows, or a view as a whole new body says.

    Raises as `new_table` does.
    """
    if "schema" not in given and before.kind is TableKind.TABLE:
        raise InvalidRequestError("Required parameter is missing: schema")
    after = msgspec.structs.replace(
        before,
        details={**_server_details(before), **_details(given)},
        description=_description(given),
        modified=time.time(),
    )
    after = msgspec.structs.replace(after, etag=etag([before.etag, after.modified]))
    name = {TableKind.VIEW: "view", TableKind.MATERIALIZED_VIEW: "materializedView"}.get(
        before.kind
    )
    if name:
        return await _with_query(catalog, after, name, given)
    if given.get("view") or given.get("materializedView"):
        raise InvalidRequestError("Cannot change a table into a view")
    old = Columns(before.fields, before.attributes, before.defaults)
    new = changed_columns(old, read_columns(given.get("schema") or []), before.id)
    if before.kind is TableKind.SNAPSHOT and new.fields != old.fields:
        raise InvalidRequestError("Cannot change the schema of a table snapshot")
    return with_columns(after, new)


def _server_details(stored: Stored) -> dict[str, object]:
    """Give the parts of a resource that no client sets."""
    return {name: value for name, value in stored.details.items() if name not in FIELDS.kept}


def _details(given: Mapping[str, object]) -> dict[str, object]:
    details = FIELDS.details(given)
    partitioning = details.get("timePartitioning")
    if isinstance(partitioning, dict):
        details["timePartitioning"] = {"type": "DAY", **partitioning}
    until = details.get("expirationTime")
    if until is not None:
        if not str(until).isdecimal():
            raise InvalidRequestError("`expirationTime` is not a number that is understood")
        if int(str(until)) <= time.time() * 1000:
            raise InvalidRequestError("Invalid value for: expirationTime is in the past")
        details["expirationTime"] = str(until)
    return details


def _description(given: Mapping[str, object]) -> str:
    return str(given.get("description") or "")


def with_columns(stored: Stored, columns: Columns) -> Stored:
    """Give a table a schema.

    Raises `InvalidRequestError` where it lacks a column that the table is partitioned by.
    """
    for name, sql in columns.defaults.items():
        if not sql.strip():
            raise InvalidRequestError(f"the default of the column `{name}` is empty")
    _check_places(stored.details, columns.fields)
    return msgspec.structs.replace(
        stored,
        fields=columns.fields,
        attributes=columns.attributes,
        defaults=columns.defaults,
        hidden=partition_columns(stored.details.get("timePartitioning")),
    )


def _check_places(details: Mapping[str, Any], fields: tuple[Field, ...]) -> None:
    """Hold partitioning and clustering to the columns that are there."""
    types = {field.name.lower(): field.type for field in fields}
    by_time = (details.get("timePartitioning") or {}).get("field")
    if by_time and types.get(by_time.lower()) not in _PARTITIONED_BY:
        raise InvalidRequestError(
            f"The field specified for time partitioning cannot be found in the schema: {by_time}"
        )
    by_range = (details.get("rangePartitioning") or {}).get("field")
    if by_range and types.get(by_range.lower()) != "INT64":
        raise InvalidRequestError(
            f"The field specified for range partitioning cannot be found in the schema: {by_range}"
        )
    for name in (details.get("clustering") or {}).get("fields") or ():
        if name.lower() not in types:
            raise InvalidRequestError(
                f"The field specified for clustering cannot be found in the schema: {name}"
            )


async def _with_query(catalog: Catalog, view: Stored, name: str, given: Resource) -> Stored:
    told = given.get(name)
    known = _VIEW_FIELDS if name == "view" else _MATERIALIZED_FIELDS
    if not isinstance(told, dict) or not isinstance(told.get("query"), str):
        raise InvalidRequestError(f"Required parameter is missing: {name}.query")
    for part in told.keys() - known:
        raise unsupported(f"`{name}.{str(part)[:60]}`")
    # The API's own default is legacy SQL.
    if name == "view" and told.get("useLegacySql", True):
        raise unsupported("views in legacy SQL; use GoogleSQL with `useLegacySql: false`")
    query = told["query"]
    # As a view has no default dataset, its query must be good without one.
    fields = (await catalog.plan(Question(query, view.id.project))).fields
    columns = read_columns(given.get("schema") or [])
    if columns.fields and [each.name for each in columns.fields] != [each.name for each in fields]:
        raise InvalidRequestError("the `schema` of a view must name the columns of its query")
    extras = {part: told[part] for part in told if part not in _VIEW_FIELDS}
    return msgspec.structs.replace(
        view,
        view_query=query,
        view_columns=(),
        fields=columns.fields,
        details={**view.details, **({name: extras} if extras else {})},
    )
