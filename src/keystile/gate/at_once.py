"""What BigQuery does at once, without a job, for a request that is a statement all the same.

It gets the same analysis, decision and checks as the statement. As nothing of it can wait, one that
people must approve is refused.

INVARIANT: it is on record before the first byte of it is sent, and what became of it before the
client hears of it.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import msgspec

from keystile.gate import records
from keystile.gate.basis import context_of
from keystile.gate.decided import Decided, refuse_denied
from keystile.gate.planning import Planner
from keystile.gate.recorder import Recorder
from keystile.gate.records import Direct
from keystile.model.decision import Effect
from keystile.model.errors import KeystileError, OverloadedError, RefusedError
from keystile.model.schema import TableId
from keystile.upstream.accounts import Accounts
from keystile.upstream.bigquery import BigQuery
from keystile.wire.requests import QueryRequest
from keystile.wire.responses import JobError
from keystile.wire.streaming import BadRow


class Same(NamedTuple):
    """The statement that a request is: its text and kind, and the one table that it changes.

    `what` says in errors what is done, and `instead` what to write where it would have to wait.
    """

    sql: str
    kind: str
    table: TableId
    what: str
    instead: str


class AtOnce:
    """Does such a request."""

    def __init__(self, planner: Planner, recorder: Recorder, accounts: Accounts) -> None:
        """Decide with `planner`, and send under the account of what was decided."""
        self._accounts = accounts
        self._planner = planner
        self._recorder = recorder

    async def done(
        self, direct: Direct, same: Same, send: Callable[[BigQuery], Awaitable[tuple[BadRow, ...]]]
    ) -> tuple[BadRow, ...]:
        """Decide on the statement, then `send` the request; gives what that gives.

        Raises `RefusedError` where the statement would be refused or would wait, and what BigQuery
        refuses the request with.
        """
        decided: Decided | None = None
        try:
            request = QueryRequest(same.sql, same.table.project)
            # INVARIANT: it reads nothing, which `_check` makes sure of.
            context = msgspec.structs.replace(context_of(request), bytes=0)
            decided = await self._planner.decide(direct.principal, request, context=context)
            await self._recorder.rests_on(decided.rests_on)
            await self._check(decided, same)
        except KeystileError as error:
            await self.refuse(direct, error, decided)
            raise
        started = time.time()
        await self._recorder.record(records.direct_intent(direct, decided, started))
        bigquery = self._accounts.at(decided.account)
        return await self._sent(direct, lambda: send(bigquery), started)

    async def refuse(
        self, direct: Direct, error: KeystileError, decided: Decided | None = None
    ) -> None:
        """Put on record that a request is refused; an overload says nothing of the request."""
        if not isinstance(error, OverloadedError):
            refused = records.direct_refused(direct, error, decided, time.time())
            await self._recorder.record(refused)

    async def _check(self, decided: Decided, same: Same) -> None:
        """Raise `RefusedError` where the statement would not run at once, or is not what it is."""
        decision = decided.decision
        refuse_denied(decision)
        if decision.effect is Effect.REQUIRE_APPROVAL:
            rules = ", ".join(f"`{demand.rule}`" for demand in decision.approvals)
            raise RefusedError(
                f"{same.what} needs approval (rule {rules}), for which this method cannot wait",
                hint=same.instead,
            )
        await self._planner.rewrite(decided)
        facts = decided.analysed.facts
        # INVARIANT: what was decided on changes this table, reads nothing, and does nothing else.
        if (facts.statement, facts.reads, facts.writes) != (same.kind, (), (same.table,)):
            raise RefusedError(f"{same.what} is not understood", hint=same.instead)

    async def _sent(
        self,
        direct: Direct,
        send: Callable[[], Awaitable[tuple[BadRow, ...]]],
        started: float,
    ) -> tuple[BadRow, ...]:
        try:
            bad = await send()
        except BaseException as error:
            # Also where the gateway is told to stop meanwhile: what was begun has an end on record.
            failed = records.direct_failed(direct, _said(error), started, time.time())
            await self._recorder.record(failed)
            raise
        await self._recorder.record(records.direct_done(direct, bad, started, time.time()))
        return bad


def _said(error: BaseException) -> JobError:
    if isinstance(error, KeystileError):
        return JobError.of(error)
    return JobError.of(RefusedError("the gateway did not get to BigQuery's answer"))
