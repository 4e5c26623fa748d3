"""BigQuery's REST API (`bigquery/v2`), as far as the gateway uses it."""

from __future__ import annotations

import asyncio
import base64
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from typing import Any, TypeVar
from uuid import uuid4

import msgspec

from keystile.config.settings import MOST_BILLED
from keystile.model.errors import KeystileError, RefusedError
from keystile.model.schema import Routine, RoutineId, Table, TableId
from keystile.tls.outward import DIRECT, Outward
from keystile.upstream.answers import (
    DatasetsAnswer,
    EntriesAnswer,
    JobAnswer,
    ResultsAnswer,
    RoutineAnswer,
    Statistics,
    TableAnswer,
    TableDataAnswer,
    TablesAnswer,
)
from keystile.upstream.errors import from_job, from_response
from keystile.upstream.routines import routine_of
from keystile.upstream.row_stream import Rows, RowSplitter
from keystile.upstream.scripts import JobsAnswer, script_jobs
from keystile.upstream.streaming import InsertAnswer, bad_rows, sent
from keystile.upstream.tables import fields_of, listed, table_of
from keystile.upstream.transport import Answer, Call, Credential, Transport
from keystile.upstream.uploads import UpstreamUploads
from keystile.upstream.values import (
    NOBODY,
    Account,
    DryRun,
    JobRef,
    JobStatus,
    ListedTable,
    Page,
    ScriptJob,
    UpstreamQuery,
)
from keystile.wire.encode import NewJob, job_body, table_clustering, table_without_columns
from keystile.wire.resources import NewTable
from keystile.wire.streaming import BadRow, NewRows

# How stale a schema may be. The dry run is the second witness against a change in between.
_OBJECT_SECONDS = 10.0
_OBJECTS_KEPT = 4096
_A_PAGE = 1000
_PAGES_LISTED = 50
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0  # seconds
Noted = Callable[[Table], Table]
"""Adds to a table what the gateway itself has noted of it."""

AnswerT = TypeVar("AnswerT")
ListT = TypeVar("ListT", TablesAnswer, DatasetsAnswer, EntriesAnswer)
IdT = TypeVar("IdT", TableId, RoutineId)
ObjectT = TypeVar("ObjectT", Table, Routine)

_BOUNDS = frozenset({"", "PRECISE", "UPPER_BOUND"})
_OK = 200
_NOT_MODIFIED = 304
_CONFLICT = 409


class _Known(OrderedDict[IdT, tuple[float, ObjectT]]):
    """What was asked for, with the time when; what was used last comes last."""


