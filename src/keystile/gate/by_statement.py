"""Requests without SQL that are statements all the same: each becomes a job like any query."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from uuid import uuid4

import msgspec

from keystile.gate.duties import Duties
from keystile.gate.jobs import Job, JobState
from keystile.gate.own_jobs import OwnJobs
from keystile.model.decision import Effect
from keystile.model.errors import RefusedError
from keystile.model.principal import Principal
from keystile.policy.policy import Policy
from keystile.wire.requests import QueryRequest
from keystile.wire.responses import JobFailedError

_WAIT_SECONDS = 50.0
"""How long one request waits for its job: there is no answer that says "not yet"."""

_KEPT_SECONDS = 15 * 60
"""How long a client may ask again for rows that came when it had left."""


class ByStatement:
    """Runs the statement that a request stands for, under the decision that a query of it gets."""

    def __init__(self, duties: Duties, jobs: OwnJobs, policy: Callable[[], Policy]) -> None:
        """`duties` take statements in; `jobs` tell of earlier ones; `policy` is what holds now."""
        self._duties = duties
        self._jobs = jobs
        self._policy = policy

    async def done(self, principal: Principal, request: QueryRequest, what: str) -> Job:
        """Give the finished job of a request, whose `sql` is its statement and nothing else.

        A request that is made again finds the job that its client gave up waiting for; where it
        reads, for some minutes after the job's end too. Raises `JobFailedError`, and `RefusedError`
        where policy says so or the end does not come in time; `what` says there what was asked.
        """
        reads = request.sql.startswith("SELECT")
        job = await self._left_until(principal, request, _KEPT_SECONDS if reads else 0)
        if job is None:
            job_id = f"{_prefix(request)}{uuid4().hex}"
            named = msgspec.structs.replace(request, job_id=job_id)
            job = await self._duties.accept(principal, named)
        return await self.end(job, what)

    async def begun(self, principal: Principal, request: QueryRequest, id_: str) -> Job | None:
        """Give the principal's job `id_`, as it is called inside, if it is of this request."""
        job = await self._jobs.by_id(principal.key, id_)
        return job if job is not None and _same(job, request) else None

    async def end(self, job: Job, what: str) -> Job:
        """Wait for a job's end. Raises as `done` does."""
        job = await self._duties.wait(job, _WAIT_SECONDS)
        if job.state is not JobState.DONE:
            why = "waits for approval" if job.state is JobState.PENDING else "still runs"
            raise RefusedError(
                f"{what} {why} as job `{job.job_id}`", hint="make the same request again in a while"
            )
        if job.error is not None:
            raise JobFailedError(job.error)
        return job

    async def left(self, principal: Principal, request: QueryRequest) -> Job | None:
        """Give the job of the same request that the client gave up waiting for, if there is one.

        It may have ended some minutes ago.
        """
        return await self._left_until(principal, request, _KEPT_SECONDS)

    async def _left_until(
        self, principal: Principal, request: QueryRequest, kept_seconds: float
    ) -> Job | None:
        job = await self._jobs.newest(principal.key, request.project, _prefix(request))
        if job is None or not _same(job, request):
            return None
        now = time.time()
        waited = (job.ended_at or now) - job.created_at > _WAIT_SECONDS
        asks = job.plan.decision.effect is Effect.REQUIRE_APPROVAL
        # INVARIANT: rows that were decided on under another policy are not given for a new request.
        same_policy = job.plan.decision.policy_digest == self._policy().digest
        fresh = job.ended_at is None or (same_policy and job.ended_at > now - kept_seconds)
        return job if (waited or asks) and fresh else None


def _same(job: Job, request: QueryRequest) -> bool:
    return msgspec.structs.replace(job.request, job_id="") == request


def _prefix(request: QueryRequest) -> str:
    """Begin the ids of all jobs that are the same request."""
    return f"by{hashlib.sha256(request.sql.encode()).hexdigest()[:32]}x"
