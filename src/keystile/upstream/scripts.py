"""The jobs that BigQuery makes of a script's statements and expressions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any

import msgspec

from keystile.upstream.answers import JobReference, JobState, QueryStatistics
from keystile.upstream.errors import from_job
from keystile.upstream.transport import Call
from keystile.upstream.values import JobRef, ScriptJob
from keystile.wire.scripts import StackFrame

MOST_LISTED = 1000
"""How many of a script's jobs are asked for, the newest first."""


class _Frame(msgspec.Struct, frozen=True, rename="camel"):
    start_line: int = 0
    start_column: int = 0
    end_line: int = 0
    end_column: int = 0
    text: str = ""
    procedure_id: str = ""


class _ScriptStatistics(msgspec.Struct, frozen=True, rename="camel"):
    evaluation_kind: str = ""
    stack_frames: tuple[_Frame, ...] = ()


class _Statistics(msgspec.Struct, frozen=True, rename="camel"):
    query: QueryStatistics = QueryStatistics()
    parent_job_id: str = ""
    script_statistics: _ScriptStatistics = _ScriptStatistics()
    creation_time: float = 0
    start_time: float = 0
    end_time: float = 0


class _Query(msgspec.Struct, frozen=True):
    query: str = ""


class _Configuration(msgspec.Struct, frozen=True):
    query: _Query = _Query()


class _Listed(msgspec.Struct, frozen=True, rename="camel"):
    job_reference: JobReference
    status: JobState
    statistics: _Statistics = _Statistics()
    configuration: _Configuration = _Configuration()


class JobsAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """`jobs.list` of one script."""

    jobs: tuple[_Listed, ...] = ()
    next_page_token: str = ""


async def script_jobs(
    script: JobRef, ask: Callable[[Call], Awaitable[JobsAnswer]], secrets: Collection[str]
) -> tuple[ScriptJob, ...]:
    """Give the newest `MOST_LISTED` jobs of a script, the oldest first.

    INVARIANT: each of them says itself that it is of this script.
    """
    path, token = ("projects", script.project, "jobs"), ""
    found: list[_Listed] = []
    while len(found) < MOST_LISTED:
        query = {"parentJobId": script.job, "projection": "full", "maxResults": str(MOST_LISTED)}
        answer = await ask(Call("GET", path, query | ({"pageToken": token} if token else {})))
        found += [job for job in answer.jobs if job.statistics.parent_job_id == script.job]
        token = answer.next_page_token
        if not token:
            break
    return tuple(_script_job(script, job, secrets) for job in reversed(found[:MOST_LISTED]))


def _script_job(script: JobRef, listed: _Listed, secrets: Collection[str]) -> ScriptJob:
    statistics, told = listed.statistics, listed.statistics.script_statistics
    result: dict[str, Any] | None = listed.status.error_result
    location = listed.job_reference.location or script.location
    return ScriptJob(
        job=JobRef(script.project, listed.job_reference.job_id, location),
        done=listed.status.state == "DONE",
        error=from_job(result, secrets) if result else None,
        sql=listed.configuration.query.query,
        statement=told.evaluation_kind == "STATEMENT",
        frames=tuple(
            StackFrame(
                (frame.start_line, frame.start_column),
                (frame.end_line, frame.end_column),
                frame.text,
                frame.procedure_id,
            )
            for frame in told.stack_frames
        ),
        statement_type=statistics.query.statement_type,
        bytes_processed=statistics.query.total_bytes_processed,
        bytes_billed=statistics.query.total_bytes_billed or 0,
        cache_hit=statistics.query.cache_hit,
        changed=statistics.query.changed,
        created=statistics.creation_time / 1000,
        started=statistics.start_time / 1000,
        ended=statistics.end_time / 1000,
    )
