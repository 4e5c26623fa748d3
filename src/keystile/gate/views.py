"""What the owner of a job sees of it: its own text, never the rewritten one."""

from __future__ import annotations

from keystile.gate.jobs import Job, JobState
from keystile.gate.result_tables import result_table
from keystile.model.schema import Field, TableId
from keystile.wire.responses import JobView, RowsChanged

_WRITING = frozenset({"CREATE_TABLE_AS_SELECT", "DELETE", "INSERT", "MERGE", "UPDATE"})

_STATES = {
    JobState.PENDING: "PENDING",
    JobState.READY: "RUNNING",
    JobState.RUNNING: "RUNNING",
    JobState.DONE: "DONE",
}


def view_of(job: Job) -> JobView:
    """Give a job in the words of the API."""
    request, outcome = job.request, job.outcome
    dry_run = request.dry_run
    return JobView(
        project=request.project,
        # A dry run makes no job that could be asked for later.
        job_id=request.job_id if dry_run else job.job_id,
        location=job.location,
        owner=job.principal.agent,
        state=_STATES[job.state],
        sql=request.sql,
        created=job.created_at,
        started=job.created_at if dry_run else job.started_at,
        ended=job.created_at if dry_run else job.ended_at,
        error=job.error,
        statement=job.plan.facts.statement,
        dry_run=dry_run,
        bytes_processed=_bytes(job),
        bytes_billed=None if outcome is None or job.plan.hides_bytes else outcome.bytes_billed,
        total_rows=outcome.total_rows if outcome and not outcome.unread else None,
        schema=_schema(job),
        changed=_changed(job),
        cache_hit=bool(outcome and outcome.cache_hit),
        parameters=request.parameters,
        labels=request.labels,
        referenced=job.plan.facts.reads,
        destination=_destination(job),
        several_pages=_several_pages(job),
        default_project=request.default_project,
        default_dataset=request.default_dataset,
        use_query_cache=request.use_query_cache,
        maximum_bytes_billed=request.maximum_bytes_billed,
        parent=job.child.parent if job.child else "",
        frames=job.child.frames if job.child else (),
        children=job.children,
        transfer=request.transfer,
        moved=outcome.moved if outcome else {},
        into=request.into.configuration if request.into else {},
        optional=request.job_creation_optional,
        session=request.session,
    )


def _destination(job: Job) -> TableId | None:
    """Name the table that the job writes, or the one that stands for its result."""
    facts, outcome = job.plan.facts, job.outcome
    if job.request.into:
        return job.request.into.table
    if outcome is None or outcome.unread:
        return None
    if facts.statement in _WRITING and len(facts.writes) == 1:
        return facts.writes[0]
    return result_table(job) if facts.statement == "SELECT" else None


def _several_pages(job: Job) -> bool:
    """Tell whether the job's destination stands for a result that is more than one page."""
    outcome = job.outcome
    result = job.plan.facts.statement == "SELECT" and not job.request.into
    return result and outcome is not None and not outcome.on_one_page and not outcome.unread


def _bytes(job: Job) -> int | None:
    if job.plan.hides_bytes:
        return None
    if job.request.dry_run:
        return job.plan.bytes_estimate
    return job.outcome.bytes_processed if job.outcome else None


def _changed(job: Job) -> RowsChanged | None:
    """Tell how many rows a statement changed, unless it may have met rows that are filtered out.

    A condition on masked columns of the table that is changed is refused, so counts tell nothing of
    these.
    """
    if job.outcome is None or job.plan.decision.row_filters:
        return None
    return job.outcome.changed


def _schema(job: Job) -> tuple[Field, ...] | None:
    if job.outcome:
        return None if job.outcome.unread else job.outcome.schema
    return job.plan.schema if job.request.dry_run else None
