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
from contextlib import suppress
from uuid import uuid4

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from keystile.gate import records
from keystile.gate.basis import Basis
from keystile.gate.budgets import (
    Reservation,
    billed,
    bounded,
    check,
    in_own_words,
    left_to_write,
)
from keystile.gate.children import Children
from keystile.gate.inherited_labels import InheritedLabels
from keystile.gate.jobs import Job, JobState, JobStore
from keystile.gate.ledger import PASSING, Ledger
from keystile.gate.outcomes import Outcomes
from keystile.gate.plan import Plan, job_labels
from keystile.gate.planning import Decided, Planned, Planner, context_of, refuse_denied
from keystile.gate.recorder import Recorder
from keystile.gate.running import is_started, open_session, run_to_end, write_result
from keystile.gate.sessions import QuerySession, QuerySessions, SessionBusyError
from keystile.gate.vigil import Vigil
from keystile.gate.witness import agree_at_the_end
from keystile.model.decision import LIMIT_WORDS, Decision, Effect
from keystile.model.errors import (
    DuplicateError,
    KeystileError,
    LimitError,
    OverloadedError,
    PolicyUnreadableError,
    RecordingUnavailableError,
    RefusedError,
    StoppedError,
    StoreUnavailableError,
)
from keystile.model.facts import QueryFacts
from keystile.model.principal import Principal
from keystile.policy.budget import Charge
from keystile.telemetry.logs import logger
from keystile.telemetry.metrics import Metrics, Phase
from keystile.upstream.accounts import Accounts
from keystile.upstream.values import JobStatus, UpstreamQuery
from keystile.wire.into import Into
from keystile.wire.requests import QueryRequest
from keystile.wire.responses import JobError

_log = logger("gate")

# What passes by itself and says nothing of the job. INVARIANT: an accepted job does not end for
# such a reason: it stays in the store as it is, and is carried on once its lease has run out.
_OUTAGES = (OverloadedError, RecordingUnavailableError, StoreUnavailableError)
_PASSING = (*_OUTAGES, PolicyUnreadableError)

