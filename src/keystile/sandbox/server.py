"""The HTTP side: BigQuery's paths, answered from the catalog and the jobs."""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from keystile.model.errors import InvalidRequestError, KeystileError, NotFoundError
from keystile.model.schema import Field, TableId, TableKind
from keystile.sandbox.cells import with_float_times
from keystile.sandbox.data import Stored
from keystile.sandbox.errors import unsupported
from keystile.sandbox.jobs import Job, Jobs
from keystile.sandbox.queries import LOCATION, Catalog
from keystile.sandbox.tokens import TokenCheck
from keystile.wire import responses
from keystile.wire.jsonbody import MAX_BODY_BYTES
from keystile.wire.partial import select
from keystile.wire.paths import Call, route
from keystile.wire.requests import PageRequest, QueryRequest, parse_insert, parse_page, parse_query
from keystile.wire.responses import JobView, Resource, ResultsView
from keystile.wire.schema import schema_json

PAGE_ROWS = 10_000
"""Rows on a page where the client asks for no number or for more."""

_log = logging.getLogger(__name__)
_ItemT = TypeVar("_ItemT")


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
        return responses.query_resource(_page(job, _first_page(request)))

    async def _insert(self, call: Call, body: bytes, owner: str) -> Resource:
        request = parse_insert(call.project, body)
        if request.dry_run:
            return responses.job_resource(await self._jobs.dry_run(request, owner))
        return responses.job_resource(self._jobs.start(request, owner).view)

    async def _job(self, call: Call, _body: bytes, _owner: str) -> Resource:
        return responses.job_resource(self._found(call).view)

    async def _cancel(self, call: Call, _body: bytes, _owner: str) -> Resource:
        job = self._found(call)
        await self._jobs.cancel(job)
        return responses.cancel_resource(job.view)

    async def _results(self, call: Call, _body: bytes, _owner: str) -> Resource:
        page = parse_page(call)
        job = self._found(call)
        await self._jobs.wait(job, page.timeout_ms)
        return responses.results_resource(_page(job, page))

    async def _list_jobs(self, call: Call, _body: bytes, _owner: str) -> Resource:
        for name in ("parentJobId", "minCreationTime", "maxCreationTime"):
            if call.parameters.get(name):
                raise unsupported(f"`{name}` of jobs.list")
        state = call.parameters.get("stateFilter", "").upper()
        jobs = [
            job.view
            for job in self._jobs.newest_first(call.project)
            if state in ("", job.view.state)
        ]
        listed, token = _listed(jobs, call)
        return responses.job_list_resource(listed, token)

    async def _list_datasets(self, call: Call, _body: bytes, _owner: str) -> Resource:
        found = [
            _dataset_resource(*pair) for pair in self._catalog.datasets if pair[0] == call.project
        ]
        if not found:
            raise NotFoundError(f"Not found: Project {call.project}")
        listed, token = _listed(found, call)
        return responses.dataset_list(listed, token)

    async def _dataset(self, call: Call, _body: bytes, _owner: str) -> Resource:
        self._catalog.in_dataset(call.project, call.dataset)
        return _dataset_resource(call.project, call.dataset)

    async def _list_tables(self, call: Call, _body: bytes, _owner: str) -> Resource:
        stored = self._catalog.in_dataset(call.project, call.dataset)
        listed, token = _listed([_table_resource(each, ()) for each in stored], call)
        return responses.table_list(listed, len(stored), token)

    async def _table(self, call: Call, _body: bytes, _owner: str) -> Resource:
        id_ = TableId(call.project, call.dataset, call.table)
        if job := self._jobs.holding(id_):
            return _result_resource(id_, job.view)
        stored = self._catalog.stored(id_)
        return _table_resource(stored, await self._catalog.fields(id_))

    async def _table_data(self, call: Call, _body: bytes, _owner: str) -> Resource:
        page = parse_page(call)
        id_ = TableId(call.project, call.dataset, call.table)
        if job := self._jobs.holding(id_):
            rows, fields = job.rows, job.view.schema or ()
        elif self._catalog.stored(id_).kind is not TableKind.TABLE:
            raise InvalidRequestError("Cannot list a table of type VIEW.")
        else:
            rows, fields = await self._catalog.rows(id_), await self._catalog.fields(id_)
        if page.selected_fields:
            rows, fields = _selected(rows, fields, page.selected_fields)
        shown, token = _slice(rows, fields, page, str(id_))
        return responses.table_data_resource(shown, len(rows), token)

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
    shown, token = _slice(job.rows, job.view.schema or (), page, job.view.job_id)
    return ResultsView(job.view, tuple(shown), token)


