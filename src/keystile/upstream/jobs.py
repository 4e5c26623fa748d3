"""Jobs at BigQuery: planned without being run, started, waited for and stopped."""

from __future__ import annotations

import asyncio
import base64
import time
from uuid import uuid4

import msgspec

from keystile.model.errors import KeystileError
from keystile.model.schema import TableId
from keystile.upstream.answers import JobAnswer, ResultsAnswer, Statistics
from keystile.upstream.errors import from_job
from keystile.upstream.exchange import Exchange
from keystile.upstream.paths import job_path, place_of, results_path
from keystile.upstream.rows import page_of
from keystile.upstream.scripts import JobsAnswer, script_jobs
from keystile.upstream.tables import fields_of
from keystile.upstream.transport import Answer, Call
from keystile.upstream.values import DryRun, JobRef, JobStatus, ScriptJob, UpstreamQuery
from keystile.wire.encode import NewJob, job_body

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0  # seconds
_BOUNDS = frozenset({"", "PRECISE", "UPPER_BOUND"})
_CONFLICT = 409


class Jobs(Exchange):
    """Jobs of one account. INVARIANT: none is billed for more than `_most_billed`."""

    _most_billed: int

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
            Call("GET", results_path(job), query | place_of(job), extra_seconds=timeout_seconds)
        )
        results, failure = None, None
        try:
            results = self._decoded(answer, ResultsAnswer)
            if not results.job_complete:
                return JobStatus(done=False)
        except KeystileError as error:
            # A failed job's results are its error; only the job itself tells that from others.
            failure = error
        path = job_path(job)
        answer = await self._transport.send(Call("GET", path, place_of(job)))
        status = self._decoded(answer, JobAnswer)
        if status.status.state != "DONE":
            return JobStatus(done=False)
        if status.status.error_result:
            failure = from_job(status.status.error_result, self._secrets)
        elif failure:
            raise failure
        found = _status(status, results, failure)
        return msgspec.structs.replace(found, first=page_of(results)) if results and rows else found

    async def _wait_moving(self, job: JobRef, timeout_seconds: float) -> JobStatus:
        """Look again and again: of a job that is no query nothing else can be asked."""
        path, pause = job_path(job), _FIRST_PAUSE
        deadline = time.monotonic() + timeout_seconds
        while True:
            answer = await self._transport.send(Call("GET", path, place_of(job)))
            found = self._decoded(answer, JobAnswer)
            if found.status.state == "DONE":
                result = found.status.error_result
                return _status(found, None, from_job(result, self._secrets) if result else None)
            if time.monotonic() + pause > deadline:
                return JobStatus(done=False)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def script_jobs(self, script: JobRef) -> tuple[ScriptJob, ...]:
        """Give the newest thousand jobs of a script, the oldest first.

        Needs the right `bigquery.jobs.list`.
        """

        async def ask(call: Call) -> JobsAnswer:
            return self._decoded(await self._transport.send(call), JobsAnswer)

        return await script_jobs(script, ask, self._secrets)

    async def cancel(self, job: JobRef) -> None:
        """Ask BigQuery to stop a job; one that is done already stays so."""
        path = (*job_path(job), "cancel")
        await self._json("POST", path, place_of(job))

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