_MOST_WAITING = 50


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
        self._ledger = ledger
        self._sessions = sessions
        self._inherited = inherited
        self._planner = planner
        self._accounts = accounts
        self._recorder = recorder
        self._jobs = jobs
        self._vigil = vigil
        self._outcomes = outcomes
        self._children = children
        self._metrics = metrics
        self._current = current

    async def accept(
        self, principal: Principal, request: QueryRequest
    ) -> tuple[Job, UpstreamQuery | None]:
        """Plan a query and make it a durable job, or raise why not.

        Gives the job and, where it may run at once, the query to carry it out with. A refusal is
        on record before it is raised. A dry run makes no job that is kept.
        """
        if request.job_id:
            await self._jobs.refuse_duplicate(principal.key, request.project, request.job_id)
        planned = await self._planned(principal, request)
        plan, now = planned.plan, time.time()
        waits = plan.decision.effect is Effect.REQUIRE_APPROVAL and not request.dry_run
        if waits:
            await self._refuse_flood(principal, request, plan)
        state = _first_state(dry_run=request.dry_run, waits=waits)
        job = _job(principal, request, planned, state, now)
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
            await self._ask(job)
            return job, None
        return job, reservation.bounded(planned.query)

    async def _kept(self, job: Job, planned: Planned, reservation: Reservation | None) -> Job:
        """Put the intent on record, then make the job durable.

        From here its session is its own, and so is its part of the budgets.
        """
        session, waits = planned.session, reservation is None
        await self._refuse_over(planned, job.principal, job.request, waits=waits)
        if session:
            try:
                await self._sessions.refuse_busy(session, job)
            except SessionBusyError as error:
                await self._refuse(job.principal, job.request, error, job.plan)
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

    async def failed(
        self, principal: Principal, request: QueryRequest, error: KeystileError
    ) -> Job:
        """Make a job of a query that is wrong and on record as refused: it has failed already.

        Nothing of it ever goes to BigQuery. Raises `DuplicateError`.
        """
        unknown = Decision(Effect.DENY, (), "")
        plan = Plan(QueryFacts("", ()), unknown, "", (), (), 0, "")
        planned = Planned(
            plan, UpstreamQuery(project=request.project, sql=""), request.location or "US"
        )
        now = time.time()
        job = _job(principal, request, planned, JobState.READY, now)
        kept = await self._jobs.add(job)
        if kept.id == job.id:
            await self._jobs.finish(job, now, error=JobError.of(error), outcome=None)
        return await self._jobs.get(kept.id)

    async def accept_upload(
        self, principal: Principal, request: QueryRequest
    ) -> tuple[Job, UpstreamQuery]:
        """Plan a load job whose bytes are still to come, or raise why not.

        It is on record; it becomes a job when BigQuery has all its bytes: `uploaded`.
        """
        if request.job_id:
            await self._jobs.refuse_duplicate(principal.key, request.project, request.job_id)
        planned, now = await self._planned(principal, request), time.time()
        plan = planned.plan
        if plan.decision.effect is Effect.REQUIRE_APPROVAL:
            error = RefusedError(
                "this load needs a person's approval, and uploaded data is not kept that long",
                hint="load it from a `gs://` file: such a job can wait",
            )
            await self._refuse(principal, request, error, plan)
            raise error
        await self._refuse_over(planned, principal, request)
        job = _job(principal, request, planned, JobState.RUNNING, now)
        await self._recorder.record(records.intent(job, now))
        return job, planned.query

    async def _refuse_over(
        self, planned: Planned, principal: Principal, request: QueryRequest, *, waits: bool = False
    ) -> None:
        """Refuse what would break a limit by now."""
        try:
            await check(self._ledger, planned.plan, planned.charge, waits=waits)
        except LimitError as error:
            await self._refuse(principal, request, error, planned.plan)
            raise

    async def check_upload(self, job: Job) -> None:
        """Decide once more before the last bytes go: much may have changed since the first.

        Raises `RefusedError` where the job would not be the same now or its agent is disabled, and
        what planning raises.
        """
        await self._current(job.principal)
        planned = await self._planned(job.principal, job.request)
        now, before = planned.plan, job.plan
        same = (now.sql, now.facts.actions) == (before.sql, before.facts.actions)
        if planned.plan.decision.effect is not Effect.ALLOW or not same:
            raise RefusedError(
                "the table or the policy has changed since the upload began", hint="begin it again"
            )

    async def uploaded(self, job: Job) -> Job:
        """Make a job durable whose bytes BigQuery has; gives it as it is where it is so already.

        Raises `DuplicateError` where its owner has another job of that id.
        """
        # BigQuery has it by now, so that it counts whatever else does.
        counted = Reservation(job, Charge(), but=LIMIT_WORDS).take
        try:
            return await self._jobs.add(job, counted)
        except DuplicateError as error:
            known = await self._jobs.owned(job.principal.key, job.request.project, job.job_id)
            if known.id == job.id:
                return known
            now = time.time()
            await self._recorder.record(records.ended(job, "failed", JobError.of(error), now))
            raise

    async def carry(self, job: Job, query: UpstreamQuery | None) -> Job | None:
        """Carry an accepted job to its end; with no query, after finding out how far it came.

        Gives the job as it ended here, where nothing else is known of it. A failure is the job's
        end, recorded and shown to its client. Raises only what passes: then the job is as it was.
        """
        try:
            if query is None:
                resumed = await self._resumed(job)
                if resumed is None:
                    return None
                job, query = resumed
            with self._metrics.query_seconds.labels(Phase.EXECUTE).time():
                rows = self._outcomes.rows_of(job)
                job = msgspec.structs.replace(job, started_at=job.started_at or time.time())
                await self._inherited.note(job)
                bigquery = self._accounts.at(job.account)
                status = await run_to_end(bigquery, self._jobs, job, query, rows=rows)
            return await self._finish(job, status)
        except _PASSING:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the job ends refused
            await self._fail(job, error)
        return None

    async def release(self, job: Job) -> Job | None:
        """Carry a job that people have approved, if it is still exactly what they approved.

        It is planned again. Where the digest differs, the approval does not fit: the job goes back
        to pending with the new plan, and people are asked again. Raises as `carry` does.
        """
        try:
            self._planner.require_policy()
            job = await self._of_now(job)
            planned = await self._planned(job.principal, job.request)
            if self._vigil.fits(job, planned):
                await check(self._ledger, job.plan, planned.charge, waits=True)
                reservation = Reservation(job, planned.charge, but=PASSING)
                await self._jobs.move(job, state=JobState.READY, beside=reservation.take)
                return await self.carry(job, reservation.bounded(planned.query))
            await self._ask_again(job, planned)
        except _PASSING:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the job ends refused
            await self._fail(job, error)
        return None

    async def end(self, job: Job, state: str, error: JobError) -> None:
        """End a job without a result: on record first, then for its client.

        Raises `RecordingUnavailableError` and `StoreUnavailableError`: then it has not ended.
        """
        now = time.time()
        await self._recorder.record(records.ended(job, state, error, now))
        await self._sessions.ended(job, well=False)
        spent = await billed(self._accounts, job)
        await self._jobs.finish(job, now, error=error, outcome=None, billed=spent)

    async def _fail(self, job: Job, error: Exception) -> None:
        if not isinstance(error, KeystileError):
            _log.exception("job_failed_inside", job=job.id)
            error = RefusedError(f"refused: internal fault in job `{job.id}`")
        await self.end(job, "failed", JobError.of(in_own_words(job.plan, error)))

    async def _refuse_flood(self, principal: Principal, request: QueryRequest, plan: Plan) -> None:
        """Refuse to ask people once more for an agent that has asked them very often already."""
        if await self._jobs.count_pending(principal.key) < _MOST_WAITING:
            return
        error = RefusedError(
            f"{_MOST_WAITING} of your queries wait for approval already",
            hint="wait until people have decided, or cancel some",
        )
        await self._refuse(principal, request, error, plan)
        raise error

    async def _planned(self, principal: Principal, request: QueryRequest) -> Planned:
        """Plan, and put a refusal on record before it is raised."""
        decided: Decided | None = None
        context = context_of(request)
        try:
            session = await self._sessions.of(principal, request)
            decided = await self._planner.decide(principal, request, session, context)
            await self._recorder.rests_on(decided.rests_on)
            refuse_denied(decided.decision, decided.instead)
            if session:
                _check_session(request, decided.decision)
                if not session.upstream:
                    session = await self._opened(session, principal, request, decided)
                decided = decided._replace(session=session)
            return await self._planner.plan(principal, request, decided)
        except _OUTAGES:
            raise
        except KeystileError as error:
            await self._refuse(principal, request, error, decided or Basis(context))
            raise

    async def _refuse(
        self,
        principal: Principal,
        request: QueryRequest,
        error: KeystileError,
        found: Plan | Decided | Basis,
    ) -> None:
        """Put on record that a query never runs, and why."""
        now = time.time()
        if isinstance(error, LimitError):
            self._metrics.limit_refusals.labels(error.reason).inc()
        await self._recorder.record(records.refused(principal, request, error, found, now))

    async def _opened(
        self, session: QuerySession, principal: Principal, request: QueryRequest, decided: Decided
    ) -> QuerySession:
        """Begin a session at BigQuery, where what its first query reads lies."""
        facts, location = decided.analysed.facts, session.location
        bigquery = self._accounts.at(decided.account)
        named = (*facts.reads, *facts.writes)
        if not location and named:
            dataset = await bigquery.get_dataset(named[0].project, named[0].dataset)
            location = str(dataset.get("location") or "")
        location = location or "US"
        labels = job_labels(principal)
        upstream = await open_session(bigquery, request.project, location, labels)
        return msgspec.structs.replace(
            session, location=location, upstream=upstream, account=decided.account
        )

    async def _resumed(self, job: Job) -> tuple[Job, UpstreamQuery] | None:
        """Find out how far a job came before its replica died, and finish it if BigQuery has it.

        Gives the job with the plan that holds now, and its query, where it is still to be started.
        """
        bigquery = self._accounts.at(job.account)
        if await is_started(bigquery, job.reference):
            # What runs there is the recorded plan, whatever changed since.
            status = await run_to_end(bigquery, self._jobs, job, None)
            await self._finish(job, status)
            return None
        if job.plan.decision.effect is Effect.REQUIRE_APPROVAL:
            # INVARIANT: nothing but the watch over waiting jobs lets such a job run. Somebody had
            # taken it out of waiting to release it or to end it: the watch reads again which.
            await self._jobs.move(job, state=JobState.PENDING)
            return None
        if job.request.transfer and job.request.transfer.upload:
            raise RefusedError("BigQuery does not know the uploaded job", hint="upload it again")
        self._planner.require_policy()
        job = await self._of_now(job)
        planned = await self._planned(job.principal, job.request)
        query = bounded(planned.query, await self._ledger.grant(job.id), planned.charge)
        if planned.plan.digest == job.plan.digest:
            return job, query
        if job.request.session:
            raise RefusedError("what the query reads has changed", hint="begin another session")
        if planned.plan.decision.effect is Effect.REQUIRE_APPROVAL:
            await self._ask_again(job, planned)
            return None
        replanned = msgspec.structs.replace(job, plan=planned.plan)
        await self._recorder.record(records.intent(replanned, time.time()))
        await self._jobs.move(job, state=JobState.READY, plan=planned.plan)
        return replanned, query

    async def _why_stopped(self, job: Job, error: KeystileError) -> KeystileError:
        """Say of a cancelled job that its agent is disabled, which BigQuery does not know."""
        try:
            await self._current(job.principal)
        except _PASSING:
            return error
        except RefusedError as refusal:
            return StoppedError(f"{error.message.rstrip('.')}: {refusal.message}")
        return error

    async def _of_now(self, job: Job) -> Job:
        """Give the job with its agent's claims of now: it may have waited for days."""
        return msgspec.structs.replace(job, principal=await self._current(job.principal))

    async def _ask(self, job: Job) -> None:
        try:
            await self._vigil.ask(job)
        except KeystileError as error:
            # INVARIANT: a query that its client hears is refused does not run later, whether that
            # can be recorded or not.
            now, refused = time.time(), JobError.of(error)
            await self._jobs.finish(job, now, error=refused, outcome=None)
            with suppress(RecordingUnavailableError):
                await self._vigil.withdraw(job)
                await self._recorder.record(records.ended(job, "failed", refused, now))
            raise

    async def _ask_again(self, job: Job, planned: Planned) -> None:
        replanned = msgspec.structs.replace(job, plan=planned.plan)
        await self._recorder.record(records.intent(replanned, time.time()))
        await self._jobs.move(job, state=JobState.PENDING, plan=planned.plan)
        await self._vigil.ask(replanned)

    async def _finish(self, job: Job, status: JobStatus) -> Job | None:
        await self._children.try_to_find(job)
        error, spent = status.error, status.bytes_billed
        if error is None:
            plan = job.plan
            agree_at_the_end(plan.facts, plan.schema, status.schema, plan.results)
            if job.request.into:
                written = await self._written(job, job.request.into, status)
                error, spent = written.error, spent + written.bytes_billed
        self._accounts.forget(job.plan.facts.writes)
        await self._inherited.settle(job, well=error is None)
        if error is not None:
            cancelled = error.reason == "stopped"
            said = await self._outcomes.net.said(job, error)
            why = await self._why_stopped(job, said) if cancelled else said
            why = in_own_words(job.plan, why)
            await self.end(job, "cancelled" if cancelled else "failed", JobError.of(why))
            return None
        outcome = await self._outcomes.recorded(job, status)
        await self._sessions.ended(job, well=True)
        now = time.time()
        self._metrics.bytes_billed.inc(spent)
        ended = await self._jobs.finish(job, now, error=None, outcome=outcome, billed=spent)
        if not ended or job.plan.statements:
            return None  # another has ended it, or its row tells of its statements too
        return msgspec.structs.replace(job, state=JobState.DONE, ended_at=now, outcome=outcome)

    async def _written(self, job: Job, into: Into, status: JobStatus) -> JobStatus:
        most = await left_to_write(self._ledger, job, status.bytes_billed)
        return await write_result(self._accounts.at(job.account), job, into, status, most)