class BigQuery:
    """BigQuery under one account of the gateway's.

    Every method raises `RefusedError` on an outage, a time-out or an answer that is not understood,
    and else the error that BigQuery's own maps to (`upstream.errors`).
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what one account's BigQuery is made of
        self,
        endpoint: str,
        credential: Credential,
        timeout: float,
        outward: Outward = DIRECT,
        account: Account = NOBODY,
        noted: Noted | None = None,
        most_billed: int = MOST_BILLED,
    ) -> None:
        """Take the root URL; `timeout` is in seconds for one exchange. `credential` is `account`'s.

        `noted` tells what the gateway knows of tables beside. INVARIANT: no query, nor a statement
        of a script, is billed for more than `most_billed`. Raises `UnsafeConfigurationError` when
        the endpoint would expose the credential.
        """
        self.account = account
        self._noted = noted
        self._most_billed = most_billed
        self._transport = Transport(endpoint, credential, timeout, outward)
        self._tables = _Known[TableId, Table]()
        self._routines = _Known[RoutineId, Routine]()
        self._secrets: set[str] = set()
        self.uploads = UpstreamUploads(self._transport, self._secrets)

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def table(self, id: TableId) -> Table:  # noqa: A002  the word of the shared port
        """Give a table's schema, at most some seconds old, with the labels of what it holds.

        INVARIANT: these are as they are now. Raises `NotFoundError`.
        """
        table = await self._fresh(
            self._tables,
            id,
            _table_path(id),
            lambda answer: table_of(id, self._decoded(answer, TableAnswer)),
        )
        return self.noted(table)

    def noted(self, table: Table) -> Table:
        """Give a table with the labels of what it holds."""
        return self._noted(table) if self._noted else table

    def forget(self, tables: Iterable[TableId]) -> None:
        """Ask anew for tables that a job may have changed, however young what is known of them."""
        for table in tables:
            self._tables.pop(table, None)

    async def routine(self, id: RoutineId) -> Routine:  # noqa: A002  the word of the shared port
        """Give a routine with its text, at most some seconds old. Raises `NotFoundError`."""
        path = ("projects", id.project, "datasets", id.dataset, "routines", id.routine)
        return await self._fresh(
            self._routines,
            id,
            path,
            lambda answer: routine_of(id, self._decoded(answer, RoutineAnswer)),
        )

    async def every_table(self, project: str, dataset: str) -> tuple[ListedTable, ...]:
        """Give all that a dataset holds. Raises `RefusedError` where that is too much to list."""
        path = ("projects", project, "datasets", dataset, "tables")
        pages = await self._every_page(path, TablesAnswer)
        return tuple(listed(table) for page in pages for table in page.tables)

    async def every_dataset(self, project: str) -> tuple[str, ...]:
        """Give the names of a project's datasets. Raises `RefusedError` where they are too many."""
        pages = await self._every_page(("projects", project, "datasets"), DatasetsAnswer)
        return tuple(one.dataset_reference.dataset_id for page in pages for one in page.datasets)

    async def dry_run(self, query: UpstreamQuery) -> DryRun:
        """Let BigQuery plan a query without running it. Raises `InvalidQueryError` and the like."""
        answer = await self._insert(query, f"keystile_dry_{uuid4().hex}", dry_run=True)
        job = self._decoded(answer, JobAnswer)
        statistics = job.statistics.query
        return DryRun(
            statement_type=statistics.statement_type,
            referenced_tables=tuple(table.id() for table in statistics.referenced_tables),
            schema=fields_of(statistics.schema),
            bytes_processed=statistics.total_bytes_processed,
            location=job.job_reference.location,
            is_bound=statistics.statement_type != "SCRIPT"
            and statistics.total_bytes_processed_accuracy in _BOUNDS,
        )

    async def start(self, query: UpstreamQuery, job: str) -> None:
        """Start a query under the job id `job`.

        The same id starts nothing twice: BigQuery's 409 means that it is started already. After a
        `RefusedError` from an outage the job may still run; starting it again is safe.
        """
        answer = await self._insert(query, job, dry_run=False)
        if answer.status != _CONFLICT:
            self._decoded(answer, JobAnswer)

    async def wait(self, job: JobRef, timeout_seconds: float, *, rows: int = 0) -> JobStatus:
        """Wait until a job is done, or for `timeout_seconds`, and say how it stands.

        So many `rows` of a query's result come with it, their times as whole microseconds. Raises
        `NotFoundError` when BigQuery knows no such job.
        """
        if job.moves:
            return await self._wait_moving(job, timeout_seconds)
        query = {"maxResults": str(rows), "timeoutMs": str(int(timeout_seconds * 1000))}
        if rows:
            query["formatOptions.useInt64Timestamp"] = "true"
        answer = await self._transport.send(
            Call("GET", _results_path(job), query | _location(job), extra_seconds=timeout_seconds)
        )
        results, failure = None, None
        try:
            results = self._decoded(answer, ResultsAnswer)
            if not results.job_complete:
                return JobStatus(done=False)
        except KeystileError as error:
            # A failed job's results are its error; only the job itself tells that from others.
            failure = error
        path = ("projects", job.project, "jobs", job.job)
        answer = await self._transport.send(Call("GET", path, _location(job)))
        status = self._decoded(answer, JobAnswer)
        if status.status.state != "DONE":
            return JobStatus(done=False)
        if status.status.error_result:
            failure = from_job(status.status.error_result, self._secrets)
        elif failure:
            raise failure
        found = _status(status, results, failure)
        return msgspec.structs.replace(found, first=_page(results)) if results and rows else found

    async def _wait_moving(self, job: JobRef, timeout_seconds: float) -> JobStatus:
        """Look again and again: of a job that is no query nothing else can be asked."""
        path, pause = ("projects", job.project, "jobs", job.job), _FIRST_PAUSE
        deadline = time.monotonic() + timeout_seconds
        while True:
            answer = await self._transport.send(Call("GET", path, _location(job)))
            found = self._decoded(answer, JobAnswer)
            if found.status.state == "DONE":
                result = found.status.error_result
                return _status(found, None, from_job(result, self._secrets) if result else None)
            if time.monotonic() + pause > deadline:
                return JobStatus(done=False)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def rows(
        self,
        job: JobRef,
        *,
        page_token: str = "",
        start_index: int = 0,
        max_results: int | None = None,
        use_int64_timestamp: bool = False,
    ) -> Page:
        """Give one page of a finished job's rows.

        With `page_token`, `start_index` is ignored. Raises `RefusedError` if the job still runs.
        """
        query = {"formatOptions.useInt64Timestamp": "true"} if use_int64_timestamp else {}
        if page_token:
            query["pageToken"] = page_token
        elif start_index:
            query["startIndex"] = str(start_index)
        if max_results is not None:
            query["maxResults"] = str(max_results)
        answer = await self._transport.send(
            Call("GET", _results_path(job), query | {"timeoutMs": "0"} | _location(job))
        )
        results = self._decoded(answer, ResultsAnswer)
        if not results.job_complete:
            raise RefusedError(f"the job `{job.job}` has no rows yet")
        return _page(results)

    async def pieces(
        self, job: JobRef, *, start_index: int, max_results: int, use_int64_timestamp: bool
    ) -> AsyncGenerator[tuple[Rows, bool]]:
        """Give a page of a finished job's rows in pieces, while it arrives; each tells if it ends.

        Raises as `rows` does, after some pieces too: what came before is as good.
        """
        query = {"formatOptions.useInt64Timestamp": "true"} if use_int64_timestamp else {}
        query |= {"startIndex": str(start_index), "maxResults": str(max_results), "timeoutMs": "0"}
        splitter, refused = RowSplitter(), bytearray()
        status = 0
        call = Call("GET", _results_path(job), query | _location(job))
        async for status, chunk in self._transport.arriving(call):
            if status != _OK:
                refused += chunk
            elif rows := splitter.feed(chunk):
                yield rows, False
        results = self._read(Answer(status, refused), lambda _: splitter.end())
        if not results.job_complete:
            raise RefusedError(f"the job `{job.job}` has no rows yet")
        yield results.rows, True

    async def script_jobs(self, script: JobRef) -> tuple[ScriptJob, ...]:
        """Give the newest thousand jobs of a script, the oldest first.

        Needs the right `bigquery.jobs.list`.
        """

        async def ask(call: Call) -> JobsAnswer:
            return self._decoded(await self._transport.send(call), JobsAnswer)

        return await script_jobs(script, ask, self._secrets)

    async def cancel(self, job: JobRef) -> None:
        """Ask BigQuery to stop a job; one that is done already stays so."""
        path = ("projects", job.project, "jobs", job.job, "cancel")
        await self._json("POST", path, _location(job))

    async def insert_rows(self, rows: NewRows) -> tuple[BadRow, ...]:
        """Put rows into a table, and give those that are not in it.

        After a `RefusedError` from an outage they may be in it all the same.
        """
        answer = await sent(self._transport, rows)
        return bad_rows(self._decoded(answer, InsertAnswer), self._secrets)

    async def create_table(self, new: NewTable) -> None:
        """Make a table without columns. Raises `DuplicateError` where there is one of the name.

        After a `RefusedError` from an outage it may be there all the same.
        """
        path = ("projects", new.id.project, "datasets", new.id.dataset, "tables")
        body = msgspec.json.encode(table_without_columns(new))
        call = Call("POST", path, body=body, once=True)
        self._decoded(await self._transport.send(call), dict[str, Any])
        self.forget((new.id,))

    async def cluster_table(self, id: TableId, columns: tuple[str, ...]) -> None:  # noqa: A002 - as above
        """Have a table clustered by columns, or by none any more, and nothing else of it changed.

        Raises `NotFoundError`, and `InvalidRequestError` for columns that do not fit.
        """
        body = msgspec.json.encode(table_clustering(columns))
        answer = await self._transport.send(Call("PATCH", _table_path(id), body=body))
        self._decoded(answer, dict[str, Any])
        self.forget((id,))

    async def list_projects(self) -> list[dict[str, Any]]:
        """Give all entries of `projects.list` as BigQuery answers it."""
        return await self._every_entry(("projects",))

    async def list_datasets(self, project: str) -> list[dict[str, Any]]:
        """Give all entries of `datasets.list` as BigQuery answers it."""
        return await self._every_entry(("projects", project, "datasets"))

    async def get_service_account(self, project: str) -> dict[str, Any]:
        """Give `projects.getServiceAccount` as BigQuery answers it."""
        return await self._json("GET", ("projects", project, "serviceAccount"))

    async def get_dataset(self, project: str, dataset: str) -> dict[str, Any]:
        """Give `datasets.get` as BigQuery answers it, access list included: the caller strips."""
        return await self._json("GET", ("projects", project, "datasets", dataset))

    async def list_tables(self, project: str, dataset: str) -> list[dict[str, Any]]:
        """Give all entries of `tables.list` as BigQuery answers it."""
        return await self._every_entry(("projects", project, "datasets", dataset, "tables"))

    async def get_table(self, id: TableId) -> dict[str, Any]:  # noqa: A002  as in `table`
        """Give `tables.get` as BigQuery answers it; never cached."""
        return await self._json("GET", _table_path(id))

    async def table_rows(
        self, table: Table, columns: Sequence[str], *, start: int, count: int
    ) -> Page:
        """Give some rows of a table as they are, for the gateway's operator: `tabledata.list`.

        Only `columns` of them, in the order of the schema. BigQuery bills nothing for it, and gives
        fewer rows where they are large.
        """
        fields = tuple(field for field in table.fields if field.name in columns)
        query = {
            "selectedFields": ",".join(field.name for field in fields),
            "startIndex": str(start),
            "maxResults": str(count),
        }
        answer = await self._transport.send(Call("GET", (*_table_path(table.id), "data"), query))
        data = self._decoded(answer, TableDataAnswer)
        return Page(data.rows, "", data.total_rows, fields)

    async def list_models(self, project: str, dataset: str) -> list[dict[str, Any]]:
        """Give all entries of `models.list` as BigQuery answers it."""
        return await self._every_entry(("projects", project, "datasets", dataset, "models"))

    async def list_routines(self, project: str, dataset: str) -> list[dict[str, Any]]:
        """Give all entries of `routines.list` as BigQuery answers it."""
        return await self._every_entry(("projects", project, "datasets", dataset, "routines"))

    async def get_routine(self, id: RoutineId) -> dict[str, Any]:  # noqa: A002  as in `table`
        """Give `routines.get` as BigQuery answers it, its text included; never cached."""
        path = ("projects", id.project, "datasets", id.dataset, "routines", id.routine)
        return await self._json("GET", path)

    async def _fresh(
        self,
        kept: _Known[IdT, ObjectT],
        id_: IdT,
        path: tuple[str, ...],
        read: Callable[[Answer], ObjectT],
    ) -> ObjectT:
        """Give what is known where it is new enough, else ask whether it is still the same."""
        fetched, known = kept.get(id_, (0.0, None))
        if known and time.monotonic() - fetched < _OBJECT_SECONDS:
            return known
        answer = await self._transport.send(Call("GET", path, etag=known.etag if known else ""))
        if not (known and answer.status == _NOT_MODIFIED):
            kept.pop(id_, None)
            known = read(answer)
        kept[id_] = (time.monotonic(), known)
        kept.move_to_end(id_)
        if len(kept) > _OBJECTS_KEPT:
            kept.popitem(last=False)
        return known

    async def _insert(self, query: UpstreamQuery, job: str, *, dry_run: bool) -> Answer:
        self._secrets |= _hidden_texts(query)
        body = job_body(
            NewJob(
                project=query.project,
                job_id=job,
                sql=query.sql,
                location=query.location,
                default_project=query.default_project,
                default_dataset=query.default_dataset,
                parameters=query.parameters,
                labels=query.labels,
                maximum_bytes_billed=None if dry_run else self._bound(query),
                use_query_cache=query.use_query_cache,
                job_timeout_ms=query.timeout_ms,
                dry_run=dry_run,
                transfer=query.transfer,
                into=query.into,
                session=query.session,
                creates_session=query.creates_session,
            )
        )
        return await self._transport.send(
            Call("POST", ("projects", query.project, "jobs"), body=body)
        )

    def _bound(self, query: UpstreamQuery) -> int:
        asked = query.maximum_bytes_billed
        return self._most_billed if asked is None else min(asked, self._most_billed)

    async def _every_page(self, path: tuple[str, ...], type_: type[ListT]) -> list[ListT]:
        pages: list[ListT] = []
        token = ""
        for _ in range(_PAGES_LISTED):
            answer = await self._transport.send(Call("GET", path, _paging(token, _A_PAGE)))
            pages.append(self._decoded(answer, type_))
            token = pages[-1].next_page_token
            if not token:
                return pages
        raise RefusedError(
            f"there is too much in `{path[-2:][0]}` to list", hint="name one of them"
        )

    async def _every_entry(self, path: tuple[str, ...]) -> list[dict[str, Any]]:
        pages = await self._every_page(path, EntriesAnswer)
        return [entry for page in pages for entry in getattr(page, path[-1])]

    async def _json(
        self, method: str, path: tuple[str, ...], query: dict[str, str] | None = None
    ) -> dict[str, Any]:
        answer = await self._transport.send(Call(method, path, query or {}))
        return self._decoded(answer, dict[str, Any])

    def _decoded(self, answer: Answer, type_: type[AnswerT]) -> AnswerT:
        # Not strict: BigQuery's JSON writes 64-bit integers as strings.
        return self._read(answer, lambda body: msgspec.json.decode(body, type=type_, strict=False))

    def _read(self, answer: Answer, read: Callable[[bytes | bytearray], AnswerT]) -> AnswerT:
        if not 200 <= answer.status < 300:  # noqa: PLR2004  HTTP's own class of successes
            raise from_response(answer.status, answer.body, self._secrets)
        try:
            return read(answer.body)
        except msgspec.MsgspecError:
            raise RefusedError("BigQuery's answer is not understood") from None


