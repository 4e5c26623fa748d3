"""Reading a finished job's rows, page by page."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

import msgspec

from keystile.gate import records
from keystile.gate.budgets import most_rows
from keystile.gate.job_store import JobStore
from keystile.gate.jobs import Job, JobOutcome
from keystile.gate.looking import Caught
from keystile.gate.outcomes import FIRST_PAGE_ROWS, Outcomes
from keystile.gate.pages import start_of, token_for
from keystile.gate.recorder import Recorder
from keystile.gate.views import view_of
from keystile.gate.witness import agree_at_the_end
from keystile.model.errors import KeystileError, LimitError, NotFoundError
from keystile.model.schema import Field
from keystile.telemetry.metrics import Metrics, Phase
from keystile.upstream.accounts import Accounts
from keystile.wire.requests import PageRequest
from keystile.wire.responses import ResultsView

_TIMES = frozenset({"TIMESTAMP", "RANGE"})


class ResultReader:
    """Gives pages of results. Who may read a job is for the caller to know."""

    def __init__(
        self,
        jobs: JobStore,
        accounts: Accounts,
        recorder: Recorder,
        outcomes: Outcomes,
        metrics: Metrics,
    ) -> None:
        """Read from BigQuery what the pages of `outcomes` do not hold."""
        self._jobs = jobs
        self._accounts = accounts
        self._recorder = recorder
        self._pages = outcomes.pages
        self._outcomes = outcomes
        self._metrics = metrics

    async def page(self, job: Job, page: PageRequest) -> ResultsView:
        """Give a page of a job, without rows where it has none.

        INVARIANT: a row is on record before it is given. Raises `InvalidRequestError` for a page
        token of another job, and `LimitError` for rows behind those that a limit leaves.
        """
        if job.outcome is None:
            return ResultsView(view_of(job))
        outcome = job.outcome
        if outcome.unread:
            outcome = await self._first_read(job)
            job = msgspec.structs.replace(job, outcome=outcome)
        start = start_of(job, page.page_token) if page.page_token else page.start_index or 0
        try:
            most_rows(job, start)
        except LimitError as error:
            self._metrics.limit_refusals.labels(error.reason).inc()
            now = time.time()
            refused = records.refused(job.principal, job.request, error, job.plan, now)
            await self._recorder.record(refused)
            raise
        pieces = self._recorded(job, start, page)
        with self._metrics.query_seconds.labels(Phase.READ).time():
            first, last = await anext(pieces)
        return first if last else msgspec.structs.replace(first, rest=_views(pieces))

    async def _first_read(self, job: Job) -> JobOutcome:
        """Put the end of a script's statement on record, whose rows nobody has asked for before.

        Raises `NotFoundError` where BigQuery has them no more, and `RefusedError` where they are
        not what was decided on.
        """
        try:
            status = await self._accounts.at(job.account).wait(job.reference, 0)
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

    async def _recorded(
        self, job: Job, start: int, page: PageRequest
    ) -> AsyncGenerator[tuple[ResultsView, bool]]:
        """Give a page in pieces, each on record by then; each tells whether it is the last."""
        view, outcome, end = view_of(job), _outcome(job), start
        async with aclosing(_ahead(self._arriving(job, start, page))) as arriving:
            async for caught, last in arriving:
                begin, end = end, end + len(caught.rows)
                if end > outcome.recorded_rows:
                    await self._recorder.record(records.page(job, begin, caught, time.time()))
                if last and start <= outcome.recorded_rows < end:
                    wider = msgspec.structs.replace(outcome, recorded_rows=end)
                    await self._jobs.widen_record(job, wider)
                more = last and start < end < outcome.total_rows
                token = token_for(job, end) if more else ""
                yield ResultsView(view, caught.rows, token, start), last

    async def _arriving(
        self, job: Job, start: int, page: PageRequest
    ) -> AsyncGenerator[tuple[Caught, bool]]:
        """Give a page's rows in pieces: those that are kept, and the others as BigQuery sends them.

        The last piece is told to be that. INVARIANT: a piece has whole rows, so no value that the
        second net looks for stands half in one and half in another.
        """
        outcome, wanted = _outcome(job), FIRST_PAGE_ROWS
        if page.max_results is not None:
            wanted = min(page.max_results, FIRST_PAGE_ROWS)
        most = most_rows(job, start)
        left = min(wanted, (outcome.total_rows if most is None else most) - start)
        left = min(left, outcome.total_rows - start)
        alike = page.use_int64_timestamp or not _has_times(outcome.schema)
        kept = self._pages.get(job, start) if alike else ()
        if left <= len(kept):
            yield Caught(kept[: max(left, 0)]), True
            return
        if kept:
            yield Caught(kept), False
        pieces = self._accounts.at(job.account).pieces(
            job.reference,
            start_index=start + len(kept),
            max_results=left - len(kept),
            use_int64_timestamp=page.use_int64_timestamp,
        )
        async with aclosing(pieces):
            async for rows, last in pieces:
                yield await self._outcomes.net.caught(job, outcome.schema, rows), last


async def _ahead(
    pieces: AsyncGenerator[tuple[Caught, bool]],
) -> AsyncGenerator[tuple[Caught, bool]]:
    """Have the next piece come while one is recorded and sent."""
    async with aclosing(pieces):
        coming = asyncio.ensure_future(anext(pieces, None))
        try:
            while piece := await coming:
                coming = asyncio.ensure_future(anext(pieces, None))
                yield piece
        finally:
            coming.cancel()
            with suppress(asyncio.CancelledError, KeystileError):
                await coming


async def _views(
    pieces: AsyncGenerator[tuple[ResultsView, bool]],
) -> AsyncGenerator[ResultsView]:
    async with aclosing(pieces):
        async for view, _ in pieces:
            yield view


def _outcome(job: Job) -> JobOutcome:
    if job.outcome is None:
        raise AssertionError  # nobody reads rows of a job without
    return job.outcome


def _has_times(fields: tuple[Field, ...]) -> bool:
    """Tell whether any cell is a time that BigQuery writes in two ways, as the client asks."""
    return any(field.type in _TIMES or _has_times(field.fields) for field in fields)
