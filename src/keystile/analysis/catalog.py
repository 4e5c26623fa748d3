"""Where tables and routines come from."""

from __future__ import annotations

from typing import Protocol

from keystile.model.schema import Routine, RoutineId, Table, TableId


class ObjectSource(Protocol):
    """Gives tables and routines as BigQuery has them now (`tables.get`, `routines.get`).

    Each method raises `NotFoundError` where there is none, or none that this caller may know of,
    and `RefusedError` where that cannot be found out.
    """

    async def table(self, id: TableId) -> Table:  # noqa: A002 - the field's own word
        """Give the table."""
        ...

    async def routine(self, id: RoutineId) -> Routine:  # noqa: A002 - the field's own word
        """Give the routine."""
        ...

    async def tables_like(self, id: TableId) -> tuple[Table, ...]:  # noqa: A002 - as above
        """Give every table that a wildcard name such as `d.events_*` stands for, newest first."""
        ...
