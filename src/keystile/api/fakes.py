"""A stand-in for the gate, so that the data port can be served and tested without it."""

from __future__ import annotations

import asyncio
import time

import msgspec

from keystile.api.fake_resources import FakeResources
from keystile.model.errors import DuplicateError, KeystileError, NotFoundError
from keystile.model.principal import Principal
from keystile.model.schema import Field
from keystile.wire.requests import JobsRequest, PageRequest, QueryRequest
from keystile.wire.responses import JobError, JobsView, JobView, ResultsView
from keystile.wire.streaming import BadRow, NewRows, RowFault

_SCHEMA = (Field("id", "INT64"), Field("email", "STRING"))


class FakeGate(FakeResources):
    """A gate whose every query gives the same rows, after `hold_seconds` of waiting.

    `refusal` is raised for each new query; `failure` is how held queries end instead of well.
    """

    def __init__(
        self,
        *,
        hold_seconds: float = 0.0,
        refusal: Exception | None = None,
        failure: KeystileError | None = None,
    ) -> None:
        """Start with no jobs."""
        self.requests: list[QueryRequest] = []
        self.pages: list[PageRequest] = []
        self.inserted: list[NewRows] = []
        self._hold_seconds = hold_seconds
        self._refusal = refusal
        self._failure = failure
        self._jobs: dict[tuple[str, str, str], tuple[JobView, float]] = {}

    async def query(
        self, principal: Principal, request: QueryRequest, page: PageRequest
    ) -> ResultsView:
        """Start a query and wait for it."""
        job = await self.insert(principal, request)
        if job.dry_run:
            return ResultsView(job)
        return await self.results(principal, job.project, job.job_id, page)

    async def insert(self, principal: Principal, request: QueryRequest) -> JobView:
        """Start a query; a dry run is done at once and kept nowhere."""
        self.requests.append(request)
        if self._refusal is not None:
            raise self._refusal
        job = JobView(
            project=request.project,
            job_id=request.job_id or f"job-{len(self.requests)}",
            location="US",
            owner=principal.agent,
            state="DONE" if request.dry_run else "PENDING",
            sql=request.sql,
            created=time.time(),
            statement="SELECT",
            dry_run=request.dry_run,
            bytes_processed=123,
            schema=_SCHEMA if request.dry_run else None,
        )
        key = (principal.key, job.project, job.job_id)
        if key in self._jobs:
            raise DuplicateError(f"Already Exists: Job {job.project}:{job.job_id}")
        if not job.dry_run:
            self._jobs[key] = (job, time.monotonic() + self._hold_seconds)
            return self._now(key)
        return job

    async def job(self, principal: Principal, project: str, job_id: str) -> JobView:
        """Give a job of this principal."""
        return self._now((principal.key, project, job_id))

    async def results(
        self, principal: Principal, project: str, job_id: str, page: PageRequest
    ) -> ResultsView:
        """Give all rows at once."""
        self.pages.append(page)
        key = (principal.key, project, job_id)
        await self._wait(key, page.timeout_ms)
        job = self._now(key)
        rows = tuple(
            msgspec.Raw(b'{"f":[{"v":"%d"},{"v":"j***@example.com"}]}' % number)
            for number in range(3)
        )
        return ResultsView(job, rows if job.done else ())

    async def cancel(self, principal: Principal, project: str, job_id: str) -> JobView:
        """End a job at once."""
        key = (principal.key, project, job_id)
        stopped = JobError(400, "stopped", "CANCELLED", "Job execution was cancelled")
        job = msgspec.structs.replace(self._now(key), error=stopped)
        self._jobs[key] = (job, 0.0)
        return self._now(key)

    async def jobs(self, principal: Principal, project: str, asked: JobsRequest) -> JobsView:
        """Give all jobs of this principal, oldest first."""
        del asked
        keys = [key for key in self._jobs if key[:2] == (principal.key, project)]
        return JobsView(tuple(map(self._now, keys)))

    async def rows(
        self, principal: Principal, project: str, dataset: str, table: str, page: PageRequest
    ) -> ResultsView | None:
        """Give the rows of a query."""
        job = await self.insert(principal, QueryRequest(f"{dataset}.{table}", project))
        return await self.results(principal, project, job.job_id, page)

    async def insert_rows(self, principal: Principal, rows: NewRows) -> tuple[BadRow, ...]:
        """Take all rows but those that are empty."""
        del principal
        self.inserted.append(rows)
        empty = [index for index, row in enumerate(rows.rows) if row.json == "{}"]
        fault = RowFault("invalid", "id", "the row is empty")
        return tuple(BadRow(index, (fault,)) for index in empty)

    async def _wait(self, key: tuple[str, str, str], timeout_ms: int) -> None:
        self._now(key)
        left = self._jobs[key][1] - time.monotonic()
        await asyncio.sleep(max(0.0, min(left, timeout_ms / 1000)))

    def _now(self, key: tuple[str, str, str]) -> JobView:
        if key not in self._jobs:
            raise NotFoundError(f"Not found: Job {key[1]}:{key[2]}")
        job, done_at = self._jobs[key]
        if time.monotonic() < done_at:
            return job
        error = job.error or (JobError.of(self._failure) if self._failure else None)
        ended = msgspec.structs.replace(job, state="DONE", error=error, ended=time.time())
        return ended if error else msgspec.structs.replace(ended, schema=_SCHEMA, total_rows=3)
