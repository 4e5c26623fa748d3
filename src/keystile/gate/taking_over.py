"""Go on with a job whose replica died: find out how far it came."""

from __future__ import annotations

import time

import msgspec

from keystile.gate import records
from keystile.gate.admission import Admission
from keystile.gate.asking import Asking
from keystile.gate.budgets import bounded
from keystile.gate.endings import Endings
from keystile.gate.job_store import JobStore
from keystile.gate.jobs import Job, JobState
from keystile.gate.ledger import Ledger
from keystile.gate.recorder import Recorder
from keystile.gate.running import is_started, run_to_end
from keystile.model.decision import Effect
from keystile.model.errors import RefusedError
from keystile.upstream.accounts import Accounts
from keystile.upstream.values import UpstreamQuery


class TakingOver:
    """Finds out of a job what is left to be done."""

    def __init__(  # noqa: PLR0913, PLR0917 - the rooms that a job may have come to
        self,
        admission: Admission,
        asking: Asking,
        endings: Endings,
        accounts: Accounts,
        recorder: Recorder,
        jobs: JobStore,
        ledger: Ledger,
    ) -> None:
        """Take over jobs of this store."""
        self._admission = admission
        self._asking = asking
        self._endings = endings
        self._accounts = accounts
        self._recorder = recorder
        self._jobs = jobs
        self._ledger = ledger

    async def taken_over(self, job: Job) -> tuple[Job, UpstreamQuery] | None:
        """Finish a job if BigQuery has it, let it wait if people are to be asked of it.

        Gives the job with the plan that holds now, and its query, where it is still to be started.
        """
        bigquery = self._accounts.at(job.account)
        if await is_started(bigquery, job.reference):
            # What runs there is the recorded plan, whatever changed since.
            status = await run_to_end(bigquery, self._jobs, job, None)
            await self._endings.finish(job, status)
            return None
        if job.plan.decision.effect is Effect.REQUIRE_APPROVAL:
            # INVARIANT: nothing but the watch over waiting jobs lets such a job run. Somebody had
            # taken it out of waiting to release it or to end it: the watch reads again which.
            await self._jobs.move(job, state=JobState.PENDING)
            return None
        if job.request.transfer and job.request.transfer.upload:
            raise RefusedError("BigQuery does not know the uploaded job", hint="upload it again")
        return await self._planned_again(job)

    async def _planned_again(self, job: Job) -> tuple[Job, UpstreamQuery] | None:
        job = await self._admission.of_now(job)
        planned = await self._admission.planned(job.principal, job.request)
        query = bounded(planned.query, await self._ledger.grant(job.id), planned.charge)
        if planned.plan.digest == job.plan.digest:
            return job, query
        if job.request.session:
            raise RefusedError("what the query reads has changed", hint="begin another session")
        if planned.plan.decision.effect is Effect.REQUIRE_APPROVAL:
            await self._asking.ask_again(job, planned)
            return None
        replanned = msgspec.structs.replace(job, plan=planned.plan)
        await self._recorder.record(records.intent(replanned, time.time()))
        await self._jobs.move(job, state=JobState.READY, plan=planned.plan)
        return replanned, query
