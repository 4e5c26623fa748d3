from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest
from aiohttp import web

from keystile.model.errors import (
    DuplicateError,
    InvalidQueryError,
    NotFoundError,
    RefusedError,
)
from keystile.model.schema import Mode, Parameter, RoutineId, SqlType, TableId, TableKind
from keystile.upstream import bigquery as module
from keystile.upstream.bigquery import BigQuery
from keystile.upstream.values import JobRef, UpstreamQuery
from keystile.wire.resources import NewTable, Partitioning, Words
from keystile.wire.responses import RowsChanged

CUSTOMERS = TableId("acme-shop", "shop", "customers")
TABLE_PATH = "GET /bigquery/v2/projects/acme-shop/datasets/shop/tables/customers"
LIST_PATH = "GET /bigquery/v2/projects/acme-shop/datasets/shop/tables"
INSERT = "POST /bigquery/v2/projects/acme-shop/jobs"
RESULTS = "GET /bigquery/v2/projects/acme-shop/queries/j1"
JOB = "GET /bigquery/v2/projects/acme-shop/jobs/j1"
REF = JobRef("acme-shop", "j1", "EU")
REFERENCE = {"projectId": "acme-shop", "datasetId": "shop", "tableId": "customers"}
SCHEMA = {"fields": [{"name": "id", "type": "INTEGER", "mode": "REQUIRED"}]}
PAD = "c2VjcmV0LXBhZC1zZWNyZXQtcGFkLXNlY3JldC1wYWQ="
QUERY = UpstreamQuery(
    project="acme-shop",
    sql="SELECT id FROM shop.customers",
    location="EU",
    parameters=(
        Parameter("id", SqlType("INT64"), {"value": "7"}),
        Parameter("keystile_hash_inner", SqlType("BYTES"), {"value": PAD}),
    ),
    hidden=frozenset({"keystile_hash_inner"}),
    labels={"team": "a"},
    maximum_bytes_billed=1000,
    use_query_cache=False,
    timeout_ms=5000,
)


def _table(**more: Any) -> dict[str, Any]:
    return {"tableReference": REFERENCE, "type": "TABLE", "etag": "e1", "schema": SCHEMA} | more


async def test_a_table_comes_with_its_schema(stub: Any, bigquery: BigQuery) -> None:
    stub.routes[TABLE_PATH] = _table()
    table = await bigquery.table(CUSTOMERS)
    assert (table.id, table.kind, table.etag) == (CUSTOMERS, TableKind.TABLE, "e1")
    assert [(f.name, f.type, f.mode) for f in table.fields] == [("id", "INT64", Mode.REQUIRED)]


