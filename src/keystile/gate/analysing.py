"""From a request to what it does: its text or its job, read against what its agent may know of."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple, TypeGuard

from keystile.analysis.analysed import Analysed
from keystile.analysis.analyst import Analyst
from keystile.analysis.statement import Statement
from keystile.gate import transfers
from keystile.gate.basis import Noted
from keystile.gate.into import analysed_into
from keystile.gate.jobs import Job
from keystile.gate.own_tables import OwnTables
from keystile.gate.read_results import Finished, Results, Understood, understood
from keystile.gate.sessions import QuerySession
from keystile.gate.shares import Shares
from keystile.gate.visible import VisibleObjects
from keystile.masking.moved import Place
from keystile.model.principal import Principal
from keystile.model.schema import TableId
from keystile.policy.context import Context
from keystile.policy.policy import Policy
from keystile.upstream.bigquery import BigQuery
from keystile.wire.requests import QueryRequest
from keystile.wire.transfers import Transfer


class Found(NamedTuple):
    """What a query does.

    `known` is that of `analysed`, and of the queries behind the results that it `read`. `own` are
    tables of the agent's own data. `noted` is all that was looked up for it.
    """

    analysed: Analysed
    known: Understood
    read: Mapping[TableId, Job]
    own: tuple[Place, ...]
    noted: Noted


class Analysing:
    """Finds out what requests do. Nothing is sent to BigQuery."""

    def __init__(
        self,
        analyst: Analyst,
        shares: Shares,
        finished: Finished | None = None,
        own_tables: OwnTables | None = None,
    ) -> None:
        """Give each agent its share of the engine.

        Without `finished` no query reads the result of another, without `own_tables` none a table
        of the agent's own data.
        """
        self._analyst = analyst
        self._shares = shares
        self._finished = finished
        self._own_tables = own_tables

    async def found(  # noqa: PLR0913, PLR0917 - who asks for what, and all that its meaning hangs on
        self,
        principal: Principal,
        request: QueryRequest,
        session: QuerySession | None,
        bigquery: BigQuery,
        policy: Policy,
        context: Context,
    ) -> Found:
        """Find out what a request does where `bigquery` runs it.

        Raises `InvalidQueryError` and `RefusedError` as the analyst does, and `NotFoundError` for
        what is absent or not for the agent to know of.
        """
        # Other jobs read and write tables as they are, and no table has the name of a result.
        plain = not (request.transfer or request.into or session or request.creates_session)
        finished = self._finished if plain else None
        own_tables = self._own_tables if plain else None
        beside = partial(own_tables.table, principal.key, bigquery) if own_tables else None
        results = Results(finished, principal.key, beside)
        noted = Noted(bigquery)
        objects = VisibleObjects(noted, policy, principal, context, results)
        async with self._shares.turn(principal.key):
            analysed = await self._analysed(principal, request, session, objects)
            read = results.read_by(analysed)
            own = results.own_read_by(analysed)
            known = await understood(analysed, read, objects, {one.named for one in own})
        return Found(analysed, known, read, own, noted)

    def is_own(self, transfer: Transfer | None, principal: Principal) -> TypeGuard[Transfer]:
        """Tell whether a transfer goes into a table of the agent's own data."""
        to = transfer.destination if transfer else None
        return bool(to and self._own_tables and self._own_tables.may_be(principal.key, to))

    async def _analysed(
        self,
        principal: Principal,
        request: QueryRequest,
        session: QuerySession | None,
        objects: VisibleObjects,
    ) -> Analysed:
        if self.is_own(request.transfer, principal):
            return transfers.analyse_own(request.transfer, request)
        if request.transfer:
            return await transfers.analyse(request.transfer, request, objects)
        analysed = await self._analyst.analyse(_statement(request, session), objects)
        if request.into:
            analysed = await analysed_into(analysed, request.into, objects)
        return analysed


def _statement(request: QueryRequest, session: QuerySession | None) -> Statement:
    dataset = request.default_dataset
    if dataset and request.default_project:
        dataset = f"{request.default_project}.{dataset}"
    return Statement(
        request.sql,
        request.project,
        dataset,
        request.parameters,
        in_session=session is not None,
        earlier=session.texts if session else (),
    )
