"""Wildcard tables: `d.events_*` is all tables of that prefix, with `_TABLE_SUFFIX`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from keystile.googlesql.messages import service
from keystile.model.errors import InvalidQueryError, NotFoundError
from keystile.model.schema import Field, TableId, TableKind
from keystile.sandbox.data import Stored
from keystile.sandbox.store import Store

if TYPE_CHECKING:
    from keystile.sandbox.queries import Catalog

_SUFFIX = Field("_TABLE_SUFFIX", "STRING")


def table(store: Store, id_: TableId) -> Stored:
    """Give the table that a wildcard means: the columns of its newest match.

    Raises `NotFoundError` where nothing matches, `InvalidQueryError` where a view does.
    """
    store.dataset((id_.project, id_.dataset))
    found = matches(store, id_)
    if not found:
        raise NotFoundError(
            f"Not found: {id_.project}:{id_.dataset}.{id_.table} does not match any table."
        )
    if any(stored.kind is not TableKind.TABLE for stored in found):
        raise InvalidQueryError(
            "Views cannot be queried through prefix. First view "
            + next(str(stored.id) for stored in found if stored.kind is not TableKind.TABLE)
            + "."
        )
    newest = max(found, key=lambda stored: (stored.created, stored.id))
    sizes: dict[str, int] = {}
    for stored in found:
        for column, size in stored.sizes.items():
            sizes[column] = sizes.get(column, 0) + size
    return msgspec.structs.replace(
        newest,
        id=id_,
        raw=b"",
        content=None,
        row_count=sum(stored.row_count for stored in found),
        sizes=sizes,
        hidden=(*newest.hidden, _SUFFIX),
    )


def matches(store: Store, id_: TableId) -> list[Stored]:
    """List the tables and views whose names begin as the wildcard does."""
    prefix = id_.table[:-1]
    return [
        stored
        for stored in store.tables_in((id_.project, id_.dataset))
        if stored.id.table.startswith(prefix)
    ]


async def content(catalog: Catalog, wildcard: Stored) -> bytes:
    """Put the rows of all matches together; a column that one lacks is NULL there.

    Raises `InvalidQueryError` where a column's type is not that of the newest match.
    """
    union = service.TableContent()
    union.table_data.SetInParent()
    prefix = len(wildcard.id.table) - 1
    for stored in matches(catalog.store, wildcard.id):
        columns = stored.fields + stored.hidden
        places = {field.name.lower(): at for at, field in enumerate(columns)}
        for field in wildcard.fields:
            at = places.get(field.name.lower())
            if at is not None and columns[at].sql_type != field.sql_type:
                raise InvalidQueryError(
                    f"Cannot read field '{field.name}' of type {columns[at].sql_type} as "
                    f"{field.sql_type}"
                )
        rows = service.TableContent.FromString(await catalog.content(stored)).table_data.row
        suffix = stored.id.table[prefix:]
        for row in rows:
            written = union.table_data.row.add()
            for field in wildcard.fields + wildcard.hidden[:-1]:
                at = places.get(field.name.lower())
                cell = written.cell.add()
                if at is not None:
                    cell.CopyFrom(row.cell[at])
            written.cell.add(string_value=suffix)
    encoded: bytes = union.SerializeToString()
    return encoded
