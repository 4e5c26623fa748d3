"""Tables and routines as the policy lets an agent know of them."""

from __future__ import annotations

import asyncio

from keystile.analysis.information_schema import is_of_project, view_of
from keystile.analysis.wildcard import check_members, no_match, stands_for
from keystile.gate.basis import Catalogue
from keystile.gate.decided import refusal_of
from keystile.gate.information import VisibleMetadata, refuse_unserved
from keystile.gate.read_results import Results
from keystile.model.errors import KeystileError, NotFoundError, ShutOutError
from keystile.model.principal import Principal
from keystile.model.schema import Routine, RoutineId, Table, TableId
from keystile.policy.context import Context
from keystile.policy.policy import Policy
from keystile.upstream.values import ListedTable

_TABLES_AT_ONCE = 8


class VisibleObjects:
    """BigQuery's tables and routines, as far as the policy lets the principal know of them."""

    def __init__(
        self,
        bigquery: Catalogue,
        policy: Policy,
        principal: Principal,
        context: Context,
        results: Results | None = None,
    ) -> None:
        """See for one principal under one policy; `results` are those of the principal's own."""
        self._results = results
        self._bigquery = bigquery
        self._policy = policy
        self._principal = principal
        self._context = context
        self._metadata = VisibleMetadata(bigquery, policy, principal, context)

    async def table(self, id: TableId) -> Table:  # noqa: A002 - the word of the shared port
        """Give a table; a forbidden one is `NotFoundError` in the words of an absent one."""
        if view_of(id):
            return await self._view(id)
        if self._results and (result := await self._results.table(id)):
            return result
        if not self._sees(id):
            raise self._unseen(id, not_found(id))
        try:
            return await self._bigquery.table(id)
        except NotFoundError as error:
            raise not_found(id) from error

    async def routine(self, id: RoutineId) -> Routine:  # noqa: A002 - the word of the shared port
        """Give a routine of a dataset that is visible; else it is absent in the same words."""
        if not self._sees_dataset(id):
            raise self._unseen(_home(id), no_routine(id))
        try:
            return await self._bigquery.routine(id)
        except NotFoundError as error:
            raise no_routine(id) from error

    async def tables_like(self, id: TableId) -> tuple[Table, ...]:  # noqa: A002 - as above
        """Give the tables of a wildcard, newest first.

        Where the principal may not know of one of them it is as if there were none: BigQuery would
        read them all.
        """
        if not self._sees_dataset(id):
            raise self._unseen(_home(id), no_match(id))
        found = [one for one in await self._every_table(id) if stands_for(id, one.id)]
        if unseen := next((one.id for one in found if not self._sees(one.id)), None):
            raise self._unseen(unseen, no_match(id))
        check_members(id, [one.kind for one in found])
        found.sort(key=lambda one: (-one.created, one.id))
        turns = asyncio.Semaphore(_TABLES_AT_ONCE)

        async def in_turn(one: ListedTable) -> Table:
            """Look one up, together with few others."""
            async with turns:
                return await self.table(one.id)

        return tuple(await asyncio.gather(*map(in_turn, found)))

    async def _view(self, id_: TableId) -> Table:
        refuse_unserved(id_)
        if not is_of_project(id_) and not self._sees_dataset(id_):
            raise self._unseen(_home(id_), not_found(id_))
        try:
            return await self._metadata.view(id_, self.table)
        except NotFoundError as error:
            raise not_found(id_) from error

    async def _every_table(self, like: TableId) -> tuple[ListedTable, ...]:
        """List a dataset; one that is absent holds nothing."""
        try:
            return await self._bigquery.every_table(like.project, like.dataset)
        except NotFoundError:
            return ()

    def _sees_dataset(self, table: TableId | RoutineId) -> bool:
        home = (table.project, table.dataset)
        return self._policy.may_see_dataset(self._principal, *home, self._context)

    def _sees(self, table: TableId) -> bool:
        return self._policy.may_see_table(self._principal, table, self._context)

    def _unseen(self, table: TableId, absent: NotFoundError) -> KeystileError:
        """Give what is said of what the principal may not see, whether it is there or not."""
        decision = self._policy.hidden_by(self._principal, table, self._context)
        if decision and not any(reason.untold for reason in decision.reasons):
            sentence, advice = refusal_of(decision)
            return ShutOutError(sentence, hint=advice).by(decision)
        return absent.by(decision)


def _home(id_: TableId | RoutineId) -> TableId:
    return TableId(id_.project, id_.dataset, "")


def is_plain(table: TableId) -> bool:
    """Tell whether a name is that of one table: `t$20240101`, `t@0` and `t*` are other things."""
    return not set(table.table) & set("$@*")


def not_found(table: TableId) -> NotFoundError:
    """Say what BigQuery says of a missing table, whether it is absent or forbidden."""
    return NotFoundError(
        f"Not found: Table {table.project}:{table.dataset}.{table.table} was not found",
        hint="check the name, or ask for access to it",
    )


def no_routine(id_: RoutineId) -> NotFoundError:
    """Say what BigQuery says of a missing routine, whether it is absent or forbidden."""
    return NotFoundError(
        f"Not found: Routine {id_.project}:{id_.dataset}.{id_.routine} was not found",
        hint="check the name, or ask for access to its dataset",
    )
