"""Copy jobs: the rows of one or more tables become those of another."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import msgspec

from keystile.model.errors import InvalidRequestError
from keystile.model.schema import SqlType, TableId, TableKind
from keystile.sandbox.changes import rows_of
from keystile.sandbox.data import Stored
from keystile.sandbox.errors import unsupported
from keystile.sandbox.queries import Catalog
from keystile.sandbox.targets import other_kind
from keystile.sandbox.transfer.requests import Copy, moment, named_table
from keystile.sandbox.transfer.schemas import merged
from keystile.sandbox.transfer.writing import destination, fresh, write
from keystile.wire.responses import Resource, table_reference

_CARRIED = ("timePartitioning", "rangePartitioning", "clustering", "labels", "friendlyName")


async def copy(catalog: Catalog, project: str, asked: Copy) -> Resource:
    """Run a copy job and give its statistics.

    Raises `NotFoundError`, `DuplicateError`, `InvalidRequestError` for schemas that differ.
    """
    if asked.operation_type not in ("COPY", "CLONE", "OPERATION_TYPE_UNSPECIFIED"):
        raise unsupported(f"the operation type `{asked.operation_type[:40]}` of a copy job")
    named = asked.source_tables or (asked.source_table,)
    sources = [_source(catalog, named_table(each, project, "sourceTable")) for each in named]
    id_ = named_table(asked.destination_table, project, "destinationTable")
    to = destination(catalog, id_, asked.create_disposition, asked.write_disposition)
    first = sources[0]
    if any(_shape(source) != _shape(first) for source in sources):
        raise InvalidRequestError("the tables to be copied do not have the same columns")
    if to.present and to.keeps_schema:
        table = msgspec.structs.replace(
            to.present, fields=merged(to.present.fields, first.fields, (), id_)
        )
    else:
        table = _like(first, id_, clone=asked.operation_type == "CLONE")
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


def _source(catalog: Catalog, given: TableId) -> Stored:
    """Give a table that is copied, as it was at the moment of its `@` decorator."""
    id_, at = moment(given)
    stored = catalog.store.table(id_)
    if stored.kind is not TableKind.TABLE:
        raise other_kind(id_, stored.kind)
    if at is None:
        return stored
    return catalog.store.table_at(id_, at / 1000 if at > 0 else time.time() + at / 1000)


def _like(source: Stored, id_: TableId, *, clone: bool) -> Stored:
    details = {name: source.details[name] for name in _CARRIED if name in source.details}
    if clone:
        moment_ = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        base = table_reference(source.id)
        details["cloneDefinition"] = {"baseTableReference": base, "cloneTime": moment_}
    return msgspec.structs.replace(
        fresh(id_, source.fields, details),
        description=source.description,
        defaults=source.defaults,
    )
