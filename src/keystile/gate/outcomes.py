"""The end of a job that went well: its first rows are fetched and put on record."""

from __future__ import annotations

import time

from keystile.gate import records
from keystile.gate.jobs import Job, JobOutcome
from keystile.gate.pages import PageCache
from keystile.gate.recorder import Recorder
from keystile.gate.running import first_page
from keystile.upstream.bigquery import BigQuery
from keystile.upstream.values import JobStatus, Page

FIRST_PAGE_ROWS = 10_000
"""How many rows of a result are recorded, and kept ready, when its job ends."""


class Outcomes:
    """Makes outcomes. INVARIANT: each is on record before anybody hears of it."""

    def __init__(self, bigquery: BigQuery, recorder: Recorder, pages: PageCache) -> None:
        """Keep the first rows in `pages`."""
        self.pages = pages
        self._bigquery = bigquery
        self._recorder = recorder

    @staticmethod
    def rows_of(job: Job) -> int:
        """Say how many rows are wanted with the end: none where they go elsewhere first."""
        return 0 if job.request.transfer or job.request.into else FIRST_PAGE_ROWS

    async def recorded(self, job: Job, status: JobStatus) -> JobOutcome:
        """Put the end of a job on record, and give its outcome.

        Raises `RefusedError` after five minutes of outage, and `RecordingUnavailableError`.
        """
        first = status.first or Page((), "", 0, ())
        if status.first is None and job.request.transfer is None:
            first = await first_page(self._bigquery, job.reference, FIRST_PAGE_ROWS)
        await self._recorder.record(records.done(job, status, first, time.time()))
        self.pages.keep(job, 0, first.rows)
        return JobOutcome(
            schema=status.schema,
            total_rows=status.total_rows,
            bytes_processed=status.bytes_processed,
            cache_hit=status.cache_hit,
            recorded_rows=len(first.rows),
            changed=status.changed,
            on_one_page=len(first.rows) >= status.total_rows,
            moved=status.moved,
        )
