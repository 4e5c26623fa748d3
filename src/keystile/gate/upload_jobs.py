"""The load jobs of uploads: planned before the first byte, durable when BigQuery has the last."""

from __future__ import annotations

import time

from keystile.gate import records
from keystile.gate.admission import Admission
from keystile.gate.budgets import Reservation
from keystile.gate.job_store import JobStore
from keystile.gate.jobs import Job, JobState
from keystile.gate.planned import new_job
from keystile.gate.recorder import Recorder
from keystile.model.decision import LIMIT_WORDS, Effect
from keystile.model.errors import DuplicateError, RefusedError
from keystile.model.principal import Principal
from keystile.policy.budget import Charge
from keystile.upstream.values import UpstreamQuery
from keystile.wire.requests import QueryRequest
from keystile.wire.responses import JobError


class UploadJobs:
    """Makes them."""

    def __init__(self, admission: Admission, recorder: Recorder, jobs: JobStore) -> None:
        """Keep them among `jobs`."""
        self._admission = admission
        self._recorder = recorder
        self._jobs = jobs

    async def accept(
        self, principal: Principal, request: QueryRequest
    ) -> tuple[Job, UpstreamQuery]:
        """Plan a load job whose bytes are still to come, or raise why not.

        It is on record; it becomes a job when BigQuery has all its bytes: `uploaded`.
        """
        if request.job_id:
            await self._jobs.refuse_duplicate(principal.key, request.project, request.job_id)
        planned, now = await self._admission.planned(principal, request), time.time()
        plan = planned.plan
        if plan.decision.effect is Effect.REQUIRE_APPROVAL:
            error = RefusedError(
                "this load needs a person's approval, and uploaded data is not kept that long",
                hint="load it from a `gs://` file: such a job can wait",
            )
            await self._admission.refuse(principal, request, error, plan)
            raise error
        await self._admission.refuse_over(planned, principal, request)
        job = new_job(principal, request, planned, JobState.RUNNING, now)
        await self._recorder.record(records.intent(job, now))
        return job, planned.query

    async def check(self, job: Job) -> None:
        """Decide once more before the last bytes go: much may have changed since the first.

        Raises `RefusedError` where the job would not be the same now or its agent is disabled, and
        what planning raises.
        """
        await self._admission.current(job.principal)
        planned = await self._admission.planned(job.principal, job.request)
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
