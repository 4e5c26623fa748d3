"""The HTTP side: BigQuery's paths, answered from the catalog and the jobs."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from keystile.model.errors import InvalidRequestError, KeystileError, NotFoundError
from keystile.model.schema import TableId, TableKind
from keystile.sandbox import resources
from keystile.sandbox.errors import unsupported
from keystile.sandbox.jobs import Job, Jobs
from keystile.sandbox.pages import page_of_list, page_of_rows, selected
from keystile.sandbox.queries import Catalog
from keystile.sandbox.routines import listed_routine, routine_resource
from keystile.sandbox.tokens import TokenCheck
from keystile.wire import responses
from keystile.wire.jsonbody import MAX_BODY_BYTES
from keystile.wire.partial import select
from keystile.wire.paths import Call, route
from keystile.wire.requests import PageRequest, QueryRequest, parse_insert, parse_page, parse_query
from keystile.wire.responses import Resource, ResultsView

_log = logging.getLogger(__name__)


class Sandbox:
    """The ASGI application."""

    def __init__(self, catalog: Catalog, tokens: TokenCheck) -> None:
        """Serve `catalog` to whoever `tokens` accepts."""
        self._catalog = catalog
        self._jobs = Jobs(catalog)
        self._tokens = tokens
        self._answers: dict[str, Callable[[Call, bytes, str], Awaitable[Resource]]] = {
            "jobs.query": self._query,
            "jobs.insert": self._insert,
            "jobs.get": self._job,
            "jobs.list": self._list_jobs,
            "jobs.cancel": self._cancel,
            "jobs.getQueryResults": self._results,
            "datasets.list": self._list_datasets,
            "datasets.get": self._dataset,
            "tables.list": self._list_tables,
            "tables.get": self._table,
            "tabledata.list": self._table_data,
            "routines.list": self._list_routines,
            "routines.get": self._routine,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"no {scope['type']} here")
        request = Request(scope, receive)
        try:
            body, status = responses.to_bytes(await self._answered(request)), 200
        except KeystileError as error:
            body, status = responses.error_body(error), error.http_status
        except ClientDisconnect:
            return
        except Exception:  # noqa: BLE001  # a client gets Google's shape; the log, the trace
            _log.exception("a request broke the sandbox")
            failure = KeystileError("the sandbox failed on this request")
            body, status = responses.error_body(failure), failure.http_status
        await Response(body, status, media_type="application/json")(scope, receive, send)

    async def close(self) -> None:
        """End all jobs."""
        await self._jobs.close()

    async def _answered(self, request: Request) -> Resource:
        owner = self._tokens.account(request.headers.get("authorization", ""))
        body = await _body(request)
        override = request.headers.get("x-http-method-override", "")
        query = body.decode("latin-1") if override else request.scope["query_string"].decode()
        path = request.scope["raw_path"].decode("latin-1")
        call = route(request.method, path, query, override=override)
        if call.method not in self._answers:
            raise unsupported(call.method)
        return select(await self._answers[call.method](call, body, owner), call.fields)

    async def _query(self, call: Call, body: bytes, owner: str) -> Resource:
        request = parse_query(call.project, body)
        if request.dry_run:
            return responses.query_resource(ResultsView(await self._jobs.dry_run(request, owner)))
        job = self._jobs.start(request, owner)
        await self._jobs.wait(job, request.timeout_ms)
        return resources.query_resource(job, _page(job, _first_page(request)))

    async def _insert(self, call: Call, body: bytes, owner: str) -> Resource:
        request = parse_insert(call.project, body)
        if request.dry_run:
            return responses.job_resource(await self._jobs.dry_run(request, owner))
        return resources.job_resource(self._jobs.start(request, owner))

    async def _job(self, call: Call, _body: bytes, _owner: str) -> Resource:
        return resources.job_resource(self._found(call))

    async def _cancel(self, call: Call, _body: bytes, _owner: str) -> Resource:
        job = self._found(call)
        await self._jobs.cancel(job)
        return responses.cancel_resource(job.view)

    async def _results(self, call: Call, _body: bytes, _owner: str) -> Resource:
        page = parse_page(call)
        job = self._found(call)
        await self._jobs.wait(job, page.timeout_ms)
        return resources.results_resource(job, _page(job, page))

    async def _list_jobs(self, call: Call, _body: bytes, _owner: str) -> Resource:
        for name in ("minCreationTime", "maxCreationTime"):
            if call.parameters.get(name):
                raise unsupported(f"`{name}` of jobs.list")
        state = call.parameters.get("stateFilter", "").upper()
        jobs = [
            job.view
            for job in self._jobs.newest_first(call.project, call.parameters.get("parentJobId", ""))
            if state in ("", job.view.state)
        ]
        listed, token = page_of_list(jobs, call)
        return responses.job_list_resource(listed, token)

    async def _list_datasets(self, call: Call, _body: bytes, _owner: str) -> Resource:
        store = self._catalog.store
        found = [
            resources.dataset_resource(store.dataset(id_))
            for id_ in store.datasets
            if id_[0] == call.project
        ]
        if not found:
            raise NotFoundError(f"Not found: Project {call.project}")
        listed, token = page_of_list(found, call)
        return responses.dataset_list(listed, token)

    async def _dataset(self, call: Call, _body: bytes, _owner: str) -> Resource:
        self._catalog.store.tables_in((call.project, call.dataset))
        return resources.dataset_resource(self._catalog.store.dataset((call.project, call.dataset)))

    async def _list_tables(self, call: Call, _body: bytes, _owner: str) -> Resource:
        stored = self._catalog.store.tables_in((call.project, call.dataset))
        listed, token = page_of_list([resources.table_resource(each) for each in stored], call)
        return responses.table_list(listed, len(stored), token)

    async def _table(self, call: Call, _body: bytes, _owner: str) -> Resource:
        id_ = TableId(call.project, call.dataset, call.table)
        if job := self._jobs.holding(id_):
            return resources.result_resource(id_, job.view)
        self._catalog.store.table(id_)
        return resources.table_resource(await self._catalog.look_up(id_))

    async def _table_data(self, call: Call, _body: bytes, _owner: str) -> Resource:
        page = parse_page(call)
        id_ = TableId(call.project, call.dataset, call.table)
        if job := self._jobs.holding(id_):
            rows, fields = job.rows, job.view.schema or ()
        elif self._catalog.store.table(id_).kind is not TableKind.TABLE:
            raise InvalidRequestError("Cannot list a table of type VIEW.")
        else:
            rows, fields = await self._catalog.rows(id_), self._catalog.store.table(id_).fields
        if page.selected_fields:
            rows, fields = selected(rows, fields, page.selected_fields)
        shown, token = page_of_rows(rows, fields, page, str(id_))
        return responses.table_data_resource(shown, len(rows), token)

    async def _list_routines(self, call: Call, _body: bytes, _owner: str) -> Resource:
        found = self._catalog.store.routines_in((call.project, call.dataset))
        listed, token = page_of_list([listed_routine(routine) for routine in found], call)
        resource: Resource = {"routines": list(listed)} if listed else {}
        return {**resource, "nextPageToken": token} if token else resource

    async def _routine(self, call: Call, _body: bytes, _owner: str) -> Resource:
        store = self._catalog.store
        store.tables_in((call.project, call.dataset))
        routine = store.routine(TableId(call.project, call.dataset, call.item))
        if routine is None:
            raise NotFoundError(f"Not found: Routine {call.project}:{call.dataset}.{call.item}")
        return routine_resource(routine)

    def _found(self, call: Call) -> Job:
        return self._jobs.get(call.project, call.job, call.parameters.get("location", ""))


async def _body(request: Request) -> bytes:
    if request.headers.get("content-encoding", "identity") != "identity":
        raise InvalidRequestError("compressed request bodies are not read here")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise InvalidRequestError(f"the request body is larger than {MAX_BODY_BYTES} bytes")
    return bytes(body)


def _first_page(request: QueryRequest) -> PageRequest:
    return PageRequest(
        max_results=request.max_results, use_int64_timestamp=request.use_int64_timestamp
    )


def _page(job: Job, page: PageRequest) -> ResultsView:
    """Give a page of a job. Raises the job's own failure, as BigQuery answers it."""
    if job.failure:
        raise job.failure
    if not job.view.done:
        return ResultsView(job.view)
    shown, token = page_of_rows(job.rows, job.view.schema or (), page, job.view.job_id)
    return ResultsView(job.view, tuple(shown), token)
