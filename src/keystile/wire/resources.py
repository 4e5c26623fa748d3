"""Datasets and tables that a client wants made, as typed data. Only fields on a list pass.

What a statement says better, or what gives rights, is refused with a hint; what is not known at all
raises `InvalidRequestError` with its name. Fields that BigQuery alone fills are read over: clients
send them back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from keystile.model.errors import InvalidRequestError, RefusedError
from keystile.model.schema import Field, TableId
from keystile.wire.jsonbody import parse_object
from keystile.wire.keys import Keys, keys_from_json
from keystile.wire.schema import fields_from_json
from keystile.wire.strict import Int64, Strict, converted, int64, plain_labels, without_refused

Unit = Literal["HOUR", "DAY", "MONTH", "YEAR"]
Rounding = Literal["ROUND_HALF_AWAY_FROM_ZERO", "ROUND_HALF_EVEN"]

BY_STATEMENT = "write it as a statement and run it as a query"
"""What to do instead of saying something in a resource."""

_NO_RIGHTS = "an agent changes no rights here"
_NO_KEYS = "a key of your own is not served"
_NOT_MADE_HERE = "tables whose rows lie elsewhere are not made here"

REFUSED = {
    "access": _NO_RIGHTS,
    "defaultEncryptionConfiguration": _NO_KEYS,
    "encryptionConfiguration": _NO_KEYS,
    "externalDatasetReference": _NOT_MADE_HERE,
    "externalCatalogDatasetOptions": _NOT_MADE_HERE,
    "externalCatalogTableOptions": _NOT_MADE_HERE,
    "externalDataConfiguration": _NOT_MADE_HERE,
    "biglakeConfiguration": _NOT_MADE_HERE,
    "linkedDatasetSource": _NOT_MADE_HERE,
    "resourceTags": _NO_RIGHTS,
    "materializedView": BY_STATEMENT,
    "rangePartitioning": BY_STATEMENT,
    "defaultCollation": BY_STATEMENT,
    "storageBillingModel": BY_STATEMENT,
    "maxStaleness": BY_STATEMENT,
    "cloneDefinition": BY_STATEMENT,
    "snapshotDefinition": BY_STATEMENT,
    "tableReplicationInfo": BY_STATEMENT,
}
"""Fields of datasets and tables that are understood and not served, and why."""

_REFUSED_IN_FIELD = {
    "policyTags": _NO_RIGHTS,
    "dataPolicies": _NO_RIGHTS,
    "generatedColumn": BY_STATEMENT,
    "collation": BY_STATEMENT,
    "roundingMode": BY_STATEMENT,
    "foreignTypeDefinition": BY_STATEMENT,
}
_PARAMETERS = ("maxLength", "precision", "scale", "timestampPrecision")
_PARAMETERS_OF: Mapping[str, tuple[str, ...]] = {
    "STRING": ("maxLength",),
    "BYTES": ("maxLength",),
    "NUMERIC": ("precision", "scale"),
    "BIGNUMERIC": ("precision", "scale"),
    "TIMESTAMP": ("timestampPrecision",),
}
"""What a type such as `NUMERIC(10, 2)` says in brackets, in this order."""

_FIELD = frozenset(
    ("name", "type", "mode", "description", "fields", "rangeElementType", "defaultValueExpression")
).union(_PARAMETERS)
_OUTPUT = frozenset(("kind", "etag", "id", "selfLink", "creationTime", "lastModifiedTime", "type"))
_OUTPUT_OF_TABLES = frozenset(("numBytes", "numRows", "numLongTermBytes", "location"))


class _Reference(Strict, frozen=True):
    project_id: str | None = None
    dataset_id: str | None = None
    table_id: str | None = None


class _Dataset(Strict, frozen=True):
    dataset_reference: _Reference
    location: str | None = None
    description: str | None = None
    friendly_name: str | None = None
    labels: dict[str, str] | None = None
    default_table_expiration_ms: Int64 | None = None
    default_partition_expiration_ms: Int64 | None = None
    default_rounding_mode: Rounding | None = None
    max_time_travel_hours: Int64 | None = None
    is_case_insensitive: bool = False


class _Partitioning(Strict, frozen=True):
    type: Unit = "DAY"
    field: str | None = None
    expiration_ms: Int64 | None = None
    require_partition_filter: bool | None = None


class _Clustering(Strict, frozen=True):
    fields: tuple[str, ...] = ()


class _View(Strict, frozen=True):
    query: str
    # Absent means true in this API.
    use_legacy_sql: bool = True


class _Table(Strict, frozen=True):
    table_reference: _Reference
    schema: dict[str, object] | None = None
    description: str | None = None
    friendly_name: str | None = None
    labels: dict[str, str] | None = None
    expiration_time: Int64 | None = None
    time_partitioning: _Partitioning | None = None
    clustering: _Clustering | None = None
    table_constraints: dict[str, object] | None = None
    require_partition_filter: bool | None = None
    view: _View | None = None


class Words(msgspec.Struct, frozen=True):
    """What people read of a dataset or a table."""

    description: str = ""
    friendly_name: str = ""
    labels: dict[str, str] = {}


class NewDataset(msgspec.Struct, frozen=True):
    """A dataset to make. Times are milliseconds; an empty `location` leaves it to BigQuery."""

    project: str
    dataset: str
    words: Words
    location: str = ""
    table_expiration_ms: int | None = None
    partition_expiration_ms: int | None = None
    rounding_mode: str = ""
    time_travel_hours: int | None = None
    ignores_case: bool = False


class Partitioning(msgspec.Struct, frozen=True):
    """How a table is cut by time; without a `field`, by the time of ingestion."""

    unit: Unit
    field: str = ""
    expiration_ms: int | None = None


class NewColumn(Field, frozen=True):
    """A column or nested field to make, with what `Field` does not say of it.

    `parameters` are those of its type, as in `NUMERIC(10, 2)`; `default` is the SQL of the value
    that it has where none is given.
    """

    parameters: tuple[int, ...] = ()
    default: str = ""


class NewTable(msgspec.Struct, frozen=True):
    """A table to make, or a view where `query` is not empty. It expires at `expires_ms`."""

    id: TableId
    words: Words
    fields: tuple[Field, ...] = ()
    query: str = ""
    expires_ms: int | None = None
    partitioning: Partitioning | None = None
    clustering: tuple[str, ...] = ()
    require_partition_filter: bool = False
    keys: Keys = Keys()


def parse_dataset(project: str, body: bytes) -> NewDataset:
    """Read the body of datasets.insert.

    Raises `InvalidRequestError` for what is malformed or unknown, `RefusedError` for what is
    understood and not served.
    """
    given = converted(_known(parse_object(body), _OUTPUT), _Dataset)
    reference = given.dataset_reference
    _check(reference.project_id, project, "datasetReference.projectId")
    return NewDataset(
        project,
        _required(reference.dataset_id, "datasetReference.datasetId"),
        _words(given),
        given.location or "",
        int64(given.default_table_expiration_ms, "defaultTableExpirationMs"),
        int64(given.default_partition_expiration_ms, "defaultPartitionExpirationMs"),
        given.default_rounding_mode or "",
        int64(given.max_time_travel_hours, "maxTimeTravelHours"),
        given.is_case_insensitive,
    )


def parse_table(project: str, dataset: str, body: bytes) -> NewTable:
    """Read the body of tables.insert. Raises as `parse_dataset` does."""
    given = converted(_known(parse_object(body), _OUTPUT | _OUTPUT_OF_TABLES), _Table)
    reference = given.table_reference
    _check(reference.project_id, project, "tableReference.projectId")
    _check(reference.dataset_id, dataset, "tableReference.datasetId")
    cut = given.time_partitioning
    filtered = given.require_partition_filter or (cut and cut.require_partition_filter)
    return NewTable(
        TableId(project, dataset, _required(reference.table_id, "tableReference.tableId")),
        _words(given),
        new_fields(given.schema),
        _query(given.view),
        int64(given.expiration_time, "expirationTime"),
        _partitioning(cut) if cut else None,
        given.clustering.fields if given.clustering else (),
        bool(filtered),
        keys_from_json(given.table_constraints),
    )


def _known(given: Mapping[str, object], output: frozenset[str]) -> dict[str, object]:
    return without_refused(
        {name: value for name, value in given.items() if name not in output}, REFUSED
    )


def _check(given: str | None, wanted: str, name: str) -> None:
    if given not in {None, "", wanted}:
        raise InvalidRequestError(f"`{name}` is not that of the path")


def _required(given: str | None, name: str) -> str:
    if not given:
        raise InvalidRequestError(f"`{name}` is missing")
    return given


def _words(given: _Dataset | _Table) -> Words:
    return Words(given.description or "", given.friendly_name or "", plain_labels(given.labels))


def _partitioning(cut: _Partitioning) -> Partitioning:
    return Partitioning(cut.type, cut.field or "", int64(cut.expiration_ms, "expirationMs"))


def _query(view: _View | None) -> str:
    if view is None:
        return ""
    if view.use_legacy_sql:
        raise RefusedError(
            "views in legacy SQL are not served", hint="write GoogleSQL and `useLegacySql: false`"
        )
    return _required(view.query.strip(), "view.query")


def clustered_by(given: object) -> tuple[str, ...]:
    """Read the columns of a `Clustering`; none where it is null. Raises `InvalidRequestError`."""
    return () if given is None else converted(given, _Clustering).fields


def new_fields(schema: dict[str, object] | None) -> tuple[Field, ...]:
    """Read the columns of a new table, or new columns. Raises as `parse_table` does."""
    if not schema:
        return ()
    if unknown := schema.keys() - {"fields"}:
        raise InvalidRequestError(f"the schema has an unknown field `{min(unknown)[:100]}`")
    items = schema.get("fields")
    _check_fields(items)
    return _new_columns(fields_from_json(schema), items, "")


def _check_fields(fields: object) -> None:
    """Refuse what a column may have besides what a statement is made of here."""
    for field in fields if isinstance(fields, list) else ():
        if isinstance(field, dict):
            left = without_refused(field, _REFUSED_IN_FIELD).keys() - _FIELD
            if left:
                raise InvalidRequestError(f"a column has an unknown field `{min(left)[:100]}`")
            _check_fields(field.get("fields"))


def _new_columns(fields: tuple[Field, ...], items: Any, before: str) -> tuple[Field, ...]:
    pairs = zip(fields, items or (), strict=True)
    return tuple(_new_column(field, item, f"{before}{field.name}") for field, item in pairs)


def _new_column(field: Field, item: Mapping[str, Any], path: str) -> Field:
    inner = _new_columns(field.fields, item.get("fields"), f"{path}.") if field.fields else ()
    default = str(item.get("defaultValueExpression") or "").strip()
    if default and "." in path:
        raise InvalidRequestError(f"the nested field `{path[:100]}` has a default value")
    parameters = tuple(_parameters(field, item, path))
    field = msgspec.structs.replace(field, fields=inner)
    if not parameters and not default:
        return field
    return NewColumn(**msgspec.structs.asdict(field), parameters=parameters, default=default)


def _parameters(field: Field, item: Mapping[str, Any], path: str) -> Iterator[int]:
    """Give what stands in brackets behind the type. Raises `InvalidRequestError`."""
    given = {name: value for name in _PARAMETERS if (value := int64(item.get(name), name))}
    for name in _PARAMETERS_OF.get(field.type, ()):
        value = given.pop(name, None)
        if value is None:
            break
        yield value
    if given:
        raise InvalidRequestError(f"`{min(given)}` does not fit the column `{path[:100]}`")