def _page(results: ResultsAnswer) -> Page:
    return Page(results.rows, results.page_token, results.total_rows, fields_of(results.schema))


def _status(
    job: JobAnswer, results: ResultsAnswer | None, error: KeystileError | None
) -> JobStatus:
    statistics = job.statistics.query
    return JobStatus(
        done=True,
        error=error,
        schema=fields_of(results.schema) if results else (),
        total_rows=results.total_rows if results else 0,
        bytes_processed=statistics.total_bytes_processed,
        bytes_billed=job.statistics.bytes_billed,
        statement_type=statistics.statement_type,
        cache_hit=statistics.cache_hit,
        changed=statistics.changed,
        moved=_moved(job.statistics),
        result=_result(job),
        session=job.statistics.session_info.session_id,
        started=job.statistics.start_time / 1000,
        ended=job.statistics.end_time / 1000,
    )


def _result(job: JobAnswer) -> TableId | None:
    table = job.configuration.query.destination_table
    return table.id() if table else None


def _moved(statistics: Statistics) -> dict[str, object]:
    parts = {"load": statistics.load, "copy": statistics.copy, "extract": statistics.extract}
    return {kind: msgspec.to_builtins(part) for kind, part in parts.items() if part is not None}


def _table_path(id_: TableId) -> tuple[str, ...]:
    return ("projects", id_.project, "datasets", id_.dataset, "tables", id_.table)


def _results_path(job: JobRef) -> tuple[str, ...]:
    return ("projects", job.project, "queries", job.job)


def _location(job: JobRef) -> dict[str, str]:
    return {"location": job.location} if job.location else {}


def _paging(page_token: str, max_results: int | None) -> dict[str, str]:
    query = {"pageToken": page_token} if page_token else {}
    return query if max_results is None else query | {"maxResults": str(max_results)}


def _hidden_texts(query: UpstreamQuery) -> set[str]:
    """Every way in which a message could spell the value of a hidden parameter."""
    texts = set()
    for parameter in query.parameters:
        value = parameter.value.get("value")
        if parameter.name in query.hidden and isinstance(value, str):
            texts.add(value)
            try:
                raw = base64.b64decode(value, validate=True)
            except ValueError:
                continue
            escaped = "".join(f"\\x{byte:02x}" for byte in raw)
            texts |= {raw.hex(), raw.hex().upper(), escaped, raw.decode("latin-1")}
    return {text for text in texts if text}
