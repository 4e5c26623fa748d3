"""The BigQuery methods that are served, one function each, and clear words for the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

import msgspec

from keystile.api.paged import Paged
from keystile.api.ports import Gate
from keystile.model.errors import RefusedError
from keystile.model.principal import Principal
from keystile.model.schema import RoutineId, TableId
from keystile.wire.job_bodies import parse_insert, parse_query
from keystile.wire.job_resources import (
    cancel_resource,
    job_list_resource,
    job_resource,
    query_resource,
    results_resource,
    table_data_resource,
)
from keystile.wire.list_parameters import parse_jobs, parse_page, truth_value
from keystile.wire.metadata import with_fields
from keystile.wire.methods import METHODS
from keystile.wire.paths import Call
from keystile.wire.permissions import parse_permissions
from keystile.wire.requests import PageRequest, QueryRequest
from keystile.wire.resources import parse_dataset, parse_table
from keystile.wire.responses import JobFailedError, JobView, Resource, ResultsView
from keystile.wire.routines import parse_routine, parse_routine_update
from keystile.wire.streaming import insert_all_resource, parse_rows
from keystile.wire.updates import Update, parse_update

MAX_WAIT_MS = 10_000
"""How long one request waits for a job: clients poll, and idle connections get cut."""

Handler = Callable[[Gate, Principal, Call, bytes], Awaitable[Resource | Paged]]


def handler(method: str) -> Handler:
    """Give the function that serves a method.

    Raises `RefusedError`, naming the method, for the others.
    """
    served = SERVED.get(method)
    if served is None:
        raise RefusedError(
            f"the method `{method}` is not served by this gateway", hint=METHODS[method].instead
        )
    return served


async def _query(gate: Gate, principal: Principal, call: Call, body: bytes) -> Paged:
    asked = parse_query(call.project, body)
    results = _well(await gate.query(principal, asked, _first_page(asked)))
    if results.job.optional:
        results = await results.whole()  # whether it is all decides on the answer's shape
    return Paged(query_resource(results), results)


async def _insert(gate: Gate, principal: Principal, call: Call, body: bytes) -> Resource:
    return job_resource(_told(call, await gate.insert(principal, parse_insert(call.project, body))))


async def _job(gate: Gate, principal: Principal, call: Call, _body: bytes) -> Resource:
    return job_resource(_told(call, await gate.job(principal, call.project, call.job)))


async def _results(gate: Gate, principal: Principal, call: Call, _body: bytes) -> Paged:
    asked = parse_page(call)
    # Python asks for 0 rows first, without a word on timestamps, and goes to the Storage API, past
    # the gateway, unless the answer holds the first page all the same. It then reads that page as
    # if it had asked for whole microseconds, as it does for every page with rows.
    waiting = asked.max_results == 0
    page = msgspec.structs.replace(
        asked,
        timeout_ms=min(asked.timeout_ms, MAX_WAIT_MS),
        max_results=asked.max_results or None,
        use_int64_timestamp=asked.use_int64_timestamp or waiting,
    )
    results = _well(await gate.results(principal, call.project, call.job, page))
    return Paged(results_resource(results), results)


async def _jobs(gate: Gate, principal: Principal, call: Call, _body: bytes) -> Resource:
    asked = parse_jobs(call)
    listed = await gate.jobs(principal, call.project, asked)
    jobs = tuple(_told(call, job) for job in listed.jobs)
    return job_list_resource(jobs, listed.page_token, full=asked.full)


async def _cancel(gate: Gate, principal: Principal, call: Call, _body: bytes) -> Resource:
    return cancel_resource(_told(call, await gate.cancel(principal, call.project, call.job)))


def _told(call: Call, job: JobView) -> JobView:
    """Leave out the name of a result of several pages, unless the client can read it by its name.

    Python's client would read it from the Storage API, past the gateway, instead of asking for the
    next page. bigframes takes a job without such a name for one without rows, and gives its user a
    frame of the job's own figures; it is known by the mode of its jobs.
    """
    if call.finds_storage or job.optional or not job.several_pages:
        return job
    return msgspec.structs.replace(job, destination=None)


async def _rows(gate: Gate, principal: Principal, call: Call, _body: bytes) -> Resource | Paged:
    results = await gate.rows(principal, call.project, call.dataset, call.table, parse_page(call))
    if results is None:
        return table_data_resource((), 0, "", "no rows")
    version, total = [results.job.job_id, results.start], results.job.total_rows or 0
    resource = table_data_resource(results.rows, total, results.page_token, version)
    return Paged(resource, results)


async def _insert_all(gate: Gate, principal: Principal, call: Call, body: bytes) -> Resource:
    table = TableId(call.project, call.dataset, call.table)
    # In a thread: ten megabytes take long enough to be noticed by everybody else.
    rows = await asyncio.to_thread(parse_rows, table, body)
    return insert_all_resource(await gate.insert_rows(principal, rows))


async def _projects(gate: Gate, principal: Principal, call: Call, _body: bytes) -> Resource:
    return await gate.projects(principal, parse_page(call))


async def _datasets(gate: Gate, principal: Principal, call: Call, _body: bytes) -> Resource:
    labels = call.parameters.get("filter", "")
    return await gate.datasets(principal, call.project, parse_page(call), labels)


async def _dataset(gate: Gate, principal: Principal, call: Call, _body: bytes) -> Resource:
    return await gate.dataset(principal, call.project, call.dataset)


async def _tables(gate: Gate, principal: Principal, call: Call, _body: bytes) -> Resource:
    return await gate.tables(principal, call.project, call.dataset, parse_page(call))


async def _table(gate: Gate, principal: Principal, call: Call, _body: bytes) -> Resource:
    wanted = parse_page(call).selected_fields
    return with_fields(await gate.table(principal, call.project, call.dataset, call.table), wanted)


async def _permissions(gate: Gate, principal: Principal, call: Call, body: bytes) -> Resource:
    table = TableId(call.project, call.dataset, call.table)
    return {"permissions": await gate.permissions(principal, table, parse_permissions(body))}


async def _routines(gate: Gate, principal: Principal, call: Call, _body: bytes) -> Resource:
    if call.parameters.get("filter"):
        raise RefusedError("the `filter` of routines.list is not served", hint="list them all")
    return await gate.routines(principal, call.project, call.dataset, parse_page(call))


async def _service_account(gate: Gate, principal: Principal, call: Call, _body: bytes) -> Resource:
    return await gate.service_account(principal, call.project)


async def _models(gate: Gate, principal: Principal, call: Call, _body: bytes) -> Resource:
    return await gate.models(principal, call.project, call.dataset, parse_page(call))


async def _routine(gate: Gate, principal: Principal, call: Call, _body: bytes) -> Resource:
    return await gate.routine(principal, call.project, call.dataset, call.item)


async def _new_dataset(gate: Gate, principal: Principal, call: Call, body: bytes) -> Resource:
    return await gate.create_dataset(principal, parse_dataset(call.project, body))


async def _patch_dataset(gate: Gate, principal: Principal, call: Call, body: bytes) -> Resource:
    update = parse_update(body, whole=False, etag=call.if_match)
    return await gate.update_dataset(principal, call.project, call.dataset, update)


async def _put_dataset(gate: Gate, principal: Principal, call: Call, body: bytes) -> Resource:
    update = parse_update(body, whole=True, etag=call.if_match)
    return await gate.update_dataset(principal, call.project, call.dataset, update)


async def _drop_dataset(gate: Gate, principal: Principal, call: Call, _body: bytes) -> Resource:
    contents = truth_value(call.parameters, "deleteContents")
    await gate.delete_dataset(principal, call.project, call.dataset, contents=contents)
    return {}


async def _new_table(gate: Gate, principal: Principal, call: Call, body: bytes) -> Resource:
    return await gate.create_table(principal, parse_table(call.project, call.dataset, body))


async def _patch_table(gate: Gate, principal: Principal, call: Call, body: bytes) -> Resource:
    update = parse_update(body, whole=False, etag=call.if_match)
    return await _update_table(gate, principal, call, update)


async def _put_table(gate: Gate, principal: Principal, call: Call, body: bytes) -> Resource:
    update = parse_update(body, whole=True, etag=call.if_match)
    return await _update_table(gate, principal, call, update)


async def _update_table(gate: Gate, principal: Principal, call: Call, update: Update) -> Resource:
    if truth_value(call.parameters, "autodetect_schema"):
        raise RefusedError("`autodetect_schema` is refused", hint="name the columns in `schema`")
    return await gate.update_table(principal, call.project, call.dataset, call.table, update)


async def _drop_table(gate: Gate, principal: Principal, call: Call, _body: bytes) -> Resource:
    await gate.delete_table(principal, call.project, call.dataset, call.table)
    return {}


async def _new_routine(gate: Gate, principal: Principal, call: Call, body: bytes) -> Resource:
    return await gate.create_routine(principal, parse_routine(call.project, call.dataset, body))


async def _put_routine(gate: Gate, principal: Principal, call: Call, body: bytes) -> Resource:
    id_ = RoutineId(call.project, call.dataset, call.item)
    new = parse_routine_update(id_, body)
    return await gate.replace_routine(principal, new, call.if_match)


async def _drop_routine(gate: Gate, principal: Principal, call: Call, _body: bytes) -> Resource:
    await gate.delete_routine(principal, call.project, call.dataset, call.item)
    return {}


SERVED: Mapping[str, Handler] = MappingProxyType(
    {
        "jobs.query": _query,
        "jobs.insert": _insert,
        "jobs.get": _job,
        "jobs.getQueryResults": _results,
        "jobs.list": _jobs,
        "jobs.cancel": _cancel,
        "tabledata.list": _rows,
        "tabledata.insertAll": _insert_all,
        "projects.list": _projects,
        "datasets.list": _datasets,
        "datasets.get": _dataset,
        "datasets.insert": _new_dataset,
        "datasets.patch": _patch_dataset,
        "datasets.update": _put_dataset,
        "datasets.delete": _drop_dataset,
        "tables.list": _tables,
        "tables.get": _table,
        "tables.insert": _new_table,
        "tables.patch": _patch_table,
        "tables.update": _put_table,
        "tables.delete": _drop_table,
        "tables.testIamPermissions": _permissions,
        "models.list": _models,
        "projects.getServiceAccount": _service_account,
        "routines.list": _routines,
        "routines.get": _routine,
        "routines.insert": _new_routine,
        "routines.update": _put_routine,
        "routines.delete": _drop_routine,
    }
)
"""Every method that is served: those that `METHODS` says are."""


def _first_page(asked: QueryRequest) -> PageRequest:
    return PageRequest(
        location=asked.location,
        max_results=asked.max_results or None,
        timeout_ms=min(asked.timeout_ms, MAX_WAIT_MS),
        use_int64_timestamp=asked.use_int64_timestamp,
    )


def _well(results: ResultsView) -> ResultsView:
    """Raise `JobFailedError` for a job that has failed."""
    if results.job.error is not None:
        raise JobFailedError(results.job.error)
    return results