def _slice(
    rows: list[dict[str, Any]], fields: tuple[Field, ...], page: PageRequest, what: str
) -> tuple[list[responses.Row], str]:
    start = _offset(page.page_token, what) if page.page_token else page.start_index or 0
    wanted = PAGE_ROWS if page.max_results is None else min(page.max_results, PAGE_ROWS)
    end = start + wanted
    shown: list[responses.Row] = [
        row if page.use_int64_timestamp else with_float_times(row, fields)
        for row in rows[start:end]
    ]
    return shown, _token(end, what) if end < len(rows) else ""


def _listed(items: Sequence[_ItemT], call: Call) -> tuple[Sequence[_ItemT], str]:
    """Cut a page out of a list of jobs, datasets or tables."""
    page = parse_page(call)
    what = f"{call.method}|{call.project}|{call.dataset}"
    start = _offset(page.page_token, what) if page.page_token else 0
    end = start + (len(items) if page.max_results is None else page.max_results)
    return items[start:end], _token(end, what) if end < len(items) else ""


def _token(offset: int, what: str) -> str:
    """Make a page token that is good for this one result or list."""
    return base64.urlsafe_b64encode(f"{offset}|{what}".encode()).decode()


def _offset(token: str, what: str) -> int:
    try:
        offset, _, named = base64.b64decode(token, b"-_", validate=True).decode().partition("|")
    except (binascii.Error, ValueError) as error:
        raise InvalidRequestError("Invalid page token") from error
    if named != what or not offset.isdecimal():
        raise InvalidRequestError("Invalid page token")
    return int(offset)


def _selected(
    rows: list[dict[str, Any]], fields: tuple[Field, ...], names: tuple[str, ...]
) -> tuple[list[dict[str, Any]], tuple[Field, ...]]:
    places = {field.name.lower(): at for at, field in enumerate(fields)}
    for name in names:
        if name.lower() not in places:
            what = "nested fields in `selectedFields`" if "." in name else f"a field `{name[:80]}`"
            raise unsupported(what)
    # In the order of the schema, which is how clients read the cells.
    kept = sorted({places[name.lower()] for name in names})
    return (
        [{"f": [row["f"][at] for at in kept]} for row in rows],
        tuple(fields[at] for at in kept),
    )


def _dataset_resource(project: str, dataset: str) -> Resource:
    resource: Resource = {
        "kind": "bigquery#dataset",
        "id": f"{project}:{dataset}",
        "datasetReference": {"projectId": project, "datasetId": dataset},
        "location": LOCATION,
        "type": "DEFAULT",
        "access": [{"role": "OWNER", "specialGroup": "projectOwners"}],
    }
    return {**resource, "etag": responses.etag(resource)}


def _table_resource(stored: Stored, fields: tuple[Field, ...]) -> Resource:
    millis = str(int(stored.modified * 1000))
    resource: Resource = {
        "kind": "bigquery#table",
        "id": f"{stored.id.project}:{stored.id.dataset}.{stored.id.table}",
        "etag": stored.etag,
        "tableReference": responses.table_reference(stored.id),
        "type": stored.kind.value,
        "location": LOCATION,
        "schema": schema_json(fields),
        "creationTime": millis,
        "lastModifiedTime": millis,
    }
    if stored.description:
        resource["description"] = stored.description
    if stored.kind is TableKind.VIEW:
        return {**resource, "view": {"query": stored.view_query, "useLegacySql": False}}
    size = str(sum(stored.sizes.values()))
    return {**resource, "numRows": str(stored.row_count), "numBytes": size}


def _result_resource(id_: TableId, job: JobView) -> Resource:
    return {
        "kind": "bigquery#table",
        "id": f"{id_.project}:{id_.dataset}.{id_.table}",
        "etag": responses.etag(str(id_)),
        "tableReference": responses.table_reference(id_),
        "type": "TABLE",
        "location": LOCATION,
        "schema": schema_json(job.schema or ()),
        "numRows": str(job.total_rows or 0),
        "creationTime": str(int(job.created * 1000)),
    }
