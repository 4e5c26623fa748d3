"""Copy jobs: the rows of one or more tables become those of another."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import msgspec

from keystile.model.errors import DuplicateError, InvalidRequestError
from keystile.model.schema import SqlType, TableId, TableKind
from keystile.sandbox.changes import rows_of
from keystile.sandbox.data import Stored
from keystile.sandbox.queries import Catalog
from keystile.sandbox.targets import other_kind
from keystile.sandbox.transfer.requests import Copy, moment, named_table
from keystile.sandbox.transfer.schemas import merged
from keystile.sandbox.transfer.writing import destination, fresh, write
from keystile.wire.responses import Resource, table_reference

_DEFINITIONS = {
    "SNAPSHOT": ("snapshotDefinition", "snapshotTime"),
    "CLONE": ("cloneDefinition", "cloneTime"),
}
_CARRIED = ("timePartitioning", "rangePartitioning", "clustering", "labels", "friendlyName")


async def copy(catalog: Catalog, project: str, asked: Copy) -> Resource:
    """Run a copy job and give its statistics.

    Raises `NotFoundError`, `DuplicateError`, `InvalidRequestError` for schemas that differ.
    """
    named = asked.source_tables or (asked.source_table,)
    wanted = TableKind.SNAPSHOT if asked.operation_type == "RESTORE" else TableKind.TABLE
    ids = [named_table(each, project, "sourceTable") for each in named]
    sources = [_source(catalog, id_, wanted) for id_ in ids]
    if len(sources) > 1 and asked.operation_type in _DEFINITIONS:
        raise InvalidRequestError("a snapshot or a clone is of one table")
    id_ = named_table(asked.destination_table, project, "destinationTable")
    if asked.operation_type == "SNAPSHOT" and catalog.store.has_table(id_):
        raise DuplicateError(f"Already Exists: Table {id_.project}:{id_.dataset}.{id_.table}")
    to = destination(catalog, id_, asked.create_disposition, asked.write_disposition)
    first = sources[0]
    if any(_shape(source) != _shape(first) for source in sources):
        raise InvalidRequestError("the tables to be copied do not have the same columns")
    table = _like(first, id_, asked)
    if to.present and to.keeps_schema:
        fields = merged(to.present.fields, first.fields, (), id_)
        table = msgspec.structs.replace(to.present, fields=fields)
    columns = first.fields
    if all(source.hidden == table.hidden for source in sources):
        columns += table.hidden  # a row stays in its partition
    rows = []
    for source in sources:
        rows += [row[: len(columns)] for row in rows_of(await catalog.content(source))]
    await write(catalog, to, table, columns, rows)
    size = sum(sum(source.sizes.values()) for source in sources)
    return {"copy": {"copiedRows": str(len(rows)), "copiedLogicalBytes": str(size)}}


def _shape(stored: Stored) -> list[tuple[str, SqlType]]:
    return [(field.name.lower(), field.sql_type) for field in stored.fields]


def _source(catalog: Catalog, given: TableId, wanted: TableKind) -> Stored:
    """Give a table that is copied, as it was at the moment of its `@` decorator."""
    id_, at = moment(given)
    stored = catalog.store.table(id_)
    if stored.kind is not wanted:
        raise other_kind(id_, stored.kind)
    if at is None:
        return stored
    return catalog.store.table_at(id_, at / 1000 if at > 0 else time.time() + at / 1000)


def _like(source: Stored, id_: TableId, asked: Copy) -> Stored:
    """Make the new table that a copy, snapshot or clone is, without its rows."""
    details = {name: source.details[name] for name in _CARRIED if name in source.details}
    if until := asked.destination_expiration_time:
        details["expirationTime"] = str(int(until.timestamp() * 1000))
    if asked.operation_type in _DEFINITIONS:
        definition, moment_ = _DEFINITIONS[asked.operation_type]
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        details[definition] = {"baseTableReference": table_reference(source.id), moment_: now}
    made = fresh(id_, source.fields, details)
    return msgspec.structs.replace(
        made,
        kind=TableKind.SNAPSHOT if asked.operation_type == "SNAPSHOT" else TableKind.TABLE,
        description=source.description,
        defaults=source.defaults,
        attributes=source.attributes,
    )
