"""Where table schemas come from."""

from __future__ import annotations

from typing import Protocol

from keystile.model.schema import Table, TableId


class TableSource(Protocol):
    """Gives tables as BigQuery has them now (`tables.get`)."""

    async def table(self, id: TableId) -> Table:  # noqa: A002 - the field's own word
        """Give the table.

        Raises `NotFoundError` where there is none, or none that this caller may know of, and
        `RefusedError` where that cannot be found out.
        """
        ...
