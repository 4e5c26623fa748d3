"""Wildcard tables: several tables of a dataset under one name that ends in `*`.

To the engine a wildcard is one table with the columns of its newest member, as it is to BigQuery.
Policy decides on each member, and a column has all the labels that it has in any of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from keystile.analysis.catalog import ObjectSource
from keystile.model.errors import NotFoundError, RefusedError
from keystile.model.schema import Field, Table, TableId, TableKind

MOST_MEMBERS = 500
"""How many tables a wildcard may stand for."""

_SUFFIX = Field("_TABLE_SUFFIX", "STRING")


def is_wildcard(id_: TableId) -> bool:
    """Tell whether a name stands for several tables."""
    return id_.table.endswith("*")


def stands_for(wildcard: TableId, table: TableId) -> bool:
    """Tell whether a wildcard stands for the table. Case matters, as in every table name."""
    home = (wildcard.project, wildcard.dataset) == (table.project, table.dataset)
    return home and table.table.startswith(wildcard.table.removesuffix("*"))


def wildcard_table(id_: TableId, members: Iterable[Table]) -> Table:
    """Give the table that the engine knows a wildcard as; `members` are its tables, newest first.

    Raises as `check_members` does.
    """
    found = tuple(members)
    check_members(id_, [member.kind for member in found])
    newest = found[0]
    return Table(
        id_,
        TableKind.WILDCARD,
        newest.fields,
        newest.etag,
        pseudo_columns=(_SUFFIX, *newest.pseudo_columns),
        members=found,
    )


def check_members(id_: TableId, kinds: Collection[TableKind]) -> None:
    """Check what a wildcard stands for, by the kinds of all that it matches.

    Raises `NotFoundError` where that is nothing, and `RefusedError` where it is too much or
    BigQuery has no wildcard over it.
    """
    if not kinds:
        raise no_match(id_)
    if any(kind is not TableKind.TABLE for kind in kinds):
        raise RefusedError(
            f"the wildcard table `{id_}` matches something that is no plain table",
            hint="narrow its prefix, or name each table",
        )
    if len(kinds) > MOST_MEMBERS:
        raise RefusedError(
            f"the wildcard table `{id_}` matches {len(kinds)} tables, more than {MOST_MEMBERS}",
            hint="narrow its prefix",
        )


async def look_up(source: ObjectSource, id_: TableId) -> Table:
    """Give the table, or the wildcard, of a name."""
    if is_wildcard(id_):
        return wildcard_table(id_, await source.tables_like(id_))
    return await source.table(id_)


def no_match(id_: TableId) -> NotFoundError:
    """Say that a wildcard stands for nothing, or for what the reader may not know of."""
    return NotFoundError(
        f"{id_.project}:{id_.dataset}.{id_.table} does not match any table",
        hint="check the name, or narrow its prefix to tables that you may read",
    )


def with_members(ids: Iterable[TableId], tables: Mapping[TableId, Table]) -> tuple[TableId, ...]:
    """Give what reading these names reads, sorted: of a wildcard its members."""
    found: set[TableId] = set()
    for id_ in ids:
        found |= {table.id for table in tables[id_].read} if id_ in tables else {id_}
    return tuple(sorted(found))
