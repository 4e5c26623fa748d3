"""Reading a finished job's rows, page by page."""

from __future__ import annotations

import time

import msgspec

from keystile.gate import records
from keystile.gate.jobs import Job, JobOutcome, JobStore
from keystile.gate.outcomes import FIRST_PAGE_ROWS, Outcomes
from keystile.gate.pages import Rows, start_of, token_for
from keystile.gate.recorder import Recorder
from keystile.gate.views import view_of
from keystile.gate.witness import agree_at_the_end
from keystile.model.errors import NotFoundError
from keystile.model.schema import Field
from keystile.telemetry.metrics import Metrics, Phase
from keystile.upstream.bigquery import BigQuery
from keystile.wire.requests import PageRequest
from keystile.wire.responses import ResultsView

_TIMES = frozenset({"TIMESTAMP", "RANGE"})


class ResultReader:
    """Gives pages of results. Who may read a job is for the caller to know."""

    def __init__(
        self,
        jobs: JobStore,
        bigquery: BigQuery,
        recorder: Recorder,
        outcomes: Outcomes,
        metrics: Metrics,
    ) -> None:
        """Read from BigQuery what the pages of `outcomes` do not hold."""
        self._jobs = jobs
        self._bigquery = bigquery
        self._recorder = recorder
        self._pages = outcomes.pages
        self._outcomes = outcomes
        self._metrics = metrics

    async def page(self, job: Job, page: PageRequest) -> ResultsView:
        """Give a page of a job, without rows where it has none.

        INVARIANT: a row is on record before it is given. Raises `InvalidRequestError` for a page
        token of another job.
        """
        if job.outcome is None:
            return ResultsView(view_of(job))
        outcome = job.outcome
        if outcome.unread:
            outcome = await self._first_read(job)
            job = msgspec.structs.replace(job, outcome=outcome)
        start = start_of(job, page.page_token) if page.page_token else page.start_index or 0
        with self._metrics.query_seconds.labels(Phase.READ).time():
            rows = await self._rows(job, start, page) if start < outcome.total_rows else ()
        end = start + len(rows)
        more = bool(rows) and end < outcome.total_rows
        return ResultsView(view_of(job), rows, token_for(job, end) if more else "")

    async def _first_read(self, job: Job) -> JobOutcome:
        """Put the end of a script's statement on record, whose rows nobody has asked for before.

        Raises `NotFoundError` where BigQuery has them no more, and `RefusedError` where they are
        not what was decided on.
        """
        try:
            status = await self._bigquery.wait(job.reference, 0)
            if status.error:
                raise status.error
            agree_at_the_end(job.plan.facts, job.plan.schema, status.schema)
            await self._recorder.record(records.intent(job, time.time()))
            outcome = await self._outcomes.recorded(job, status)
        except NotFoundError as error:
            message = f"Not found: the rows of Job {job.request.project}:{job.job_id}"
            raise NotFoundError(message, hint="run the script again") from error
        await self._jobs.widen_record(job, outcome)
        return outcome

    async def _rows(self, job: Job, start: int, page: PageRequest) -> Rows:
        wanted = FIRST_PAGE_ROWS
        if page.max_results is not None:
            wanted = min(page.max_results, FIRST_PAGE_ROWS)
        if not wanted:
            return ()
        alike = page.use_int64_timestamp or not (job.outcome and _has_times(job.outcome.schema))
        kept = self._pages.get(job, start) if alike else None
        if kept is not None:
            rows = kept[:wanted]
        else:
            fetched = await self._bigquery.rows(
                job.reference,
                start_index=start,
                max_results=wanted,
                use_int64_timestamp=page.use_int64_timestamp,
            )
            rows = fetched.rows
        await self._put_on_record(job, start, rows)
        return rows

    async def _put_on_record(self, job: Job, start: int, rows: Rows) -> None:
        end = start + len(rows)
        if job.outcome and end <= job.outcome.recorded_rows:
            return
        outcome = (await self._jobs.get(job.id)).outcome
        if outcome is None or end <= outcome.recorded_rows:
            return
        await self._recorder.record(records.page(job, start, rows, time.time()))
        if start <= outcome.recorded_rows:
            await self._jobs.widen_record(job, msgspec.structs.replace(outcome, recorded_rows=end))


def _has_times(fields: tuple[Field, ...]) -> bool:
    """Tell whether any cell is a time that BigQuery writes in two ways, as the client asks."""
    return any(field.type in _TIMES or _has_times(field.fields) for field in fields)
