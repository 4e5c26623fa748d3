"""The table that a load, copy or query job writes to, as far as the agent may know of it."""

from __future__ import annotations

from keystile.gate.visible import VisibleObjects, is_plain, not_found
from keystile.model.decision import Decision
from keystile.model.errors import InvalidRequestError, NotFoundError, RefusedError
from keystile.model.facts import Redefined
from keystile.model.schema import ColumnRef, Table, TableId, TableKind

CREATE_NEVER = {"createDisposition": "CREATE_NEVER"}
"""Told to BigQuery where policy was not asked about a change of schemas.

INVARIANT: then the job makes no table: the one that was there may be gone by then.
"""


async def target(id_: TableId, objects: VisibleObjects) -> Table | None:
    """Give the table that is written to; None where the agent knows of none.

    Raises `NotFoundError` for a name that no job may write to, `InvalidRequestError` for what is no
    table.
    """
    if not is_plain(id_) or id_.dataset.startswith("_") or id_.dataset == "INFORMATION_SCHEMA":
        raise not_found(id_)
    try:
        table = await objects.table(id_)
    except NotFoundError:
        return None
    if table.kind is not TableKind.TABLE:
        raise InvalidRequestError(
            f"`{id_}` is of type {table.kind}, which no job can write to", hint="name a table"
        )
    return table


def redefined(table: TableId, *, replaced: bool) -> tuple[Redefined, ...]:
    """Say what a job does to columns that it writes to; `replaced` tells that they go with rows.

    Without their policy tags what others write there later would be protected no more.
    """
    return (Redefined(ColumnRef(table, ())),) if replaced else ()


def refuse_to_replace(id_: TableId, decision: Decision) -> None:
    """Raise `RefusedError` where rows would be replaced that are not for the agent to see."""
    if any(one.table == id_ for one in decision.row_filters):
        raise RefusedError(
            f"some rows of `{id_}` are not for you, and the job would replace them",
            hint="append to it, or write to another table",
        )
