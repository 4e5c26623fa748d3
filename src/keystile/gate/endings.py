"""The end of a job: with a result, or without one.

INVARIANT: it is on record before anybody hears of it. When it cannot be, the job has not ended.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import msgspec

from keystile.gate import records
from keystile.gate.budgets import billed, in_own_words, left_to_write
from keystile.gate.children import Children
from keystile.gate.inherited_labels import InheritedLabels
from keystile.gate.job_store import JobStore
from keystile.gate.jobs import Job, JobState
from keystile.gate.ledger import Ledger
from keystile.gate.outages import PASSING_ERRORS
from keystile.gate.outcomes import Outcomes
from keystile.gate.recorder import Recorder
from keystile.gate.running import write_result
from keystile.gate.sessions import QuerySessions
from keystile.gate.witness import agree_at_the_end
from keystile.model.errors import KeystileError, RefusedError, StoppedError
from keystile.model.principal import Principal
from keystile.telemetry.logs import logger
from keystile.telemetry.metrics import Metrics
from keystile.upstream.accounts import Accounts
from keystile.upstream.values import JobStatus
from keystile.wire.into import Into
from keystile.wire.responses import JobError

_log = logger("gate")


class Endings:
    """Ends jobs. Each method raises what passes by itself: then the job is as it was."""

    def __init__(  # noqa: PLR0913, PLR0917 - all that hears of an end
        self,
        accounts: Accounts,
        recorder: Recorder,
        jobs: JobStore,
        sessions: QuerySessions,
        inherited: InheritedLabels,
        ledger: Ledger,
        outcomes: Outcomes,
        children: Children,
        metrics: Metrics,
        current: Callable[[Principal], Awaitable[Principal]],
    ) -> None:
        """Wire the rooms together. `current` says what an agent of earlier is by now, or raises."""
        self._accounts = accounts
        self._recorder = recorder
        self._jobs = jobs
        self._sessions = sessions
        self._inherited = inherited
        self._ledger = ledger
        self._outcomes = outcomes
        self._children = children
        self._metrics = metrics
        self._current = current

    async def finish(self, job: Job, status: JobStatus) -> Job | None:
        """End a job as BigQuery has ended it; first its result goes where its client wants it.

        Gives the job as it ended here, where nothing else is known of it.
        """
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
            await self._end_of_query(job, error)
            return None
        outcome = await self._outcomes.recorded(job, status)
        await self._sessions.ended(job, well=True)
        now = time.time()
        self._metrics.bytes_billed.inc(spent)
        ended = await self._jobs.finish(job, now, error=None, outcome=outcome, billed=spent)
        if not ended or job.plan.statements:
            return None  # another has ended it, or its row tells of its statements too
        return msgspec.structs.replace(job, state=JobState.DONE, ended_at=now, outcome=outcome)

    async def fail(self, job: Job, error: Exception) -> None:
        """End a job for whatever has come between. A fault of ours is told without its words."""
        if not isinstance(error, KeystileError):
            _log.exception("job_failed_inside", job=job.id)
            error = RefusedError(f"refused: internal fault in job `{job.id}`")
        await self.end(job, "failed", JobError.of(in_own_words(job.plan, error)))

    async def end(self, job: Job, state: str, error: JobError) -> None:
        """End a job without a result: on record first, then for its client.

        Raises `RecordingUnavailableError` and `StoreUnavailableError`: then it has not ended.
        """
        now = time.time()
        await self._recorder.record(records.ended(job, state, error, now))
        await self._sessions.ended(job, well=False)
        spent = await billed(self._accounts, job)
        await self._jobs.finish(job, now, error=error, outcome=None, billed=spent)

    async def _written(self, job: Job, into: Into, status: JobStatus) -> JobStatus:
        most = await left_to_write(self._ledger, job, status.bytes_billed)
        return await write_result(self._accounts.at(job.account), job, into, status, most)

    async def _end_of_query(self, job: Job, error: KeystileError) -> None:
        """End a job that BigQuery has failed or stopped, in words that its agent may hear."""
        cancelled = error.reason == "stopped"
        said = await self._outcomes.net.said(job, error)
        why = await self._why_stopped(job, said) if cancelled else said
        why = in_own_words(job.plan, why)
        await self.end(job, "cancelled" if cancelled else "failed", JobError.of(why))

    async def _why_stopped(self, job: Job, error: KeystileError) -> KeystileError:
        """Say of a cancelled job that its agent is disabled, which BigQuery does not know."""
        try:
            await self._current(job.principal)
        except PASSING_ERRORS:
            return error
        except RefusedError as refusal:
            return StoppedError(f"{error.message.rstrip('.')}: {refusal.message}")
        return error
