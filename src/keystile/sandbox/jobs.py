"""Jobs, in memory: they run to their end whether their client waits or not."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec

from keystile.model.errors import (
    DuplicateError,
    InvalidRequestError,
    KeystileError,
    NotFoundError,
    StoppedError,
)
from keystile.model.schema import TableId, TableKind
from keystile.sandbox.asking import Asked
from keystile.sandbox.binding import Question
from keystile.sandbox.data import Stored
from keystile.sandbox.dialect import Given
from keystile.sandbox.effects import Effects
from keystile.sandbox.into import check_into, write_result
from keystile.sandbox.job import Job, anonymous, planned_view, view_of
from keystile.sandbox.locations import check_location, location_name, location_of
from keystile.sandbox.plans import Answer, Plan
from keystile.sandbox.queries import Catalog
from keystile.sandbox.running import run
from keystile.sandbox.script_context import Ran
from keystile.sandbox.scripting import planned, run_script
from keystile.sandbox.sessions import Sessions, aborted
from keystile.sandbox.store import LOCATION
from keystile.wire.responses import JobError, JobView, etag

_KEPT = 1000
_log = logging.getLogger(__name__)


class Jobs:
    """All jobs, by project and id."""

    def __init__(self, catalog: Catalog) -> None:
        """Start with none."""
        self._catalog = catalog
        self._jobs: dict[tuple[str, str], Job] = {}
        self._by_request: dict[tuple[str, str], Job] = {}
        self._sessions = Sessions(catalog)

    async def dry_run(self, asked: Asked, owner: str) -> JobView:
        """Describe without running. Raises what planning raises."""
        request = asked.request
        plan = await self._planned(asked, owner)
        view = planned_view(view_of(request, request.job_id, owner), plan)
        check_location(self._catalog.store, plan.tables, view.location)
        return msgspec.structs.replace(view, state="DONE", dry_run=True)

    async def placed(self, asked: Asked) -> Asked:
        """Say where a query is to run that does not say so itself: where its tables are.

        Raises `InvalidRequestError` for what is no location.
        """
        request, store = asked.request, self._catalog.store
        location = location_name(request.location)
        if not request.location and store.elsewhere:
            default = TableId(request.default_project, request.default_dataset, "")
            try:
                tables = (await self._planned(asked, "")).tables
            except KeystileError:
                tables = ()
            location = location_of(store, tables) or store.location(default) or location
        request = msgspec.structs.replace(request, location=location)
        return msgspec.structs.replace(asked, request=request)

    def start(self, asked: Asked, owner: str) -> Job:
        """Start a job, or give the one that the same `requestId` started.

        Raises `DuplicateError` for a job id that is taken, `NotFoundError` for a session.
        """
        request = asked.request
        repeated = self._by_request.get((request.project, request.request_id))
        if request.request_id and repeated:
            return repeated
        self._sessions.scope(request.project, asked.session)
        view = view_of(request, request.job_id, owner)
        if asked.into:
            view = msgspec.structs.replace(view, destination=asked.into.table)
        job = self.begin(view, partial(self._work, asked=asked), request.job_timeout_ms or 0)
        job.told = asked.told
        job.session = asked.session
        if asked.creates_session:
            job.session = self._sessions.create(request.project)
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
            raise DuplicateError(f"Already Exists: Job {key[0]}:{view.location}.{key[1]}")
        job = self._jobs[key] = Job(view)
        job.task = asyncio.get_running_loop().create_task(self._run(job, work, timeout_ms))
        self._drop_oldest()
        return job

    def get(self, project: str, job_id: str, location: str = "") -> Job:
        """Find a job. Raises `NotFoundError`."""
        job = self._jobs.get((project, job_id))
        if job is None or location.upper() not in ("", job.view.location.upper()):
            raise NotFoundError(f"Not found: Job {project}:{location or LOCATION}.{job_id}")
        return job

    def delete(self, job: Job) -> None:
        """Forget a job that has ended, the statements of its script and what it gave.

        Raises `InvalidRequestError` for one that runs.
        """
        view = job.view
        if not view.done:
            raise InvalidRequestError(f"Cannot delete the job `{view.job_id}`, which has not ended")
        gone = [at for at, each in self._jobs.items() if view.job_id in (at[1], each.view.parent)]
        for key in gone:
            if key[0] == view.project:
                self._forget(key)

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

    async def _planned(self, asked: Asked, owner: str, session: str = "") -> Plan:
        request = asked.request
        question = Question(
            request.sql,
            request.project,
            request.default_project,
            request.default_dataset,
            request.parameters,
            self._sessions.scope(request.project, session or asked.session),
            location=request.location,
            account=owner,
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
        if job.failure and not isinstance(job.failure, StoppedError) and not job.view.children:
            # What fails is not billed; what is cancelled, or has run of a script, may be.
            job.view = msgspec.structs.replace(job.view, bytes_billed=0)

    async def _work(self, job: Job, asked: Asked) -> None:
        if (session := aborted(asked.request.sql)) is not None:
            self._sessions.abort(job.view.project, session or job.session)
            job.view = msgspec.structs.replace(job.view, statement="CALL", schema=None)
            return
        plan = await self._planned(asked, job.view.owner, job.session)
        job.view = planned_view(job.view, plan)
        into = (asked.into.table,) if asked.into else ()
        check_location(self._catalog.store, (*plan.tables, *into), job.view.location)
        plan.refuse_beyond(asked.request.maximum_bytes_billed)
        if asked.into:
            check_into(plan)
            self._catalog.rights.check_change(job.view.owner, asked.into.table)
        if plan.names.script:
            await self._script(job, plan, asked.request.maximum_bytes_billed)
        else:
            self._keep(job, plan, await run(self._catalog, plan))
        if asked.into:
            await write_result(self._catalog, asked.into, plan, job.content)

    async def _script(self, job: Job, plan: Plan, most_billed: int | None) -> None:
        """Run a script: its result is that of its last query. The bound is each statement's."""

        def told(ran: Ran) -> None:
            if plan.statement == "SCRIPT":
                self._add_child(job, ran)

        def left(variables: tuple[Given, ...]) -> None:
            self._sessions.keep(plan.question.project, job.session, variables)

        last = await run_script(self._catalog, plan.question, told, left, most_billed)
        job.view = msgspec.structs.replace(job.view, schema=None)
        if last and last.done:
            self._keep(job, last.plan, last.done)

    def _add_child(self, job: Job, ran: Ran) -> None:
        """Add the job of one statement of a script."""
        number, view = job.view.children, job.view
        read = (view.bytes_processed or 0) + ran.plan.bytes_processed
        billed = (view.bytes_billed or 0) + ran.plan.bytes_billed
        job.view = msgspec.structs.replace(
            view, children=number + 1, bytes_processed=read, bytes_billed=billed
        )
        view = msgspec.structs.replace(
            planned_view(view, ran.plan),
            job_id=f"script_job_{hashlib.sha256(view.job_id.encode()).hexdigest()[:32]}_{number}",
            sql=ran.frames[0].text,
            parameters=ran.plan.question.parameters,
            state="DONE",
            created=ran.started,
            started=ran.started,
            ended=time.time(),
            error=JobError.of(ran.error) if ran.error else None,
            parent=view.job_id,
            expression=ran.expression,
            frames=ran.frames,
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
        job.rows, job.content = done.rows, done.content
        job.result = anonymous(job.view)
        self._catalog.store.know_hidden((job.result.project, job.result.dataset))
        self._catalog.store.put_result(
            Stored(
                id=job.result,
                kind=TableKind.TABLE,
                etag=etag(str(job.result)),
                modified=time.time(),
                created=time.time(),
                fields=plan.fields,
                content=done.content,
                row_count=len(done.rows),
                details={"location": job.view.location},
            )
        )
        job.view = msgspec.structs.replace(
            job.view,
            schema=plan.fields,
            total_rows=len(done.rows),
            destination=job.view.destination or job.result,
        )

    def _drop_oldest(self) -> None:
        """Keep memory bounded; the results that go first are those that were read long ago."""
        for key in [key for key, job in self._jobs.items() if job.view.done][:-_KEPT]:
            self._forget(key)

    def _forget(self, key: tuple[str, str]) -> None:
        gone = self._jobs.pop(key)
        if gone.result:
            self._catalog.store.drop_result(gone.result)
        self._by_request = {at: job for at, job in self._by_request.items() if job is not gone}
