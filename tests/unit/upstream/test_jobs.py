from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from tests.support.upstream import (
    CUSTOMERS,
    INSERT,
    JOB,
    PAD,
    QUERY,
    REF,
    REFERENCE,
    RESULTS,
    SCHEMA,
)

from keystile.model.errors import InvalidQueryError, NotFoundError
from keystile.model.schema import TableId
from keystile.upstream.bigquery import BigQuery
from keystile.wire.responses import RowsChanged


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


def test_values_are_frozen() -> None:
    with pytest.raises(AttributeError):
        msgspec.structs.replace(QUERY, sql="x").sql = "y"  # type: ignore[misc]
