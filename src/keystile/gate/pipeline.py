"""The way of one query, from a verified principal to a durable record of its end.

```
accept    analyse -> decide -> rewrite and prove -> dry run (second witness)
          -> record the intent -> the job is durable -> ask people, or carry it
carry     BigQuery runs exactly the planned text under a job id fixed beforehand
          -> it writes the result into a table, where the client has named one
          -> record the outcome with the masked rows -> the job is done
```
INVARIANT: intent is on record before BigQuery runs anything, outcome before any row is released.
When either cannot be recorded, nothing runs and nothing is released.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from keystile.gate import records
from keystile.gate.admission import Admission
from keystile.gate.asking import Asking
from keystile.gate.budgets import Reservation, check
from keystile.gate.children import Children
from keystile.gate.endings import Endings
from keystile.gate.inherited_labels import InheritedLabels
from keystile.gate.job_store import JobStore
from keystile.gate.jobs import Job, JobState
from keystile.gate.ledger import PASSING, Ledger
from keystile.gate.outages import PASSING_ERRORS
from keystile.gate.outcomes import Outcomes
from keystile.gate.planned import Planned, new_job
from keystile.gate.planning import Planner
from keystile.gate.recorder import Recorder
from keystile.gate.running import run_to_end
from keystile.gate.sessions import QuerySessions, SessionBusyError
from keystile.gate.taking_over import TakingOver
from keystile.gate.vigil import Vigil
from keystile.model.decision import Effect
from keystile.model.errors import DuplicateError, LimitError
from keystile.model.principal import Principal
from keystile.telemetry.metrics import Metrics, Phase
from keystile.upstream.accounts import Accounts
from keystile.upstream.values import UpstreamQuery
from keystile.wire.requests import QueryRequest
from keystile.wire.responses import JobError


class Pipeline:
    """Takes a query in, and carries an accepted one to its end."""

    def __init__(  # noqa: PLR0913, PLR0917 - the rooms that a query passes through
        self,
        planner: Planner,
        accounts: Accounts,
        recorder: Recorder,
        jobs: JobStore,
        vigil: Vigil,
        outcomes: Outcomes,
        children: Children,
        metrics: Metrics,
        current: Callable[[Principal], Awaitable[Principal]],
        sessions: QuerySessions,
        inherited: InheritedLabels,
        ledger: Ledger,
    ) -> None:
        """Wire the rooms together. `current` says what an agent of earlier is by now, or raises."""
        self.admission = Admission(
            planner, accounts, recorder, jobs, sessions, ledger, metrics, current
        )
        self.endings = Endings(
            accounts,
            recorder,
            jobs,
            sessions,
            inherited,
            ledger,
            outcomes,
            children,
            metrics,
            current,
        )
        self._asking = Asking(vigil, recorder, jobs)
        self._taking_over = TakingOver(
            self.admission, self._asking, self.endings, accounts, recorder, jobs, ledger
        )
        self._accounts = accounts
        self._recorder = recorder
        self._jobs = jobs
        self._vigil = vigil
        self._metrics = metrics
        self._sessions = sessions
        self._inherited = inherited
        self._ledger = ledger

    async def accept(
        self, principal: Principal, request: QueryRequest
    ) -> tuple[Job, UpstreamQuery | None]:
        """Plan a query and make it a durable job, or raise why not.

        Gives the job and, where it may run at once, the query to carry it out with. A refusal is
        on record before it is raised. A dry run makes no job that is kept.
        """
        if request.job_id:
            await self._jobs.refuse_duplicate(principal.key, request.project, request.job_id)
        planned = await self.admission.planned(principal, request)
        plan, now = planned.plan, time.time()
        waits = plan.decision.effect is Effect.REQUIRE_APPROVAL and not request.dry_run
        if waits:
            await self.admission.refuse_flood(principal, request, plan)
        state = _first_state(dry_run=request.dry_run, waits=waits)
        job = new_job(principal, request, planned, state, now)
        if request.dry_run:
            await self._recorder.record(records.intent(job, now))
            return job, None
        reservation = None if waits else Reservation(job, planned.charge)
        kept = await self._kept(job, planned, reservation)
        if kept.id != job.id:
            repeated = JobError.of(DuplicateError(f"the request is job `{kept.job_id}` already"))
            await self._recorder.record(records.ended(job, "failed", repeated, time.time()))
            return kept, None
        if reservation is None:
            await self._asking.ask(job)
            return job, None
        return job, reservation.bounded(planned.query)

    async def _kept(self, job: Job, planned: Planned, reservation: Reservation | None) -> Job:
        """Put the intent on record, then make the job durable.

        From here its session is its own, and so is its part of the budgets.
        """
        session, waits = planned.session, reservation is None
        await self.admission.refuse_over(planned, job.principal, job.request, waits=waits)
        if session:
            try:
                await self._sessions.refuse_busy(session, job)
            except SessionBusyError as error:
                await self.admission.refuse(job.principal, job.request, error, job.plan)
                raise

        async def beside(connection: AsyncConnection) -> None:
            if session:
                await self._sessions.take(connection, session, job, planned.left)
            if reservation:
                await reservation.take(connection)

        await self._recorder.record(records.intent(job, job.created_at))
        try:
            return await self._jobs.add(job, beside)
        except (SessionBusyError, LimitError) as error:
            ended = records.ended(job, "failed", JobError.of(error), time.time())
            await self._recorder.record(ended)
            raise

    async def release(self, job: Job) -> Job | None:
        """Carry a job that people have approved, if it is still exactly what they approved.

        It is planned again. Where the digest differs, the approval does not fit: the job goes back
        to pending with the new plan, and people are asked again. Raises as `carry` does.
        """
        try:
            job = await self.admission.of_now(job)
            planned = await self.admission.planned(job.principal, job.request)
            if self._vigil.fits(job, planned):
                await check(self._ledger, job.plan, planned.charge, waits=True)
                reservation = Reservation(job, planned.charge, but=PASSING)
                await self._jobs.move(job, state=JobState.READY, beside=reservation.take)
                return await self.carry(job, reservation.bounded(planned.query))
            await self._asking.ask_again(job, planned)
        except PASSING_ERRORS:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the job ends refused
            await self.endings.fail(job, error)
        return None

    async def carry(self, job: Job, query: UpstreamQuery | None) -> Job | None:
        """Carry an accepted job to its end; with no query, after finding out how far it came.

        Gives the job as it ended here, where nothing else is known of it. A failure is the job's
        end, recorded and shown to its client. Raises only what passes: then the job is as it was.
        """
        try:
            if query is None:
                taken_over = await self._taking_over.taken_over(job)
                if taken_over is None:
                    return None
                job, query = taken_over
            with self._metrics.query_seconds.labels(Phase.EXECUTE).time():
                job = msgspec.structs.replace(job, started_at=job.started_at or time.time())
                await self._inherited.note(job)
                bigquery, rows = self._accounts.at(job.account), Outcomes.rows_of(job)
                status = await run_to_end(bigquery, self._jobs, job, query, rows=rows)
            return await self.endings.finish(job, status)
        except PASSING_ERRORS:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the job ends refused
            await self.endings.fail(job, error)
        return None


def _first_state(*, dry_run: bool, waits: bool) -> JobState:
    if dry_run:
        return JobState.DONE
    return JobState.PENDING if waits else JobState.READY
