"""The gate as the API sees it: queries in, jobs and rows out, each only for its owner."""

from __future__ import annotations

import time

import msgspec

from keystile.gate import records
from keystile.gate.duties import Duties
from keystile.gate.jobs import Job, JobState, JobStore
from keystile.gate.metadata import Metadata
from keystile.gate.pages import PageCache, Rows, start_of, token_for
from keystile.gate.pipeline import FIRST_PAGE_ROWS, Pipeline
from keystile.gate.recorder import Recorder
from keystile.gate.views import view_of
from keystile.model.errors import NotFoundError
from keystile.model.principal import Principal
from keystile.telemetry.metrics import Metrics, Phase
from keystile.upstream.bigquery import BigQuery
from keystile.upstream.values import JobRef
from keystile.wire.requests import PageRequest, QueryRequest
from keystile.wire.responses import JobView, Resource, ResultsView


class Gate:
    """Implements `api.ports.Gate`."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts that the methods below stand on
        self,
        pipeline: Pipeline,
        duties: Duties,
        jobs: JobStore,
        bigquery: BigQuery,
        recorder: Recorder,
        pages: PageCache,
        metadata: Metadata,
        metrics: Metrics,
    ) -> None:
        """Wire the parts together."""
        self._pipeline = pipeline
        self._duties = duties
        self._jobs = jobs
        self._bigquery = bigquery
        self._recorder = recorder
        self._pages = pages
        self._metadata = metadata
        self._metrics = metrics

    async def query(self, principal: Principal, request: QueryRequest) -> JobView:
        """Plan and start a query, and wait for it up to `request.timeout_ms`.

        The same `requestId` within 15 minutes gives the job that it started before.
        """
        job = None
        if request.request_id:
            job = await self._jobs.by_request(
                principal.key, request.project, request.request_id, time.time()
            )
        if job is None:
            job = await self._accepted(principal, request)
        return view_of(await self._duties.wait(job, request.timeout_ms / 1000))

    async def insert(self, principal: Principal, request: QueryRequest) -> JobView:
        """Plan and start a query without waiting for its end."""
        return view_of(await self._accepted(principal, request))

    async def job(self, principal: Principal, project: str, job_id: str) -> JobView:
        """Give the principal's job as it stands. Raises `NotFoundError`."""
        return view_of(await self._jobs.owned(principal.key, project, job_id))

    async def results(
        self, principal: Principal, project: str, job_id: str, page: PageRequest
    ) -> ResultsView:
        """Wait for a job up to `page.timeout_ms`, then give a page of its rows.

        INVARIANT: a row is on record before it is given.
        """
        job = await self._jobs.owned(principal.key, project, job_id)
        job = await self._duties.wait(job, page.timeout_ms / 1000)
        if job.outcome is None:
            return ResultsView(view_of(job))
        start = start_of(job, page.page_token) if page.page_token else page.start_index or 0
        with self._metrics.query_seconds.labels(Phase.READ).time():
            rows = await self._rows(job, start, page)
        end = start + len(rows)
        more = bool(rows) and end < job.outcome.total_rows
        return ResultsView(view_of(job), rows, token_for(job, end) if more else "")

    async def cancel(self, principal: Principal, project: str, job_id: str) -> JobView:
        """Ask for a job's end. A job that waits for people ends at once."""
        job = await self._jobs.owned(principal.key, project, job_id)
        if job.state is JobState.PENDING:
            await self._duties.withdraw(job)
        elif job.state is not JobState.DONE:
            await self._cancel_upstream(job)
        return view_of(await self._jobs.get(job.id))

    async def datasets(self, principal: Principal, project: str, page: PageRequest) -> Resource:
        """Give the answer of datasets.list."""
        return await self._metadata.datasets(principal, project, page)

    async def dataset(self, principal: Principal, project: str, dataset: str) -> Resource:
        """Give the answer of datasets.get."""
        return await self._metadata.dataset(principal, project, dataset)

    async def tables(
        self, principal: Principal, project: str, dataset: str, page: PageRequest
    ) -> Resource:
        """Give the answer of tables.list."""
        return await self._metadata.tables(principal, project, dataset, page)

    async def table(self, principal: Principal, project: str, dataset: str, table: str) -> Resource:
        """Give the answer of tables.get."""
        return await self._metadata.table(principal, project, dataset, table)

    async def _accepted(self, principal: Principal, request: QueryRequest) -> Job:
        job, query = await self._pipeline.accept(principal, request)
        if query is not None:
            self._duties.carry(job, query)
        return job

    async def _rows(self, job: Job, start: int, page: PageRequest) -> Rows:
        wanted = min(page.max_results or FIRST_PAGE_ROWS, FIRST_PAGE_ROWS)
        kept = self._pages.get(job, start) if page.use_int64_timestamp else None
        if kept is not None:
            rows = kept[:wanted]
        else:
            fetched = await self._bigquery.rows(
                JobRef(job.request.project, job.upstream_id, job.location),
                start_index=start,
                max_results=wanted,
                use_int64_timestamp=page.use_int64_timestamp,
            )
            rows = fetched.rows
        await self._put_on_record(job, start, rows)
        return rows

    async def _put_on_record(self, job: Job, start: int, rows: Rows) -> None:
        outcome = (await self._jobs.get(job.id)).outcome
        end = start + len(rows)
        if outcome is None or end <= outcome.recorded_rows:
            return
        await self._recorder.record(records.page(job, start, rows, time.time()))
        if start <= outcome.recorded_rows:
            await self._jobs.widen_record(job, msgspec.structs.replace(outcome, recorded_rows=end))

    async def _cancel_upstream(self, job: Job) -> None:
        try:
            await self._bigquery.cancel(JobRef(job.request.project, job.upstream_id, job.location))
        except NotFoundError:
            # Not sent yet: it ends by itself, and the client may ask again.
            return
