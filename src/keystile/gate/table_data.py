"""The rows of a table, without SQL: tabledata.list.

Listing a table is `SELECT` of the same columns in all but name: the same analysis, decision, masks,
approval and record, and a job like any other. Pages are pages of that job's result.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

import msgspec

from keystile.analysis.text import quoted
from keystile.gate.duties import Duties
from keystile.gate.jobs import Job, JobState
from keystile.gate.own_jobs import OwnJobs
from keystile.gate.pages import job_of_token
from keystile.gate.reading import ResultReader
from keystile.gate.result_tables import ResultTables
from keystile.gate.visible import VisibleObjects, is_plain, not_found
from keystile.model.decision import Effect
from keystile.model.errors import InvalidRequestError, RefusedError
from keystile.model.principal import Principal
from keystile.model.schema import Field, TableId, TableKind
from keystile.policy.context import Context
from keystile.policy.policy import Policy
from keystile.upstream.bigquery import BigQuery
from keystile.wire.cells import only_columns
from keystile.wire.requests import PageRequest, QueryRequest
from keystile.wire.responses import ResultsView

_WAIT_SECONDS = 50.0
"""How long one request waits for the rows: there is no answer that says "not yet"."""

_KEPT_SECONDS = 15 * 60
"""How long a client may ask again for rows that came when it had left."""


class TableData:
    """Answers tabledata.list."""

    def __init__(  # noqa: PLR0913, PLR0917 - what a listing goes through
        self,
        duties: Duties,
        jobs: OwnJobs,
        results: ResultTables,
        reader: ResultReader,
        bigquery: BigQuery,
        policy: Callable[[], Policy],
    ) -> None:
        """Wire the parts together."""
        self._duties = duties
        self._jobs = jobs
        self._results = results
        self._reader = reader
        self._bigquery = bigquery
        self._policy = policy

    async def rows(self, principal: Principal, table: TableId, page: PageRequest) -> ResultsView:
        """Give a page of a table that the agent may read, or of a result of its own.

        A job that failed is given with its error. Raises `NotFoundError` for a table that is
        hidden or absent, `RefusedError` where policy says so or the rows are not there yet.
        """
        job = await self._results.job(principal.key, table)
        if job is not None:
            return await self._of_result(job, page)
        sql = await self._query(principal, table, page.selected_fields)
        if page.page_token:
            job = await self._begun(principal, sql, page.page_token)
        else:
            job = await self._left(principal, table, sql) or await self._duties.accept(
                principal, QueryRequest(sql, table.project, job_id=f"{_prefix(sql)}{uuid4().hex}")
            )
        job = await self._duties.wait(job, _WAIT_SECONDS)
        if job.state is not JobState.DONE:
            raise _not_yet(job, table)
        return await self._reader.page(job, page)

    async def _of_result(self, job: Job, page: PageRequest) -> ResultsView:
        given = await self._reader.page(job, page)
        fields = given.job.schema or ()
        wanted = set(_chosen(fields, page.selected_fields))
        if not wanted:
            return given
        places = [at for at, field in enumerate(fields) if field.name in wanted]
        return msgspec.structs.replace(given, rows=only_columns(given.rows, places))

    async def _query(self, principal: Principal, table: TableId, fields: tuple[str, ...]) -> str:
        """Write the query that a listing is. Cells come in the order of the schema."""
        context = Context(table.project, datetime.now(UTC))
        objects = VisibleObjects(self._bigquery, self._policy(), principal, context)
        if not is_plain(table):
            raise not_found(table)
        found = await objects.table(table)
        if found.kind not in {TableKind.TABLE, TableKind.SNAPSHOT}:
            raise InvalidRequestError(
                f"Cannot list a table of type {found.kind}", hint="query it with SELECT instead"
            )
        names = ", ".join(quoted(name) for name in _chosen(found.fields, fields))
        path = ".".join(quoted(part) for part in (table.project, table.dataset, table.table))
        return f"SELECT {names or '*'} FROM {path}"  # noqa: S608 - every name stands in backticks

    async def _begun(self, principal: Principal, sql: str, token: str) -> Job:
        job = await self._jobs.by_id(principal.key, job_of_token(token))
        if job is None or job.request.sql != sql:
            raise InvalidRequestError("`pageToken` belongs to another table or other columns")
        return job

    async def _left(self, principal: Principal, table: TableId, sql: str) -> Job | None:
        """Give the job of the same listing that the client gave up waiting for, if there is one."""
        job = await self._jobs.newest(principal.key, table.project, _prefix(sql))
        if job is None or job.request.sql != sql:
            return None
        now = time.time()
        waited = (job.ended_at or now) - job.created_at > _WAIT_SECONDS
        asks = job.plan.decision.effect is Effect.REQUIRE_APPROVAL
        fresh = job.ended_at is None or job.ended_at > now - _KEPT_SECONDS
        return job if (waited or asks) and fresh else None


def _chosen(fields: tuple[Field, ...], wanted: tuple[str, ...]) -> list[str]:
    """Give the names of the chosen columns in the order of the schema; empty for all."""
    known = {field.name.lower(): field.name for field in fields}
    chosen = set()
    for name in wanted:
        if name.lower() not in known:
            message = f"`selectedFields` names `{name[:100]}`, which is no column"
            raise InvalidRequestError(
                message, hint="name whole columns; for a part of one, use a query"
            )
        chosen.add(known[name.lower()])
    return [field.name for field in fields if field.name in chosen]


def _prefix(sql: str) -> str:
    """Begin the ids of all jobs that are the same listing."""
    return f"rows{hashlib.sha256(sql.encode()).hexdigest()[:32]}x"


def _not_yet(job: Job, table: TableId) -> RefusedError:
    why = "waits for approval" if job.state is JobState.PENDING else "still runs"
    return RefusedError(
        f"reading `{table}` {why} as job `{job.job_id}`",
        hint="ask again in a while: the same request then gives the rows",
    )
