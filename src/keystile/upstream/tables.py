"""What BigQuery's `tables.get` and `tables.list` say, as the model's tables."""

from __future__ import annotations

from typing import Any

from keystile.model.errors import KeystileError, RefusedError
from keystile.model.schema import Field, Table, TableId, TableKind
from keystile.upstream.answers import ListedTableAnswer, TableAnswer
from keystile.upstream.values import ListedTable
from keystile.wire.schema import fields_from_json

_KINDS = {
    kind.value: kind
    for kind in (
        TableKind.TABLE,
        TableKind.VIEW,
        TableKind.MATERIALIZED_VIEW,
        TableKind.SNAPSHOT,
        TableKind.EXTERNAL,
    )
}

# "Query partitioned tables" and "External tables" in BigQuery's documentation.
_OF_INGESTION_TIME = (Field("_PARTITIONTIME", "TIMESTAMP"), Field("_PARTITIONDATE", "DATE"))
_OF_EXTERNAL = (Field("_FILE_NAME", "STRING"),)


def table_of(asked: TableId, answer: TableAnswer) -> Table:
    """Give the table that `tables.get` describes. Raises `RefusedError` where that is unclear."""
    if answer.table_reference.id() != asked:
        # INVARIANT: policy is decided on the name that BigQuery itself uses. A dataset that ignores
        # case, or a project given by number, would slip past rules on names.
        raise RefusedError(
            f"BigQuery knows `{asked}` under another name",
            hint=f"write `{answer.table_reference.id()}`",
        )
    kind = _KINDS.get(answer.type, TableKind.OTHER)
    view = answer.materialized_view if kind is TableKind.MATERIALIZED_VIEW else answer.view
    if view.use_legacy_sql:
        kind = TableKind.OTHER
    by_time = answer.time_partitioning
    return Table(
        asked,
        kind,
        fields_of(answer.schema),
        answer.etag,
        view.query,
        _pseudo_columns(kind, answer),
        partitioned_by=by_time.field if by_time else answer.range_partitioning.field,
    )


def listed(answer: ListedTableAnswer) -> ListedTable:
    """Give an entry of `tables.list`."""
    kind = _KINDS.get(answer.type, TableKind.OTHER)
    column = answer.time_partitioning.field or answer.range_partitioning.field
    return ListedTable(answer.table_reference.id(), kind, answer.creation_time, column)


def fields_of(schema: dict[str, Any]) -> tuple[Field, ...]:
    """Read a `TableSchema`. Raises `RefusedError` where it is not understood."""
    try:
        return fields_from_json(schema)
    except KeystileError:
        raise RefusedError("BigQuery's answer has a schema that is not understood") from None


def _pseudo_columns(kind: TableKind, answer: TableAnswer) -> tuple[Field, ...]:
    partitioning = answer.time_partitioning
    by_ingestion_time = partitioning is not None and not partitioning.field
    names = {field.get("name") for field in answer.schema.get("fields", ())}
    found: tuple[Field, ...] = _OF_INGESTION_TIME if by_ingestion_time else ()
    if kind is TableKind.EXTERNAL:
        found += _OF_EXTERNAL
    return tuple(field for field in found if field.name not in names)
