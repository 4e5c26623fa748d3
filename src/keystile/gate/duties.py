"""What the gate does by itself: carry jobs, watch over waiting ones, take over a dead replica's.

Every duty is a row that a replica takes in the store, so any replica does it and none does it
twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from keystile.approvals.requests import Approvals
from keystile.gate.job_store import JobStore
from keystile.gate.jobs import Job, JobState
from keystile.gate.pipeline import Pipeline
from keystile.gate.vigil import Verdict, Vigil, refusal, withdrawn
from keystile.model.errors import KeystileError
from keystile.model.principal import Principal
from keystile.telemetry.logs import logger
from keystile.telemetry.metrics import Metrics, Phase
from keystile.upstream.values import UpstreamQuery
from keystile.wire.requests import QueryRequest
from keystile.wire.responses import JobError

_TICK_SECONDS = 0.25
_LEASES_EVERY = 8

_log = logger("gate")


class Duties:
    """Runs until stopped. Nothing that it holds matters: another replica can always go on."""

    def __init__(
        self,
        pipeline: Pipeline,
        jobs: JobStore,
        vigil: Vigil,
        approvals: Approvals,
        metrics: Metrics,
    ) -> None:
        """Work on one replica's behalf."""
        self._pipeline = pipeline
        self._jobs = jobs
        self._vigil = vigil
        self._approvals = approvals
        self._metrics = metrics
        self._carried: dict[str, asyncio.Task[Job | None]] = {}

    async def run(self) -> None:
        """Tick for ever; whatever a turn fails of is logged, and the next one tries again."""
        ticks = 0
        while True:
            try:
                await self._watch_waiting()
                if ticks % _LEASES_EVERY == 0:
                    await self._keep_and_take()
            except KeystileError as error:
                _log.warning("duties_interrupted", reason=str(error))
            except Exception:  # noqa: BLE001 - see below
                # INVARIANT: no fault ends the watch, or approved and lost jobs would wait for ever.
                _log.exception("duties_fault")
            ticks += 1
            await asyncio.sleep(_TICK_SECONDS)

    async def stop(self) -> None:
        """Drop what is being carried, and leave it free for the next replica to take at once."""
        carried = dict(self._carried)
        for task in carried.values():
            task.cancel()
        await asyncio.gather(*carried.values(), return_exceptions=True)
        try:
            await self._jobs.release([*carried])
        except KeystileError as error:
            # The leases then run out by themselves, some seconds later.
            _log.warning("leases_not_released", reason=str(error))

    async def accept(self, principal: Principal, request: QueryRequest) -> Job:
        """Plan a query, make it a durable job, and carry it if it may run at once.

        Raises as `Pipeline.accept` does.
        """
        job, query = await self._pipeline.accept(principal, request)
        if query is not None:
            self.carry(job, query)
        return job

    def carry(self, job: Job, query: UpstreamQuery | None) -> None:
        """Carry a job in the background; the request that brought it may go away."""
        self._spawn(job, self._pipeline.carry(job, query))

    async def withdraw(self, job: Job, why: KeystileError | None = None) -> None:
        """End a job that waits for people, because its agent cancelled it or for another reason."""
        if await self._jobs.take(job, time.time()):
            await self._vigil.withdraw(job)
            await self._pipeline.endings.end(job, "cancelled", JobError.of(why or withdrawn()))

    async def wait(self, job: Job, seconds: float) -> Job:
        """Wait until a job is done, for at most `seconds`, and give it as it stands then."""
        deadline = time.monotonic() + seconds
        while job.state is not JobState.DONE:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            ended = await self._news(job.id, min(left, 2 * _TICK_SECONDS))
            job = ended or await self._jobs.get(job.id)
        return job

    async def _news(self, id_: str, seconds: float) -> Job | None:
        """Wake up when this replica ends the job, else look again soon: another one may have.

        Gives the job as it ended here, where nobody has to look.
        """
        task = self._carried.get(id_)
        if task is None:
            await asyncio.sleep(seconds)
            return None
        await asyncio.wait([task], timeout=seconds)
        ended = task.done() and not task.cancelled() and task.exception() is None
        return task.result() if ended else None

    async def _watch_waiting(self) -> None:
        await self._approvals.expire_due(time.time())
        waiting = await self._jobs.pending()
        self._metrics.approvals_pending.set(len(waiting))
        for job in waiting:
            try:
                await self._attend(job)
            except KeystileError as error:
                # What one job cannot get over must not keep those behind it waiting.
                _log.warning("job_not_attended", job=job.id, reason=str(error))

    async def _attend(self, job: Job) -> None:
        seen = await self._vigil.look(job)
        if seen.verdict is Verdict.ASK:
            # The replica died between making the job durable and asking.
            await self._vigil.ask(job)
        elif seen.verdict is not Verdict.WAIT and await self._jobs.take(job, time.time()):
            waited = time.time() - job.created_at
            self._metrics.query_seconds.labels(Phase.APPROVE).observe(waited)
            await self._vigil.note(job, seen)
            if seen.verdict is Verdict.RELEASE:
                self._spawn(job, self._pipeline.release(job))
            else:
                await self._pipeline.endings.end(job, seen.verdict.value, refusal(seen))

    async def _keep_and_take(self) -> None:
        now = time.time()
        await self._jobs.renew(list(self._carried), now)
        for job in await self._jobs.claim(now, (JobState.READY, JobState.RUNNING)):
            if job.id not in self._carried:
                _log.info("job_taken_over", job=job.id)
                self.carry(job, None)

    def _spawn(self, job: Job, work: Coroutine[Any, Any, Job | None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._carried[job.id] = task
        task.add_done_callback(lambda done: self._dropped(job, done))

    def _dropped(self, job: Job, task: asyncio.Task[Job | None]) -> None:
        self._carried.pop(job.id, None)
        if not task.cancelled() and (fault := task.exception()):
            # The job stays in the store; its lease runs out and it is taken up again.
            _log.error("job_carrier_interrupted", job=job.id, fault=type(fault).__name__)
