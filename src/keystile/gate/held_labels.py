"""What BigQuery itself says of columns, and a statement would take away.

Policy tags and descriptions label columns. Who changes one of these at BigQuery decides what others
see; so no agent does, whatever rights it has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

from keystile.analysis.temporary import is_temporary
from keystile.gate.basis import Catalogue
from keystile.model.errors import NotFoundError, RefusedError
from keystile.model.facts import QueryFacts, Redefined
from keystile.model.schema import ColumnRef, Table, TableId
from keystile.policy.policy import Policy

_MOST_TABLES = 200
_TABLES_AT_ONCE = 8


class Lost(NamedTuple):
    """A column that would lose what labels it, and why that is so."""

    column: ColumnRef
    why: str


async def lost_by(facts: QueryFacts, bigquery: Catalogue, policy: Policy) -> Lost | None:
    """Give a column that loses policy tags, or a description that labels it, by a statement.

    Raises `RefusedError` where a dataset with very many tables would be dropped.
    """
    by_table: dict[TableId, list[Redefined]] = {}
    for one in facts.redefined:
        if not is_temporary(one.column.table):
            by_table.setdefault(one.column.table, []).append(one)
    for table in await _tables(by_table, bigquery):
        # One that is not named goes with its dataset.
        redefined = by_table.get(table.id) or (Redefined(ColumnRef(table.id, ())),)
        if found := policy.lost(table, redefined):
            return Lost(ColumnRef(table.id, found[0]), found[1])
    return None


def refuse_lost(lost: Lost | None) -> None:
    """Raise `RefusedError` where a column would lose what labels it."""
    if lost is not None:
        raise RefusedError(
            f"`{lost.column}` {lost.why}, which would be lost",
            hint="ask whoever owns the table to do it in BigQuery; a job that replaces rows keeps"
            " columns as they are with `WRITE_TRUNCATE_DATA`",
        )


async def _tables(named: Mapping[TableId, object], bigquery: Catalogue) -> list[Table]:
    ids = [id_ for id_ in named if id_.table]
    for dataset in named.keys() - set(ids):
        try:
            every = await bigquery.every_table(dataset.project, dataset.dataset)
        except NotFoundError:
            continue
        if len(every) > _MOST_TABLES:
            raise RefusedError(
                f"`{dataset}` holds more than {_MOST_TABLES} tables, which are not dropped at once",
                hint="drop tables first, by their names",
            )
        ids += [one.id for one in every]
    turns = asyncio.Semaphore(_TABLES_AT_ONCE)

    async def found(id_: TableId) -> Table | None:
        """Look one up; what is not there loses nothing."""
        async with turns:
            try:
                return await bigquery.table(id_)
            except NotFoundError:
                return None

    return [table for table in await asyncio.gather(*map(found, ids)) if table]
