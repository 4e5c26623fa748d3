"""Jobs, in memory: they run to their end whether their client waits or not."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec

from keystile.model.errors import DuplicateError, KeystileError, NotFoundError, StoppedError
from keystile.model.schema import TableId
from keystile.sandbox.binding import Question
from keystile.sandbox.effects import Effects
from keystile.sandbox.errors import CostLimitError, unsupported
from keystile.sandbox.plans import Answer, Plan
from keystile.sandbox.queries import Catalog
from keystile.sandbox.running import run
from keystile.sandbox.script_context import Ran
from keystile.sandbox.scripting import planned, run_script
from keystile.sandbox.store import LOCATION
from keystile.sandbox.transfer.outcome import Moved
from keystile.wire.requests import QueryRequest
from keystile.wire.responses import JobError, JobView

_KEPT = 1000
_log = logging.getLogger(__name__)


class Job:
    """A job and, once done, its rows with timestamps as microseconds.

    `moved` is what a load, copy or extract job tells of itself; a query has none.
    """

    def __init__(self, view: JobView) -> None:
        """Hold what is known at the start."""
        self.view = view
        self.rows: list[dict[str, Any]] = []
        self.effects = Effects()
        self.moved: Moved | None = None
        self.failure: KeystileError | None = None
        self.task: asyncio.Task[None] | None = None


class Jobs:
    """All jobs, by project and id."""

    def __init__(self, catalog: Catalog) -> None:
        """Start with none."""
        self._catalog = catalog
        self._jobs: dict[tuple[str, str], Job] = {}
        self._by_request: dict[tuple[str, str], Job] = {}
        self._by_table: dict[TableId, Job] = {}

    async def dry_run(self, request: QueryRequest, owner: str) -> JobView:
        """Describe without running. Raises what planning raises."""
        plan = await self._planned(request)
        view = _planned_view(_view(request, request.job_id, owner), plan)
        return msgspec.structs.replace(view, state="DONE", dry_run=True)

    def start(self, request: QueryRequest, owner: str) -> Job:
        """Start a job, or give the one that the same `requestId` started.

        Raises `DuplicateError` for a job id that is taken.
        """
        repeated = self._by_request.get((request.project, request.request_id))
        if request.request_id and repeated:
            return repeated
        check_location(request.location)
        view = _view(request, request.job_id, owner)
        job = self.begin(view, partial(self._work, request=request), request.job_timeout_ms or 0)
        if request.request_id:
            self._by_request[request.project, request.request_id] = job
        return job

    def begin(
        self, view: JobView, work: Callable[[Job], Awaitable[None]], timeout_ms: int = 0
    ) -> Job:
        """Start a job on its work, with an id of ours where it has none; 0 is no time limit.

        Raises `DuplicateError` for a job id that is taken.
        """
        view = msgspec.structs.replace(view, job_id=view.job_id or f"job_{uuid.uuid4().hex}")
        key = (view.project, view.job_id)
        if key in self._jobs:
            raise DuplicateError(f"Already Exists: Job {key[0]}:{LOCATION}.{key[1]}")
        job = self._jobs[key] = Job(view)
        job.task = asyncio.get_running_loop().create_task(self._run(job, work, timeout_ms))
        self._drop_oldest()
        return job

    def get(self, project: str, job_id: str, location: str = "") -> Job:
        """Find a job. Raises `NotFoundError`."""
        job = self._jobs.get((project, job_id))
        if job is None or location.upper() not in ("", LOCATION):
            raise NotFoundError(f"Not found: Job {project}:{location or LOCATION}.{job_id}")
        return job

    def holding(self, table: TableId) -> Job | None:
        """Find the job whose result is this anonymous table."""
        return self._by_table.get(table)

    def newest_first(self, project: str, parent: str) -> list[Job]:
        """List a project's jobs that are the statements of a script; with no `parent`, all else."""
        found = [job for (owner, _), job in reversed(self._jobs.items()) if owner == project]
        return [job for job in found if job.view.parent == parent]

    async def wait(self, job: Job, timeout_ms: int) -> None:
        """Wait until it is done or the time is over."""
        if job.task:
            await asyncio.wait({job.task}, timeout=timeout_ms / 1000)

    async def cancel(self, job: Job) -> None:
        """End it, if it has not ended."""
        if job.task and not job.task.done():
            job.task.cancel()
            await asyncio.wait({job.task})

    async def close(self) -> None:
        """End all."""
        for job in self._jobs.values():
            await self.cancel(job)

    async def _planned(self, request: QueryRequest) -> Plan:
        check_location(request.location)
        question = Question(
            request.sql,
            request.project,
            request.default_project,
            request.default_dataset,
            request.parameters,
        )
        return await planned(self._catalog, question)

    async def _run(self, job: Job, work: Callable[[Job], Awaitable[None]], timeout_ms: int) -> None:
        job.view = msgspec.structs.replace(job.view, state="RUNNING", started=time.time())
        try:
            async with asyncio.timeout(timeout_ms / 1000 or None):
                await work(job)
        except TimeoutError:
            job.failure = StoppedError("Job execution was cancelled: Job timed out")
        except asyncio.CancelledError:
            job.failure = StoppedError("Job execution was cancelled: User requested cancellation")
        except KeystileError as error:
            job.failure = error
        except Exception:  # noqa: BLE001  # the job must end whatever happens, and the log says it
            _log.exception("a job broke the sandbox")
            job.failure = KeystileError("the sandbox failed on this job")
        job.view = msgspec.structs.replace(
            job.view,
            state="DONE",
            ended=time.time(),
            error=JobError.of(job.failure) if job.failure else None,
        )

    async def _work(self, job: Job, request: QueryRequest) -> None:
        plan = await self._planned(request)
        job.view = _planned_view(job.view, plan)
        limit = request.maximum_bytes_billed
        if limit is not None and plan.bytes_processed > limit:
            raise CostLimitError(
                f"Query exceeded limit for bytes billed: {limit}. "
                f"{plan.bytes_processed} or higher required."
            )
        if plan.names.script:
            await self._script(job, plan)
        else:
            self._keep(job, plan, await run(self._catalog, plan))

    async def _script(self, job: Job, plan: Plan) -> None:
        """Run a script: its result is that of its last query."""

        def told(ran: Ran) -> None:
            if plan.statement == "SCRIPT":
                self._add_child(job, ran)

        last = await run_script(self._catalog, plan.question, told)
        job.view = msgspec.structs.replace(job.view, schema=None)
        if last and last.done:
            self._keep(job, last.plan, last.done)

    def _add_child(self, job: Job, ran: Ran) -> None:
        """Add the job of one statement of a script."""
        number, view = job.view.children, job.view
        read = (view.bytes_processed or 0) + ran.plan.bytes_processed
        job.view = msgspec.structs.replace(view, children=number + 1, bytes_processed=read)
        view = msgspec.structs.replace(
            _planned_view(view, ran.plan),
            job_id=f"script_job_{hashlib.sha256(view.job_id.encode()).hexdigest()[:32]}_{number}",
            sql=ran.plan.question.sql,
            parameters=ran.plan.question.parameters,
            state="DONE",
            created=ran.started,
            started=ran.started,
            ended=time.time(),
            error=JobError.of(ran.error) if ran.error else None,
            parent=view.job_id,
            children=0,
        )
        child = self._jobs[view.project, view.job_id] = Job(view)
        child.failure = ran.error
        if ran.done:
            self._keep(child, ran.plan, ran.done)

    def _keep(self, job: Job, plan: Plan, done: Answer | Effects) -> None:
        """Keep what a statement gave."""
        if not isinstance(done, Answer):
            job.effects = done
            job.view = msgspec.structs.replace(job.view, schema=None, destination=done.destination)
            return
        job.rows = done.rows
        destination = _anonymous(job.view)
        self._by_table[destination] = job
        job.view = msgspec.structs.replace(
            job.view, schema=plan.fields, total_rows=len(done.rows), destination=destination
        )

    def _drop_oldest(self) -> None:
        """Keep memory bounded; the results that go first are those that were read long ago."""
        for key in [key for key, job in self._jobs.items() if job.view.done][:-_KEPT]:
            gone = self._jobs.pop(key)
            self._by_table = {at: job for at, job in self._by_table.items() if job is not gone}
            self._by_request = {at: job for at, job in self._by_request.items() if job is not gone}


def check_location(location: str) -> None:
    """Raise `UnsupportedError` for a location that is not the one of all data."""
    if location.upper() not in ("", LOCATION):
        raise unsupported(f"the location `{location[:40]}`; all its data is in {LOCATION}")


def _view(request: QueryRequest, job_id: str, owner: str) -> JobView:
    return JobView(
        project=request.project,
        job_id=job_id,
        location=LOCATION,
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
    )


def _planned_view(view: JobView, plan: Plan) -> JobView:
    return msgspec.structs.replace(
        view,
        statement=plan.statement,
        schema=None if plan.statement == "SCRIPT" else plan.fields,
        referenced=plan.tables,
        bytes_processed=plan.bytes_processed,
    )


def _anonymous(view: JobView) -> TableId:
    """Name the result as BigQuery does: a hidden dataset of the account, a table of the job."""
    dataset = hashlib.sha256(f"{view.project}|{view.owner}".encode()).hexdigest()[:40]
    table = hashlib.sha256(view.job_id.encode()).hexdigest()[:40]
    return TableId(view.project, f"_{dataset}", f"anon{table}")