def _job(
    principal: Principal, request: QueryRequest, planned: Planned, state: JobState, now: float
) -> Job:
    if planned.session:
        request = msgspec.structs.replace(request, session=planned.session.id)
    return Job(
        id=uuid4().hex,
        principal=principal,
        request=request,
        plan=planned.plan,
        job_id=request.job_id or f"job_{uuid4().hex}",
        location=planned.location,
        state=state,
        created_at=now,
    )


def _check_session(request: QueryRequest, decision: Decision) -> None:
    """Refuse what cannot be done in a session."""
    if request.creates_session and request.dry_run:
        raise RefusedError(
            "`dryRun` begins no session", hint="leave `createSession` out, or name a session"
        )
    if request.into:
        raise RefusedError(
            "`destinationTable` and a session exclude each other here",
            hint="write the result with `CREATE TABLE AS SELECT`",
        )
    if decision.effect is Effect.REQUIRE_APPROVAL:
        # INVARIANT: what people unlock for one query is in no table that others go on from.
        raise RefusedError(
            "this query needs a person's approval, for which a session does not wait",
            hint="run it as a job without a session",
        )


def _first_state(*, dry_run: bool, waits: bool) -> JobState:
    if dry_run:
        return JobState.DONE
    return JobState.PENDING if waits else JobState.READY
