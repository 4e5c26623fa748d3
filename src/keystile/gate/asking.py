"""Ask people about a query, and once more where it is not what they were asked about."""

from __future__ import annotations

import time
from contextlib import suppress

import msgspec

from keystile.gate import records
from keystile.gate.job_store import JobStore
from keystile.gate.jobs import Job, JobState
from keystile.gate.planned import Planned
from keystile.gate.recorder import Recorder
from keystile.gate.vigil import Vigil
from keystile.model.errors import KeystileError, RecordingUnavailableError
from keystile.wire.responses import JobError


class Asking:
    """Asks through the vigil, which then watches for the answer."""

    def __init__(self, vigil: Vigil, recorder: Recorder, jobs: JobStore) -> None:
        """Ask about jobs of this store."""
        self._vigil = vigil
        self._recorder = recorder
        self._jobs = jobs

    async def ask(self, job: Job) -> None:
        """Ask about a new job, or end it and raise why nobody can be asked."""
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

    async def ask_again(self, job: Job, planned: Planned) -> None:
        """Let a job wait for people with the plan that it has by now."""
        replanned = msgspec.structs.replace(job, plan=planned.plan)
        await self._recorder.record(records.intent(replanned, time.time()))
        await self._jobs.move(job, state=JobState.PENDING, plan=planned.plan)
        await self._vigil.ask(replanned)