async def test_a_table_is_asked_for_again_by_etag_when_it_is_old(
    stub: Any, bigquery: BigQuery, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.routes[TABLE_PATH] = [_table(), (304, None), _table(etag="e2", type="VIEW")]
    first = await bigquery.table(CUSTOMERS)
    assert await bigquery.table(CUSTOMERS) is first
    assert len(stub.requests) == 1
    monkeypatch.setattr(module, "_OBJECT_SECONDS", -1.0)
    assert await bigquery.table(CUSTOMERS) is first
    assert (await bigquery.table(CUSTOMERS)).kind is TableKind.VIEW
    sent = [request.headers.get("If-None-Match") for request in stub.requests]
    assert sent == [None, "e1", "e1"]


async def test_a_table_that_a_job_has_changed_is_asked_for_anew(
    stub: Any, bigquery: BigQuery
) -> None:
    stub.routes[TABLE_PATH] = [_table(), _table(etag="e2")]
    await bigquery.table(CUSTOMERS)
    bigquery.forget([CUSTOMERS, TableId("acme-shop", "shop", "never_seen")])
    assert (await bigquery.table(CUSTOMERS)).etag == "e2"


async def test_a_dropped_table_is_forgotten(
    stub: Any, bigquery: BigQuery, error: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = error(404, "notFound", "Not found: Table acme-shop:shop.customers")
    stub.routes[TABLE_PATH] = [_table(), gone, _table(etag="e9")]
    await bigquery.table(CUSTOMERS)
    monkeypatch.setattr(module, "_OBJECT_SECONDS", -1.0)
    with pytest.raises(NotFoundError, match="Not found: Table"):
        await bigquery.table(CUSTOMERS)
    assert (await bigquery.table(CUSTOMERS)).etag == "e9"
    assert "If-None-Match" not in stub.requests[-1].headers


@pytest.mark.parametrize(
    ("more", "kind", "view"),
    [
        (
            {"type": "VIEW", "view": {"query": "SELECT 1", "useLegacySql": False}},
            "VIEW",
            "SELECT 1",
        ),
        (
            {"type": "VIEW", "view": {"query": "SELECT 1", "useLegacySql": True}},
            "OTHER",
            "SELECT 1",
        ),
        (
            {"type": "MATERIALIZED_VIEW", "materializedView": {"query": "q"}},
            "MATERIALIZED_VIEW",
            "q",
        ),
        ({"type": "EXTERNAL"}, "EXTERNAL", ""),
        ({"type": "SNAPSHOT"}, "SNAPSHOT", ""),
        ({"type": "WILDCARD"}, "OTHER", ""),
        ({"type": "MODEL"}, "OTHER", ""),
    ],
)
async def test_kinds_of_tables(
    stub: Any, bigquery: BigQuery, more: dict[str, Any], kind: str, view: str
) -> None:
    stub.routes[TABLE_PATH] = _table(**more)
    table = await bigquery.table(CUSTOMERS)
    assert (table.kind, table.view_query) == (kind, view)


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ({}, []),
        ({"timePartitioning": {"type": "DAY", "field": "day"}}, []),
        ({"timePartitioning": {"type": "DAY"}}, ["_PARTITIONTIME", "_PARTITIONDATE"]),
        ({"type": "EXTERNAL"}, ["_FILE_NAME"]),
    ],
)
async def test_pseudo_columns_come_with_the_table(
    stub: Any, bigquery: BigQuery, more: dict[str, Any], names: list[str]
) -> None:
    stub.routes[TABLE_PATH] = _table(**more)
    table = await bigquery.table(CUSTOMERS)
    assert [field.name for field in table.pseudo_columns] == names
    assert [field.name for field in table.fields] == ["id"]


async def test_every_table_of_a_dataset_is_listed_page_by_page(
    stub: Any, bigquery: BigQuery
) -> None:
    view = {"tableReference": REFERENCE | {"tableId": "v"}, "type": "VIEW", "creationTime": "7"}
    day = {"tableReference": REFERENCE, "timePartitioning": {"type": "DAY", "field": "day"}}
    number = {"tableReference": REFERENCE, "rangePartitioning": {"field": "n"}}
    stub.routes[LIST_PATH] = [
        {"tables": [{"tableReference": REFERENCE, "type": "TABLE"}], "nextPageToken": "more"},
        {"tables": [view, day, number]},
    ]
    found = await bigquery.every_table("acme-shop", "shop")
    assert [(one.id.table, one.kind, one.created) for one in found[:2]] == [
        ("customers", TableKind.TABLE, 0),
        ("v", TableKind.VIEW, 7),
    ]
    assert [one.partitioned_by for one in found] == ["", "", "day", "n"]
    assert [request.query.get("pageToken") for request in stub.requests] == [None, "more"]


async def test_every_dataset_of_a_project_is_listed(stub: Any, bigquery: BigQuery) -> None:
    names = [{"datasetReference": {"datasetId": name}} for name in ("shop", "payroll")]
    stub.routes["GET /bigquery/v2/projects/acme-shop/datasets"] = {"datasets": names}
    assert await bigquery.every_dataset("acme-shop") == ("shop", "payroll")


