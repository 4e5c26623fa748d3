"""Jobs of queries that are wrong: they have failed already, and nothing of them is ever sent."""

from __future__ import annotations

import time

from keystile.gate.job_store import JobStore
from keystile.gate.jobs import Job, JobState
from keystile.gate.locations import DEFAULT
from keystile.gate.plan import Plan
from keystile.gate.planned import Planned, new_job
from keystile.model.decision import Decision, Effect
from keystile.model.errors import KeystileError
from keystile.model.facts import QueryFacts
from keystile.model.principal import Principal
from keystile.upstream.values import UpstreamQuery
from keystile.wire.requests import QueryRequest
from keystile.wire.responses import JobError


async def failed_job(
    jobs: JobStore, principal: Principal, request: QueryRequest, error: KeystileError
) -> Job:
    """Make a job of a query that is wrong and on record as refused. Raises `DuplicateError`."""
    unknown = Decision(Effect.DENY, (), "")
    plan = Plan(QueryFacts("", ()), unknown, "", (), (), 0, "")
    planned = Planned(
        plan, UpstreamQuery(project=request.project, sql=""), request.location or DEFAULT
    )
    now = time.time()
    job = new_job(principal, request, planned, JobState.READY, now)
    kept = await jobs.add(job)
    if kept.id == job.id:
        await jobs.finish(job, now, error=JobError.of(error), outcome=None)
    return await jobs.get(kept.id)
