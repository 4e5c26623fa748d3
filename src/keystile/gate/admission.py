"""Whether a query comes in: it is decided on and planned, or refused.

INVARIANT: a refusal is on record before it is raised.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import msgspec

from keystile.gate import records
from keystile.gate.basis import Basis, context_of
from keystile.gate.budgets import check
from keystile.gate.decided import Decided, refuse_denied
from keystile.gate.job_store import JobStore
from keystile.gate.jobs import Job
from keystile.gate.ledger import Ledger
from keystile.gate.measuring import refuse_for_size
from keystile.gate.outages import OUTAGES
from keystile.gate.plan import Plan
from keystile.gate.planned import Planned
from keystile.gate.planning import Planner
from keystile.gate.recorder import Recorder
from keystile.gate.session_start import refuse_in_session, started
from keystile.gate.sessions import QuerySessions
from keystile.model.errors import KeystileError, LimitError, RefusedError
from keystile.model.principal import Principal
from keystile.telemetry.metrics import Metrics
from keystile.upstream.accounts import Accounts
from keystile.wire.requests import QueryRequest

_MOST_WAITING = 50


class Admission:
    """Plans what comes in, and refuses what may not."""

    def __init__(  # noqa: PLR0913, PLR0917 - the rooms that have a say
        self,
        planner: Planner,
        accounts: Accounts,
        recorder: Recorder,
        jobs: JobStore,
        sessions: QuerySessions,
        ledger: Ledger,
        metrics: Metrics,
        current: Callable[[Principal], Awaitable[Principal]],
    ) -> None:
        """Wire the rooms together. `current` says what an agent of earlier is by now, or raises."""
        self._planner = planner
        self._accounts = accounts
        self._recorder = recorder
        self._jobs = jobs
        self._sessions = sessions
        self._ledger = ledger
        self._metrics = metrics
        self.current = current

    async def planned(self, principal: Principal, request: QueryRequest) -> Planned:
        """Plan a query, in its session where it has one, which begins with the first."""
        decided: Decided | None = None
        context = context_of(request)
        try:
            session = await self._sessions.of(principal, request)
            decided = await self._planner.decide(
                principal, request, session, context, unmeasured=True
            )
            await self._recorder.rests_on(decided.rests_on)
            refuse_denied(decided.decision, decided.instead)
            if session:
                refuse_in_session(request, decided.decision)
                if not session.upstream:
                    bigquery = self._accounts.at(decided.account)
                    session = await started(bigquery, session, request.project, decided)
                decided = decided._replace(session=session)
            if decided.once_measured:
                first, decided = decided, await self._planner.measured(request, decided)
                refuse_for_size(first, decided)
                if session:
                    refuse_in_session(request, decided.decision)
            return await self._planner.plan(principal, request, decided)
        except OUTAGES:
            raise
        except KeystileError as error:
            await self.refuse(principal, request, error, decided or Basis(context))
            raise

    async def of_now(self, job: Job) -> Job:
        """Give a job that is to be planned again with its agent's claims of now.

        It may have waited for days. Raises `RefusedError` for an agent that is disabled, and
        `PolicyUnreadableError` where there is no policy to plan by: nothing is on record of that.
        """
        self._planner.require_policy()
        return msgspec.structs.replace(job, principal=await self.current(job.principal))

    async def refuse_over(
        self, planned: Planned, principal: Principal, request: QueryRequest, *, waits: bool = False
    ) -> None:
        """Raise `LimitError` for what would break a limit by now."""
        try:
            await check(self._ledger, planned.plan, planned.charge, waits=waits)
        except LimitError as error:
            await self.refuse(principal, request, error, planned.plan)
            raise

    async def refuse_flood(self, principal: Principal, request: QueryRequest, plan: Plan) -> None:
        """Refuse to ask people once more for an agent that has asked them very often already."""
        if await self._jobs.count_pending(principal.key) < _MOST_WAITING:
            return
        error = RefusedError(
            f"{_MOST_WAITING} of your queries wait for approval already",
            hint="wait until people have decided, or cancel some",
        )
        await self.refuse(principal, request, error, plan)
        raise error

    async def refuse(
        self,
        principal: Principal,
        request: QueryRequest,
        error: KeystileError,
        found: Plan | Decided | Basis,
    ) -> None:
        """Put on record that a query never runs, and why. The caller raises the error."""
        if isinstance(error, LimitError):
            self._metrics.limit_refusals.labels(error.reason).inc()
        refused = records.refused(principal, request, error, found, time.time())
        await self._recorder.record(refused)