async def test_a_listing_without_an_end_is_refused(
    stub: Any, bigquery: BigQuery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAGES_LISTED", 2)
    stub.routes[LIST_PATH] = {"nextPageToken": "again"}
    with pytest.raises(RefusedError, match="too much in `shop` to list"):
        await bigquery.every_table("acme-shop", "shop")
    assert len(stub.requests) == 2


async def test_a_table_known_under_another_name_is_refused(stub: Any, bigquery: BigQuery) -> None:
    stub.routes[TABLE_PATH] = _table(tableReference=REFERENCE | {"tableId": "Customers"})
    with pytest.raises(RefusedError, match=r"another name; write `acme-shop\.shop\.Customers`"):
        await bigquery.table(CUSTOMERS)


async def test_odd_names_stay_inside_their_path_segment(stub: Any, bigquery: BigQuery) -> None:
    raw = "GET /bigquery/v2/projects/acme-shop/datasets/..%2Fx/tables/a%3Fb%20%C3%A9"
    stub.routes[raw] = {"etag": "x"}
    assert await bigquery.get_table(TableId("acme-shop", "../x", "a?b é")) == {"etag": "x"}


async def test_a_dry_run_tells_what_the_second_witness_needs(stub: Any, bigquery: BigQuery) -> None:
    stub.routes[INSERT] = {
        "jobReference": {"projectId": "acme-shop", "location": "EU"},
        "status": {"state": "DONE"},
        "statistics": {
            "query": {
                "statementType": "SELECT",
                "referencedTables": [REFERENCE],
                "schema": SCHEMA,
                "totalBytesProcessed": "4096",
            }
        },
    }
    dry = await bigquery.dry_run(QUERY)
    assert (dry.statement_type, dry.bytes_processed, dry.location) == ("SELECT", 4096, "EU")
    assert dry.referenced_tables == (CUSTOMERS,)
    assert [f.name for f in dry.schema] == ["id"]
    body = stub.bodies[0]
    assert body["configuration"]["dryRun"] is True
    assert body["configuration"]["query"]["useLegacySql"] is False


async def test_start_sends_exactly_the_query_under_its_job_id(
    stub: Any, bigquery: BigQuery
) -> None:
    stub.routes[INSERT] = {"status": {"state": "RUNNING"}}
    await bigquery.start(QUERY, "j1")
    body = stub.bodies[0]
    assert body["jobReference"] == {"projectId": "acme-shop", "jobId": "j1", "location": "EU"}
    assert not body["configuration"].get("dryRun")
    query = body["configuration"]["query"]
    assert query["query"] == QUERY.sql
    assert query["useLegacySql"] is False
    assert query["useQueryCache"] is False
    assert query["maximumBytesBilled"] == "1000"
    assert [p["name"] for p in query["queryParameters"]] == ["id", "keystile_hash_inner"]
    assert body["configuration"]["labels"] == {"team": "a"}
    assert body["configuration"]["jobTimeoutMs"] == "5000"


async def test_a_query_says_where_its_result_goes(stub: Any, bigquery: BigQuery) -> None:
    stub.routes[INSERT] = {"status": {"state": "RUNNING"}}
    table = {"projectId": "acme-shop", "datasetId": "lab", "tableId": "kept"}
    into = {"destinationTable": table, "writeDisposition": "WRITE_APPEND"}
    await bigquery.start(msgspec.structs.replace(QUERY, into=into), "j1")
    assert into.items() <= stub.bodies[0]["configuration"]["query"].items()


async def test_starting_twice_is_a_success(stub: Any, bigquery: BigQuery, error: Any) -> None:
    stub.routes[INSERT] = error(409, "duplicate", "Already Exists: Job acme-shop:EU.j1")
    await bigquery.start(QUERY, "j1")


async def test_waiting_ends_with_the_jobs_status(stub: Any, bigquery: BigQuery) -> None:
    stub.routes[RESULTS] = [
        {"jobComplete": False},
        {"jobComplete": True, "totalRows": "12", "schema": SCHEMA},
    ]
    kept = {"projectId": "acme-shop", "datasetId": "_hidden", "tableId": "anon1"}
    stub.routes[JOB] = {
        "status": {"state": "DONE"},
        "configuration": {"query": {"destinationTable": kept}},
        "statistics": {
            "startTime": "1700000000500",
            "endTime": "1700000001500",
            "query": {"statementType": "SELECT", "totalBytesProcessed": "5", "cacheHit": True},
        },
    }
    assert not (await bigquery.wait(REF, 0.5)).done
    status = await bigquery.wait(REF, 0.5)
    assert (status.done, status.error, status.total_rows) == (True, None, 12)
    assert (status.started, status.ended) == (1700000000.5, 1700000001.5)
    assert (status.bytes_processed, status.cache_hit, status.statement_type) == (5, True, "SELECT")
    assert [f.name for f in status.schema] == ["id"]
    assert status.result == TableId("acme-shop", "_hidden", "anon1")
    asked = {"maxResults": "0", "timeoutMs": "500", "location": "EU", "prettyPrint": "false"}
    assert dict(stub.requests[0].query) == asked


async def test_the_first_rows_come_with_the_news_of_the_end(stub: Any, bigquery: BigQuery) -> None:
    row = {"f": [{"v": "1"}]}
    stub.routes[RESULTS] = {"jobComplete": True, "totalRows": "5", "rows": [row]}
    stub.routes[JOB] = {"status": {"state": "DONE"}}
    status = await bigquery.wait(REF, 10.0, rows=2)
    assert status.first
    assert [json.loads(bytes(one)) for one in status.first.rows] == [row]
    asked = dict(stub.requests[0].query)
    assert (asked["maxResults"], asked["timeoutMs"]) == ("2", "10000")
    assert asked["formatOptions.useInt64Timestamp"] == "true"
    assert len(stub.requests) == 2


async def test_a_job_that_wrote_says_how_many_rows_it_changed(
    stub: Any, bigquery: BigQuery
) -> None:
    stub.routes[RESULTS] = {"jobComplete": True}
    query = {
        "statementType": "MERGE",
        "dmlStats": {"insertedRowCount": "2", "updatedRowCount": "6"},
    }
    stub.routes[JOB] = {"status": {"state": "DONE"}, "statistics": {"query": query}}
    status = await bigquery.wait(REF, 0)
    assert status.changed == RowsChanged(inserted=2, updated=6, deleted=0)


async def test_a_failed_job_is_done_and_carries_its_error(
    stub: Any, bigquery: BigQuery, error: Any
) -> None:
    stub.routes[RESULTS] = error(400, "invalidQuery", "Division by zero")
    result = {"reason": "invalidQuery", "message": "Division by zero"}
    stub.routes[JOB] = {"status": {"state": "DONE", "errorResult": result}}
    status = await bigquery.wait(REF, 1)
    assert status.done
    assert isinstance(status.error, InvalidQueryError)
    assert status.error.message == "Division by zero"


async def test_an_unknown_job_is_not_found_and_a_lost_result_is_no_success(
    stub: Any, bigquery: BigQuery, error: Any
) -> None:
    missing = error(404, "notFound", "Not found: Job acme-shop:EU.j1")
    stub.routes[RESULTS] = stub.routes[JOB] = missing
    with pytest.raises(NotFoundError, match="Not found: Job"):
        await bigquery.wait(REF, 1)
    stub.routes[JOB] = {"status": {"state": "DONE"}}
    with pytest.raises(NotFoundError, match="Not found: Job"):
        await bigquery.wait(REF, 1)


async def test_rows_stay_as_bigquery_wrote_them(stub: Any, bigquery: BigQuery) -> None:
    stub.routes[RESULTS] = {
        "jobComplete": True,
        "rows": [{"f": [{"v": "1"}]}, {"f": [{"v": None}]}],
        "pageToken": "next",
        "totalRows": "3",
        "schema": SCHEMA,
    }
    page = await bigquery.rows(REF, start_index=1, max_results=2, use_int64_timestamp=True)
    assert [json.loads(bytes(row)) for row in page.rows] == [
        {"f": [{"v": "1"}]},
        {"f": [{"v": None}]},
    ]
    assert (page.page_token, page.total_rows) == ("next", 3)
    sent = dict(stub.requests[0].query)
    assert (sent["startIndex"], sent["maxResults"]) == ("1", "2")
    assert sent["formatOptions.useInt64Timestamp"] == "true"
    await bigquery.rows(REF, page_token="a+b/=&c", start_index=1)
    assert stub.requests[1].query["pageToken"] == "a+b/=&c"
    assert "startIndex" not in stub.requests[1].query


async def test_rows_of_a_running_job_are_refused(stub: Any, bigquery: BigQuery) -> None:
    stub.routes[RESULTS] = {"jobComplete": False}
    with pytest.raises(RefusedError, match="no rows yet"):
        await bigquery.rows(REF)


async def test_cancel_and_lists(stub: Any, bigquery: BigQuery) -> None:
    root = "/bigquery/v2/projects/acme-shop"
    stub.routes[f"POST {root}/jobs/j1/cancel"] = {"kind": "bigquery#jobCancelResponse"}
    stub.routes["GET /bigquery/v2/projects"] = {"projects": [{"id": "acme-shop"}]}
    stub.routes[f"GET {root}/datasets"] = {"datasets": [{"id": "1"}]}
    stub.routes[f"GET {root}/datasets/shop"] = {"id": "acme-shop:shop"}
    stub.routes[f"GET {root}/datasets/shop/tables"] = {}
    stub.routes[f"GET {root}/datasets/shop/routines"] = {"routines": [{"id": "2"}]}
    stub.routes[f"GET {root}/datasets/shop/routines/same"] = {"definitionBody": "x"}
    await bigquery.cancel(REF)
    assert await bigquery.list_projects() == [{"id": "acme-shop"}]
    assert await bigquery.list_datasets("acme-shop") == [{"id": "1"}]
    assert await bigquery.get_dataset("acme-shop", "shop") == {"id": "acme-shop:shop"}
    assert await bigquery.list_tables("acme-shop", "shop") == []
    assert await bigquery.list_routines("acme-shop", "shop") == [{"id": "2"}]
    routine = RoutineId("acme-shop", "shop", "same")
    assert await bigquery.get_routine(routine) == {"definitionBody": "x"}
    compact = {"prettyPrint": "false"}
    whole = {"maxResults": "1000", **compact}
    queries = [dict(request.query) for request in stub.requests]
    assert queries == [{"location": "EU", **compact}, whole, whole, compact, whole, whole, compact]


async def test_a_list_is_read_to_its_end(stub: Any, bigquery: BigQuery) -> None:
    async def listed(request: web.Request) -> web.Response:
        at = int(request.query.get("pageToken", "0"))
        page = {"datasets": [{"id": str(at)}], "nextPageToken": str(at + 1) if at < 2 else ""}
        return web.json_response(page)

    stub.routes["GET /bigquery/v2/projects/acme-shop/datasets"] = listed
    assert [one["id"] for one in await bigquery.list_datasets("acme-shop")] == ["0", "1", "2"]


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"jobComplete": "maybe"}', b""])
async def test_an_answer_that_is_not_understood_is_refused(
    stub: Any, bigquery: BigQuery, body: bytes
) -> None:
    async def odd(_: web.Request) -> web.Response:
        return web.Response(body=body)

    stub.routes[RESULTS] = odd
    with pytest.raises(RefusedError, match="not understood"):
        await bigquery.rows(REF)


