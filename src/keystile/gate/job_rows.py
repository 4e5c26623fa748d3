"""A job as a row of the jobs table, and back."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Row

from keystile.gate.jobs import Child, Job, JobOutcome, JobState
from keystile.gate.plan import Plan
from keystile.model.principal import Principal
from keystile.wire.requests import QueryRequest
from keystile.wire.responses import JobError


def row_of(job: Job) -> dict[str, Any]:
    """Give what a job that has been accepted is in the table."""
    return {
        "id": job.id,
        "owner": job.principal.key,
        "project": job.request.project,
        "job_id": job.job_id,
        "request_id": job.request.request_id,
        "location": job.location,
        "session": job.principal.session,
        "principal": text(job.principal),
        "request": text(job.request),
        "plan": text(job.plan),
        "state": job.state.value,
        "created_at": job.created_at,
    }


def end_of(child: Job) -> dict[str, Any]:
    """Give what the end of a script's statement is in the table."""
    return {
        "started_at": child.started_at,
        "ended_at": child.ended_at,
        "error": text(child.error) if child.error else None,
        "outcome": text(child.outcome) if child.outcome else None,
        "parent": child.child.parent if child.child else "",
        "child": text(child.child),
    }


def job_of(row: Row[Any]) -> Job:
    """Read a row of the jobs table."""
    return Job(
        id=row.id,
        principal=msgspec.json.decode(row.principal, type=Principal),
        request=msgspec.json.decode(row.request, type=QueryRequest),
        plan=msgspec.json.decode(row.plan, type=Plan),
        job_id=row.job_id,
        location=row.location,
        state=JobState(row.state),
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        error=msgspec.json.decode(row.error, type=JobError) if row.error else None,
        outcome=msgspec.json.decode(row.outcome, type=JobOutcome) if row.outcome else None,
        child=msgspec.json.decode(row.child, type=Child) if row.child else None,
        children=row.children,
    )


def text(value: object) -> str:
    """Write a value for a column of the table."""
    return msgspec.json.encode(value).decode()
