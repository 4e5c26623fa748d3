"""A job of the sandbox, and what is told of it."""

from __future__ import annotations

import asyncio
import hashlib
import time
from typing import Any

import msgspec

from keystile.model.errors import (
    KeystileError,
)
from keystile.model.schema import TableId
from keystile.sandbox.effects import Effects
from keystile.sandbox.plans import Plan
from keystile.sandbox.rights import results_dataset
from keystile.sandbox.store import LOCATION
from keystile.sandbox.transfer.outcome import Moved
from keystile.wire.requests import QueryRequest
from keystile.wire.responses import JobView, Resource


class Job:
    """A job and, once done, its rows with timestamps as microseconds.

    `moved` is what a load, copy or extract job tells of itself; a query has none. `told` is what
    jobs.get repeats of the query's configuration, `session` the id of its session.
    """

    def __init__(self, view: JobView) -> None:
        """Hold what is known at the start."""
        self.view = view
        self.rows: list[dict[str, Any]] = []
        self.effects = Effects()
        self.result: TableId | None = None
        self.content = b""
        self.moved: Moved | None = None
        self.told: Resource = {}
        self.session = ""
        self.failure: KeystileError | None = None
        self.task: asyncio.Task[None] | None = None


def view_of(request: QueryRequest, job_id: str, owner: str) -> JobView:
    """Say what is known of a job at its start."""
    return JobView(
        project=request.project,
        job_id=job_id,
        location=request.location or LOCATION,
        owner=owner,
        state="PENDING",
        sql=request.sql,
        created=time.time(),
        parameters=request.parameters,
        labels=request.labels,
        default_project=request.default_project,
        default_dataset=request.default_dataset,
        use_query_cache=request.use_query_cache,
        maximum_bytes_billed=request.maximum_bytes_billed,
        optional=request.job_creation_optional,
    )


def planned_view(view: JobView, plan: Plan) -> JobView:
    """Say what is known of a job once it is planned."""
    return msgspec.structs.replace(
        view,
        statement=plan.statement,
        schema=None if plan.statement == "SCRIPT" else plan.fields,
        referenced=plan.tables,
        bytes_processed=plan.bytes_processed,
        bytes_billed=plan.bytes_billed,
    )


def anonymous(view: JobView) -> TableId:
    """Name the result as BigQuery does: a hidden dataset of the account, a table of the job."""
    table = hashlib.sha256(view.job_id.encode()).hexdigest()[:40]
    return TableId(view.project, results_dataset(view.project, view.owner), f"anon{table}")