async def test_hidden_parameters_show_in_no_repr_and_no_error(
    stub: Any, bigquery: BigQuery, error: Any
) -> None:
    assert PAD not in f"{QUERY!r}{QUERY}"
    raw = "secret-pad-secret-pad-secret-pad"
    stub.routes[INSERT] = [
        error(400, "invalidQuery", f"Cannot read parameter {PAD}"),
        error(400, "invalidQuery", f"Bad value: {raw}"),
        error(400, "invalidQuery", f"Bad value: {raw.encode().hex()}"),
        {"status": {"state": "RUNNING"}},
    ]
    for _ in range(3):
        with pytest.raises(InvalidQueryError, match="withheld"):
            await bigquery.dry_run(QUERY)
    await bigquery.start(QUERY, "j1")
    stub.routes[RESULTS] = error(400, "invalidQuery", "x")
    result = {"reason": "invalidQuery", "message": f"Bad value: {raw}"}
    stub.routes[JOB] = {"status": {"state": "DONE", "errorResult": result}}
    status = await bigquery.wait(REF, 1)
    assert isinstance(status.error, InvalidQueryError)
    assert raw not in str(status.error)


async def test_one_waiting_call_holds_up_no_other(stub: Any, bigquery: BigQuery) -> None:
    released = asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        await released.wait()
        return web.json_response({"jobComplete": False})

    stub.routes[RESULTS] = slow
    stub.routes[TABLE_PATH] = _table()
    waiting = asyncio.ensure_future(bigquery.wait(REF, 5))
    assert (await bigquery.table(CUSTOMERS)).id == CUSTOMERS
    released.set()
    assert not (await waiting).done


