"""The end of a job that went well: its first rows are fetched and put on record."""

from __future__ import annotations

import time

import msgspec

from keystile.gate import records
from keystile.gate.jobs import Job, JobOutcome
from keystile.gate.pages import PageCache
from keystile.gate.recorder import Recorder
from keystile.gate.running import page_of
from keystile.gate.second_net import SecondNet
from keystile.upstream.accounts import Accounts
from keystile.upstream.values import JobStatus, Page

FIRST_PAGE_ROWS = 10_000
"""How many rows a page has at most."""

_WITH_THE_END = 500
_ONE_PAGE_BYTES = 8 << 20


class Outcomes:
    """Makes outcomes. INVARIANT: each is on record before anybody hears of it.

    With the end go few rows, so that they are soon there, or all of a result that clients expect on
    one page. The others are recorded when they are read.
    """

    def __init__(
        self, accounts: Accounts, recorder: Recorder, pages: PageCache, net: SecondNet
    ) -> None:
        """Keep the first rows in `pages`, as the second net gives them."""
        self.pages = pages
        self.net = net
        self._accounts = accounts
        self._recorder = recorder

    @staticmethod
    def rows_of(job: Job) -> int:
        """Say how many rows are wanted with the end: none where they go elsewhere first."""
        return 0 if job.request.transfer or job.request.into else _WITH_THE_END

    async def recorded(self, job: Job, status: JobStatus) -> JobOutcome:
        """Put the end of a job on record, and give its outcome.

        Raises `RefusedError` after five minutes of outage and where the second net keeps the rows
        back, and `RecordingUnavailableError`.
        """
        first = status.first or Page((), "", 0, ())
        if status.first is None and job.request.transfer is None:
            bigquery = self._accounts.at(job.account)
            first = await page_of(bigquery, job.reference, _WITH_THE_END)
        first = await self._one_page(job, first, status.total_rows)
        rows, findings = await self.net.caught(job, status.schema, first.rows)
        await self._recorder.record(records.done(job, status, rows, findings, time.time()))
        self.pages.keep(job, 0, rows)
        return JobOutcome(
            schema=status.schema,
            total_rows=status.total_rows,
            bytes_processed=status.bytes_processed,
            cache_hit=status.cache_hit,
            recorded_rows=len(rows),
            changed=status.changed,
            on_one_page=len(rows) >= status.total_rows,
            moved=status.moved,
            bytes_billed=status.bytes_billed,
        )

    async def _one_page(self, job: Job, first: Page, total: int) -> Page:
        """Fetch all rows of a result that seems to have its place on one page."""
        known = len(first.rows)
        bytes_so_far = sum(map(len, first.rows))
        if not known < total <= FIRST_PAGE_ROWS or bytes_so_far * total > _ONE_PAGE_BYTES * known:
            return first
        left = total - known
        bigquery = self._accounts.at(job.account)
        rest = await page_of(bigquery, job.reference, left, start_index=known)
        return msgspec.structs.replace(first, rows=first.rows + rest.rows)
