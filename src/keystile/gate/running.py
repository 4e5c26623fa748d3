"""Have BigQuery run a job, at most once, through its outages."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from contextlib import suppress
from uuid import uuid4

from keystile.gate.into import writing
from keystile.gate.job_store import JobStore
from keystile.gate.jobs import Job, JobState
from keystile.model.errors import KeystileError, NotFoundError, RefusedError
from keystile.telemetry.logs import logger
from keystile.upstream.bigquery import BigQuery
from keystile.upstream.values import JobRef, JobStatus, Page, UpstreamQuery
from keystile.wire.into import Into

_POLL_SECONDS = 10.0
_OUTAGE_SECONDS = 300.0
_RETRY_SECONDS = 1.0
_NOTED_AFTER_SECONDS = 0.05
_ABORT_SECONDS = 10.0
_SESSION_ID = re.compile(r"[A-Za-z0-9_=+/-]{1,1024}")

_log = logger("gate")


async def run_to_end(
    bigquery: BigQuery, jobs: JobStore, job: Job, query: UpstreamQuery | None, *, rows: int = 0
) -> JobStatus:
    """Start the job, unless `query` is None because it is started, and wait for its end.

    So many `rows` of its result come with it. Raises BigQuery's own error when it does not take the
    job, and `RefusedError` when it cannot be reached for five minutes.
    """
    reference = job.reference
    if query is not None:
        await _start(bigquery, query, reference)
    end = asyncio.ensure_future(_end(bigquery, reference, rows))
    try:
        # Until it is noted the job stands as one that may be started, which is as good: most end
        # before it would be written.
        await asyncio.wait([end], timeout=_NOTED_AFTER_SECONDS)
        if not end.done():
            now = job.started_at or time.time()
            await jobs.move(job, state=JobState.RUNNING, started_at=now)
        return await end
    finally:
        end.cancel()


async def write_result(
    bigquery: BigQuery, job: Job, into: Into, status: JobStatus, most_billed: int | None = None
) -> JobStatus:
    """Write a finished query's result where its client wants it, and wait for the end of that.

    It is billed for `most_billed` bytes at most. May be done again: nothing is written twice.
    Raises as `run_to_end` does.
    """
    await _start(bigquery, writing(job, into, status, most_billed), job.writing)
    return await _end(bigquery, job.writing)


async def open_session(
    bigquery: BigQuery, project: str, location: str, labels: dict[str, str]
) -> str:
    """Begin a session at BigQuery, and give BigQuery's id of it. Raises as `run_to_end` does."""
    query = UpstreamQuery(
        project=project,
        sql="SELECT 1",
        location=location,
        labels=labels,
        use_query_cache=False,
        creates_session=True,
    )
    reference = JobRef(project, f"keystile_session_{uuid4().hex}", location, moves=True)
    await _start(bigquery, query, reference)
    status = await _end(bigquery, reference)
    if status.error is not None or not status.session:
        raise status.error or RefusedError("BigQuery began no session")
    return status.session


async def abort_session(bigquery: BigQuery, project: str, location: str, session: str) -> None:
    """End a session at BigQuery, with all that runs and is kept in it, as its own account.

    One that BigQuery does not know, or will not end, has ended or ends by itself. Raises
    `RefusedError` for an outage.
    """
    # BigQuery's ids of sessions are base64; nothing else may get into the text.
    if not _SESSION_ID.fullmatch(session):
        return
    name = hashlib.sha256(session.encode()).hexdigest()[:32]
    sql = f"CALL BQ.ABORT_SESSION('{session}')"
    query = UpstreamQuery(project=project, sql=sql, location=location, use_query_cache=False)
    reference = JobRef(project, f"keystile_abort_{name}", location, moves=True)
    try:
        await bigquery.start(query, reference.job)
        status = await bigquery.wait(reference, _ABORT_SECONDS)
    except RefusedError:
        raise
    except KeystileError as error:
        _log.warning("session_not_aborted", reason=str(error))
        return
    if not status.done:
        raise RefusedError("BigQuery has not ended the session yet")
    if status.error is not None:
        _log.warning("session_not_aborted", reason=str(status.error))


async def cancel(bigquery: BigQuery, job: Job) -> bool:
    """Ask BigQuery to stop a job; tells whether it knows the job. Raises as `BigQuery.cancel`."""
    known = False
    for reference in (job.reference, *([job.writing] if job.request.into else [])):
        # What is not sent yet ends by itself, and the client may ask again.
        with suppress(NotFoundError):
            await bigquery.cancel(reference)
            known = True
    return known


async def is_started(bigquery: BigQuery, reference: JobRef) -> bool:
    """Ask whether BigQuery has a job. Raises `RefusedError` after five minutes of outage."""
    deadline = time.monotonic() + _OUTAGE_SECONDS
    while True:
        try:
            await bigquery.wait(reference, 0)
        except NotFoundError:
            return False
        except RefusedError:
            # INVARIANT: a job that may have started is never reported as one that did not.
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(_RETRY_SECONDS)
        else:
            return True


async def page_of(
    bigquery: BigQuery, reference: JobRef, max_results: int, *, start_index: int = 0
) -> Page:
    """Fetch a finished job's rows. Raises `RefusedError` after five minutes of outage."""
    deadline = time.monotonic() + _OUTAGE_SECONDS
    while True:
        try:
            return await bigquery.rows(
                reference,
                start_index=start_index,
                max_results=max_results,
                use_int64_timestamp=True,
            )
        except RefusedError:
            # INVARIANT: what has run, and may have written, is not called failed for an outage.
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(_RETRY_SECONDS)


async def _end(bigquery: BigQuery, reference: JobRef, rows: int = 0) -> JobStatus:
    """Wait for a job's end. Raises `RefusedError` after five minutes of outage."""
    deadline = time.monotonic() + _OUTAGE_SECONDS
    while True:
        try:
            status = await bigquery.wait(reference, _POLL_SECONDS, rows=rows)
        except RefusedError:
            # An outage says nothing of the job: it runs on there, so wait for it.
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(_RETRY_SECONDS)
            continue
        deadline = time.monotonic() + _OUTAGE_SECONDS
        if status.done:
            return status


async def _start(bigquery: BigQuery, query: UpstreamQuery, reference: JobRef) -> None:
    """Start a job; where the answer was lost, find out whether BigQuery has it."""
    try:
        await bigquery.start(query, reference.job)
    except RefusedError:
        if not await is_started(bigquery, reference):
            raise