def test_values_are_frozen() -> None:
    with pytest.raises(AttributeError):
        msgspec.structs.replace(QUERY, sql="x").sql = "y"  # type: ignore[misc]


async def test_a_table_without_columns_is_made_once_and_looked_up_anew(
    stub: Any, bigquery: BigQuery, error: Any
) -> None:
    stub.routes[TABLE_PATH] = [_table(), _table(etag="e2", schema={})]
    stub.routes["POST /bigquery/v2/projects/acme-shop/datasets/shop/tables"] = [
        _table(schema={}),
        error(409, "duplicate", "Already Exists: Table acme-shop:shop.customers"),
    ]
    cut = Partitioning("HOUR", expiration_ms=3_600_000)
    words = Words(friendly_name="Customers")
    new = NewTable(CUSTOMERS, words, (), "", 9_000, cut, (), require_partition_filter=True)
    assert (await bigquery.table(CUSTOMERS)).fields
    await bigquery.create_table(new)
    assert stub.bodies[-1] == {
        "tableReference": REFERENCE,
        "friendlyName": "Customers",
        "expirationTime": "9000",
        "requirePartitionFilter": True,
        "timePartitioning": {"type": "HOUR", "expirationMs": "3600000"},
    }
    assert (await bigquery.table(CUSTOMERS)).fields == ()
    with pytest.raises(DuplicateError):
        await bigquery.create_table(new)


