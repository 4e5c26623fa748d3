"""What an agent may know of from INFORMATION_SCHEMA: the names that its rows may be about."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from keystile.analysis.information_schema import About, view_of, view_table
from keystile.gate.basis import Catalogue
from keystile.model.errors import RefusedError
from keystile.model.principal import Principal
from keystile.model.schema import Table, TableId
from keystile.policy.context import Context
from keystile.policy.policy import Policy
from keystile.upstream.values import ListedTable

_MOST_PARTITIONED = 500


def refuse_unserved(id_: TableId) -> None:
    """Raise `RefusedError` for a view that is not served, whether its dataset is there or not."""
    view = view_of(id_)
    if view and view.about is About.ROUTINES:
        raise RefusedError(
            f"`{id_}` is not served yet", hint="ask the gateway's operator what routines there are"
        )


class VisibleMetadata:
    """The views of INFORMATION_SCHEMA for one principal under one policy."""

    def __init__(
        self, bigquery: Catalogue, policy: Policy, principal: Principal, context: Context
    ) -> None:
        """See as `VisibleObjects` does."""
        self._bigquery = bigquery
        self._policy = policy
        self._principal = principal
        self._context = context

    async def view(self, id_: TableId, table: Callable[[TableId], Awaitable[Table]]) -> Table:
        """Give a view; `table` looks a table up.

        Raises `NotFoundError` where the dataset is hidden or absent: the two look alike.
        """
        view = view_of(id_)
        assert view is not None, id_  # noqa: S101 - the caller has asked before
        if view.about is About.DATASETS:
            return view_table(id_, await self._datasets(id_.project))
        tables = [
            one
            for one in await self._bigquery.every_table(id_.project, id_.dataset)
            if self._sees(one)
        ]
        if view.about is About.PARTITIONS:
            # Partitions tell how many rows there are.
            whole = [one for one in tables if not self._is_filtered(one)]
            tables = await self._with_open_partitions(whole, table)
        return view_table(id_, tuple(sorted(one.id.table for one in tables)))

    async def _datasets(self, project: str) -> tuple[str, ...]:
        every = await self._bigquery.every_dataset(project)
        return tuple(
            sorted(
                name
                for name in every
                if self._policy.may_see_dataset(self._principal, project, name, self._context)
            )
        )

    async def _with_open_partitions(
        self, tables: list[ListedTable], table: Callable[[TableId], Awaitable[Table]]
    ) -> list[ListedTable]:
        """Leave out what is partitioned by a labelled column: values name its partitions."""
        if sum(bool(one.partitioned_by) for one in tables) > _MOST_PARTITIONED:
            raise RefusedError(
                "too many tables of this dataset are partitioned by a column",
                hint="ask each table for its newest value instead",
            )
        return [one for one in tables if not one.partitioned_by or await self._is_open(one, table)]

    async def _is_open(
        self, one: ListedTable, table: Callable[[TableId], Awaitable[Table]]
    ) -> bool:
        labelled = self._policy.labels(await table(one.id))
        return all(path[0].lower() != one.partitioned_by.lower() for path in labelled)

    def _is_filtered(self, one: ListedTable) -> bool:
        return self._policy.row_filters.are_on(self._principal, one.id)

    def _sees(self, one: ListedTable) -> bool:
        return self._policy.may_see_table(self._principal, one.id, self._context)
