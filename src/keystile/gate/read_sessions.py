"""Read sessions: a table's rows, or a result's, for the Storage Read API.

Nothing of that API goes upstream. A session on a table is the `SELECT` that it stands for, under
the same analysis, decision, masks, approval and record, and a job like any other; a session's rows
are that job's. So a condition sees the masks, and any replica can read on where another stopped.
"""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections.abc import Sequence

import msgspec

from keystile.gate.by_statement import ByStatement
from keystile.gate.jobs import Job
from keystile.gate.own_jobs import OwnJobs
from keystile.gate.reading import ResultReader
from keystile.gate.result_tables import ResultTables
from keystile.gate.table_data import TableData, chosen
from keystile.googlesql.task import TaskRunner
from keystile.masking.filters import PROBLEMS, Predicates
from keystile.model.errors import InvalidRequestError, NotFoundError
from keystile.model.principal import Principal
from keystile.model.schema import Field
from keystile.wire.cells import only_columns
from keystile.wire.read_sessions import SESSION_SECONDS, ReadRequest, ReadSession
from keystile.wire.requests import PageRequest, QueryRequest
from keystile.wire.responses import Row

_NAME = re.compile(r"projects/([^/]+)/locations/[^/]+/sessions/([A-Za-z0-9_=-]+)")


class _Named(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a session's name says. It grants nothing: whoever uses it must own the job.

    `columns` is a number in hexadecimal whose bits are the columns of the job that are read, empty
    for all; `until` is in seconds since 1970.
    """

    job: str
    columns: str
    until: int


class ReadSessions:
    """Opens sessions and gives their rows."""

    def __init__(  # noqa: PLR0913, PLR0917 - what a table's rows and a job's rows stand on
        self,
        tables: TableData,
        statements: ByStatement,
        results: ResultTables,
        jobs: OwnJobs,
        reader: ResultReader,
        runner: TaskRunner,
    ) -> None:
        """Wire the parts together; `runner` looks at conditions."""
        self._tables = tables
        self._statements = statements
        self._results = results
        self._jobs = jobs
        self._reader = reader
        self._runner = runner

    async def create(self, principal: Principal, asked: ReadRequest) -> ReadSession:
        """Open a session on a table that the agent may read, or on a result of its own.

        Raises `NotFoundError` for a table that is hidden or absent, `RefusedError` where policy
        says so or the rows are not there in time, `JobFailedError` where they never will be.
        """
        job = await self._results.job(principal.key, asked.table)
        if job is not None:
            return _session(job, _columns(job, asked))
        if asked.restriction:
            await self._check(asked.restriction)
        sql = await self._tables.query(principal, asked.table, asked.selected, asked.restriction)
        request = QueryRequest(sql, asked.project)
        job = await self._statements.done(principal, request, f"reading `{asked.table}`")
        return _session(job, "")

    async def session(self, principal: Principal, name: str) -> ReadSession:
        """Give the principal's session. Raises `NotFoundError`, also for one that is too old."""
        job, named = await self._found(principal, name)
        return _session(job, named.columns, named.until)

    async def rows(self, principal: Principal, name: str, start: int) -> Sequence[Row]:
        """Give some rows of a session from row `start` on: on record before they are given."""
        job, named = await self._found(principal, name)
        page = PageRequest(start_index=start, use_int64_timestamp=True)
        rows = (await (await self._reader.page(job, page)).whole()).rows
        return only_columns(rows, _places(named.columns)) if named.columns else rows

    async def _check(self, restriction: str) -> None:
        """Refuse what is not one condition on the table's own columns.

        INVARIANT: it stands in parentheses, so nothing in it can end them.
        """
        problem = (await self._runner.run(PROBLEMS, Predicates((restriction,)))).found[0]
        if problem:
            raise InvalidRequestError(
                f"`row_restriction` is not served: {problem}",
                hint="write one condition on the table's columns, or a query",
            )

    async def _found(self, principal: Principal, name: str) -> tuple[Job, _Named]:
        absent = NotFoundError(
            f"Not found: read session `{name[:100]}`",
            hint=f"create it anew; one can be read for {SESSION_SECONDS // 3600} hours",
        )
        match = _NAME.fullmatch(name)
        if match is None:
            raise absent
        try:
            named = msgspec.json.decode(base64.urlsafe_b64decode(match[2]), type=_Named)
            _places(named.columns)
        except (msgspec.MsgspecError, binascii.Error, ValueError):
            raise absent from None
        job = await self._jobs.by_id(principal.key, named.job)
        if job is None or job.outcome is None or job.request.project != match[1]:
            raise absent
        if job.request.transfer is not None:
            raise absent
        # What comes of a name that its own agent has changed is the agent's as well.
        if named.until < time.time() or max(_places(named.columns), default=0) >= len(_fields(job)):
            raise absent
        return job, named


def _columns(job: Job, asked: ReadRequest) -> str:
    """Choose columns of a result. Raises `InvalidRequestError`."""
    if asked.restriction:
        raise InvalidRequestError(
            "`row_restriction` is not served for the result of a query",
            hint="put the condition into the query",
        )
    names = chosen(_fields(job), asked.selected)
    if not names:
        return ""
    places = (at for at, field in enumerate(_fields(job)) if field.name in names)
    return f"{sum(1 << at for at in places):x}"


def _places(columns: str) -> list[int]:
    bits = int(columns or "0", 16)
    return [at for at in range(bits.bit_length()) if bits >> at & 1]


def _fields(job: Job) -> tuple[Field, ...]:
    return job.outcome.schema if job.outcome else ()


def _session(job: Job, columns: str, until: int = 0) -> ReadSession:
    until = until or int(time.time()) + SESSION_SECONDS
    name = base64.urlsafe_b64encode(msgspec.json.encode(_Named(job.id, columns, until))).decode()
    place = f"projects/{job.request.project}/locations/{job.location.lower() or 'us'}"
    fields = _fields(job)
    if columns:
        fields = tuple(fields[at] for at in _places(columns))
    rows = job.outcome.total_rows if job.outcome else 0
    return ReadSession(f"{place}/sessions/{name}", fields, rows, until)