async def in_pieces(bigquery: BigQuery) -> list[tuple[int, bool]]:
    """Give the number of rows of each piece of a page, and whether it is told to be the last."""
    pieces = bigquery.pieces(REF, start_index=5, max_results=9000, use_int64_timestamp=True)
    return [(len(rows), last) async for rows, last in pieces]


async def test_a_page_comes_in_pieces(stub: Any, bigquery: BigQuery) -> None:
    route = f"GET /bigquery/v2/projects/acme-shop/queries/{REF.job}"
    body = {
        "rows": [{"f": [{"v": "x" * 1000}]}] * 3000,
        "jobComplete": True,
        "totalRows": "5000",
    }

    async def compact(_: web.Request) -> web.Response:
        return web.Response(body=json.dumps(body, separators=(",", ":")).encode())

    stub.routes[route] = compact
    found = await in_pieces(bigquery)
    assert sum(count for count, _ in found) == 3000
    assert [last for _, last in found] == [False] * (len(found) - 1) + [True]
    assert len(found) > 3
    assert dict(stub.requests[0].query) == {
        "startIndex": "5",
        "maxResults": "9000",
        "timeoutMs": "0",
        "location": "EU",
        "formatOptions.useInt64Timestamp": "true",
        "prettyPrint": "false",
    }


@pytest.mark.parametrize(
    ("answer", "error", "why"),
    [
        (
            (404, {"error": {"message": "Not found: Job", "errors": [{"reason": "notFound"}]}}),
            NotFoundError,
            "Not found: Job",
        ),
        ({"jobComplete": False}, RefusedError, "has no rows yet"),
        ({"rows": 1}, RefusedError, "is not understood"),
    ],
)
async def test_what_is_no_page_has_no_pieces(
    stub: Any, bigquery: BigQuery, answer: Any, error: type[Exception], why: str
) -> None:
    stub.routes[f"GET /bigquery/v2/projects/acme-shop/queries/{REF.job}"] = answer
    with pytest.raises(error, match=why):
        await in_pieces(bigquery)


async def test_what_a_table_is_clustered_by_is_all_of_a_patch(
    stub: Any, bigquery: BigQuery, error: Any
) -> None:
    stub.routes[TABLE_PATH] = [_table(), _table(etag="e2", schema={})]
    stub.routes[TABLE_PATH.replace("GET", "PATCH")] = [
        _table(),
        _table(),
        error(404, "notFound", "Not found: Table acme-shop:shop.customers"),
    ]
    assert (await bigquery.table(CUSTOMERS)).fields
    await bigquery.cluster_table(CUSTOMERS, ("id", "name"))
    assert stub.bodies[-1] == {"clustering": {"fields": ["id", "name"]}}
    assert (await bigquery.table(CUSTOMERS)).fields == ()
    await bigquery.cluster_table(CUSTOMERS, ())
    assert stub.bodies[-1] == {"clustering": None}
    with pytest.raises(NotFoundError):
        await bigquery.cluster_table(CUSTOMERS, ())
