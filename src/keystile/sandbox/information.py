"""INFORMATION_SCHEMA: what a dataset or a region holds, as tables.

Columns are those of BigQuery's reference, but for some that the sandbox has nothing to say about.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from keystile.model.errors import InvalidQueryError, NotFoundError
from keystile.model.schema import Field, Mode, TableId, TableKind
from keystile.sandbox import ddl, routine_rows
from keystile.sandbox.data import Stored, raw_rows
from keystile.sandbox.partitions import partition_ids, time_text
from keystile.sandbox.store import LOCATION, DatasetId

if TYPE_CHECKING:
    from keystile.sandbox.queries import Catalog

Row = dict[str, object]
_TYPES = {
    TableKind.TABLE: "BASE TABLE",
    TableKind.SNAPSHOT: "SNAPSHOT",
    TableKind.VIEW: "VIEW",
    TableKind.MATERIALIZED_VIEW: "MATERIALIZED VIEW",
}


class _View(msgspec.Struct, frozen=True):
    """A view: the names of its columns by type, and what makes its rows."""

    columns: str
    rows: Callable[[Catalog, Sequence[DatasetId]], Awaitable[list[Row]]]

    @property
    def fields(self) -> tuple[Field, ...]:
        made = []
        for column in self.columns.split():
            name, _, kind = column.partition(":")
            repeated = kind.endswith("*")
            mode = Mode.REPEATED if repeated else Mode.NULLABLE
            made.append(Field(name, kind.rstrip("*") or "STRING", mode))
        return tuple(made)


async def table(catalog: Catalog, id_: TableId) -> Stored:
    """Give a view of INFORMATION_SCHEMA.

    Raises `NotFoundError` for a dataset or a view that is not there, `InvalidQueryError` where the
    dataset is missing from the path.
    """
    name = id_.table.partition(".")[2]
    if name not in _VIEWS:
        raise NotFoundError(
            f"Not found: Table {id_.project}:{id_.dataset}.{id_.table} was not found in location "
            f"{LOCATION}"
        )
    view = _VIEWS[name]
    rows = await view.rows(catalog, _datasets(catalog, id_, name))
    return Stored(
        id=id_,
        kind=TableKind.TABLE,
        etag=str(catalog.store.changes),
        modified=0,
        fields=view.fields,
        raw=raw_rows(rows, view.fields, str(id_)),
        row_count=len(rows),
    )


def _datasets(catalog: Catalog, id_: TableId, name: str) -> list[DatasetId]:
    region = id_.dataset.startswith("region-")
    if not region and id_.dataset:
        catalog.store.dataset((id_.project, id_.dataset))
        return [(id_.project, id_.dataset)]
    if not region and name != "SCHEMATA":
        raise InvalidQueryError(
            f'Table "INFORMATION_SCHEMA.{name}" must be qualified with a dataset '
            "(e.g. dataset.table)."
        )
    where = id_.dataset.removeprefix("region-") or LOCATION
    found = (each for each in catalog.store.datasets if each[0] == id_.project)
    return [id_ for id_ in found if catalog.store.dataset(id_).location.lower() == where.lower()]


def _yes(truth: object) -> str:
    return "YES" if truth else "NO"


def _names(id_: TableId) -> Row:
    return {
        "table_catalog": id_.project,
        "table_schema": id_.dataset,
        "table_name": id_.table,
    }


async def _all(catalog: Catalog, datasets: Sequence[DatasetId]) -> list[Stored]:
    listed = [stored for id_ in datasets for stored in catalog.store.tables_in(id_)]
    return [await catalog.look_up(stored.id) for stored in listed]


async def _schemata(catalog: Catalog, datasets: Sequence[DatasetId]) -> list[Row]:
    found = (catalog.store.dataset(id_) for id_ in datasets)
    return [
        {
            "catalog_name": dataset.id[0],
            "schema_name": dataset.id[1],
            "creation_time": time_text(dataset.created),
            "last_modified_time": time_text(dataset.created),
            "location": dataset.location,
            "ddl": f"CREATE SCHEMA `{dataset.id[0]}.{dataset.id[1]}`;",
            "default_collation_name": "NULL",
        }
        for dataset in found
    ]


async def _tables(catalog: Catalog, datasets: Sequence[DatasetId]) -> list[Row]:
    return [
        _names(stored.id)
        | {
            "table_type": _TYPES[stored.kind],
            "is_insertable_into": _yes(stored.kind is TableKind.TABLE),
            "is_typed": "NO",
            "creation_time": time_text(stored.created or stored.modified),
            "ddl": ddl.of_table(stored),
            "default_collation_name": "NULL",
        }
        for stored in await _all(catalog, datasets)
    ]


async def _columns(catalog: Catalog, datasets: Sequence[DatasetId]) -> list[Row]:
    found: list[Row] = []
    for stored in await _all(catalog, datasets):
        partitioned = ddl.partition_column(stored)
        clustered = [name.lower() for name in ddl.clustering(stored)]
        for at, field in enumerate(stored.fields + stored.hidden, start=1):
            hidden = at > len(stored.fields)
            is_partition = field.name == (
                partitioned or "_PARTITIONTIME" if hidden else partitioned
            )
            row = _names(stored.id) | {
                "column_name": field.name,
                "ordinal_position": None if hidden else at,
                "is_nullable": _yes(field.mode is not Mode.REQUIRED),
                "data_type": str(field.sql_type),
                "is_generated": "NEVER",
                "is_hidden": _yes(hidden),
                "is_system_defined": _yes(hidden),
                "is_partitioning_column": _yes(is_partition),
                "collation_name": "NULL",
                "column_default": stored.defaults.get(field.name, "NULL"),
                "policy_tags": list(field.policy_tags),
            }
            if field.name.lower() in clustered:
                row["clustering_ordinal_position"] = clustered.index(field.name.lower()) + 1
            found.append(row)
    return found


async def _field_paths(catalog: Catalog, datasets: Sequence[DatasetId]) -> list[Row]:
    return [
        _names(stored.id)
        | {
            "column_name": path[0],
            "field_path": ".".join(path),
            "data_type": str(field.sql_type),
            "description": field.description or None,
            "collation_name": "NULL",
            "policy_tags": list(field.policy_tags),
        }
        for stored in await _all(catalog, datasets)
        for path, field in _paths(stored.fields, ())
    ]


def _paths(
    fields: Sequence[Field], above: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Field]]:
    for field in fields:
        path = (*above, field.name)
        yield path, field
        yield from _paths(field.fields, path)


async def _views(catalog: Catalog, datasets: Sequence[DatasetId]) -> list[Row]:
    return [
        _names(stored.id) | {"view_definition": stored.view_query, "use_standard_sql": "YES"}
        for stored in await _all(catalog, datasets)
        if stored.kind is TableKind.VIEW
    ]


async def _table_options(catalog: Catalog, datasets: Sequence[DatasetId]) -> list[Row]:
    return [
        _names(stored.id) | {"option_name": name, "option_type": kind, "option_value": value}
        for stored in await _all(catalog, datasets)
        for name, kind, value in ddl.options(stored)
    ]


async def _partitions(catalog: Catalog, datasets: Sequence[DatasetId]) -> list[Row]:
    found: list[Row] = []
    for stored in await _all(catalog, datasets):
        if stored.view_query:
            continue
        for partition, (count, size) in partition_ids(stored, await catalog.content(stored)):
            counted = {"total_rows": count, "total_logical_bytes": size}
            modified = {"last_modified_time": time_text(stored.modified), "storage_tier": "ACTIVE"}
            found.append(_names(stored.id) | {"partition_id": partition} | counted | modified)
    return found


_TABLE_NAMES = "table_catalog table_schema table_name"
_SPECIFIC = "specific_catalog specific_schema specific_name"
_VIEWS = {
    "SCHEMATA": _View(
        "catalog_name schema_name schema_owner creation_time:TIMESTAMP "
        "last_modified_time:TIMESTAMP location ddl default_collation_name",
        _schemata,
    ),
    "TABLES": _View(
        f"{_TABLE_NAMES} table_type is_insertable_into is_typed creation_time:TIMESTAMP "
        "base_table_catalog base_table_schema base_table_name snapshot_time_ms:TIMESTAMP ddl "
        "default_collation_name",
        _tables,
    ),
    "COLUMNS": _View(
        f"{_TABLE_NAMES} column_name ordinal_position:INT64 is_nullable data_type is_generated "
        "generation_expression is_stored is_hidden is_updatable is_system_defined "
        "is_partitioning_column clustering_ordinal_position:INT64 collation_name column_default "
        "rounding_mode policy_tags:STRING*",
        _columns,
    ),
    "COLUMN_FIELD_PATHS": _View(
        f"{_TABLE_NAMES} column_name field_path data_type description collation_name "
        "rounding_mode policy_tags:STRING*",
        _field_paths,
    ),
    "VIEWS": _View(f"{_TABLE_NAMES} view_definition check_option use_standard_sql", _views),
    "TABLE_OPTIONS": _View(f"{_TABLE_NAMES} option_name option_type option_value", _table_options),
    "PARTITIONS": _View(
        f"{_TABLE_NAMES} partition_id total_rows:INT64 total_logical_bytes:INT64 "
        "last_modified_time:TIMESTAMP storage_tier",
        _partitions,
    ),
    "ROUTINES": _View(
        f"{_SPECIFIC} routine_catalog routine_schema routine_name routine_type data_type "
        "routine_body routine_definition external_language is_deterministic security_type "
        "created:TIMESTAMP last_altered:TIMESTAMP ddl",
        routine_rows.routines,
    ),
    "PARAMETERS": _View(
        f"{_SPECIFIC} ordinal_position:INT64 parameter_mode is_result parameter_name data_type "
        "parameter_default is_aggregate",
        routine_rows.parameters,
    ),
}
