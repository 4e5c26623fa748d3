from __future__ import annotations

from typing import Any

import pytest

from keystile.model.errors import InvalidQueryError, NotFoundError, RefusedError
from keystile.upstream import scripts as module
from keystile.upstream.bigquery import BigQuery
from keystile.upstream.values import JobRef
from keystile.wire.responses import RowsChanged
from keystile.wire.scripts import StackFrame

LIST = "GET /bigquery/v2/projects/acme-shop/jobs"
SCRIPT = JobRef("acme-shop", "keystile_1", "EU")


def listed(number: int, **more: Any) -> dict[str, Any]:
    statistics = {
        "parentJobId": "keystile_1",
        "creationTime": str(1000 * number),
        "startTime": "2000",
        "endTime": "3500",
    }
    return {
        "jobReference": {
            "projectId": "acme-shop",
            "jobId": f"script_job_a_{number}",
            "location": "EU",
        },
        "status": {"state": "DONE", **more.pop("status", {})},
        "statistics": statistics | more.pop("statistics", {}),
        "configuration": {"query": {"query": f"SELECT {number}", "useLegacySql": False}},
        "user_email": "gateway@acme-shop.iam.gserviceaccount.com",
        **more,
    }


async def test_the_jobs_of_a_script_come_oldest_first(stub: Any, bigquery: BigQuery) -> None:
    stub.routes[LIST] = [
        {"jobs": [listed(3), listed(2)], "nextPageToken": "more"},
        {"jobs": [listed(1)]},
    ]
    found = await bigquery.script_jobs(SCRIPT)
    assert [one.job.job for one in found] == [f"script_job_a_{n}" for n in (1, 2, 3)]
    assert [(one.sql, one.created, one.started, one.ended) for one in found[:1]] == [
        ("SELECT 1", 1.0, 2.0, 3.5)
    ]
    first, second = (dict(request.query) for request in stub.requests)
    compact = {"prettyPrint": "false"}
    asked = {"parentJobId": "keystile_1", "projection": "full", "maxResults": "1000", **compact}
    assert first == asked
    assert second == first | {"pageToken": "more"}


async def test_what_a_job_of_a_script_tells_of_itself(stub: Any, bigquery: BigQuery) -> None:
    frame = {"startLine": 2, "startColumn": 3, "endLine": 2, "endColumn": 9, "text": "SELECT"}
    statistics = {
        "scriptStatistics": {
            "evaluationKind": "STATEMENT",
            "stackFrames": [frame, {**frame, "procedureId": "p.d.r"}],
        },
        "query": {
            "statementType": "DELETE",
            "totalBytesProcessed": "12",
            "cacheHit": True,
            "dmlStats": {"deletedRowCount": "3"},
        },
    }
    error = {"reason": "invalidQuery", "message": "Query error: no"}
    stub.routes[LIST] = {
        "jobs": [
            listed(2, statistics=statistics),
            listed(1, status={"errorResult": error}),
            listed(0, status={"state": "RUNNING"}),
        ]
    }
    running, failed, told = await bigquery.script_jobs(SCRIPT)
    assert (running.done, failed.done, failed.statement) == (False, True, False)
    assert isinstance(failed.error, InvalidQueryError)
    assert (told.statement, told.statement_type, told.is_select) == (True, "DELETE", False)
    assert (told.bytes_processed, told.cache_hit) == (12, True)
    assert told.changed == RowsChanged(deleted=3)
    assert told.frames == (
        StackFrame((2, 3), (2, 9), "SELECT"),
        StackFrame((2, 3), (2, 9), "SELECT", "p.d.r"),
    )
    assert told.job == JobRef("acme-shop", "script_job_a_2", "EU")


async def test_a_job_that_is_not_of_the_script_is_never_taken_for_one(
    stub: Any, bigquery: BigQuery
) -> None:
    # As a server would answer that does not know the filter.
    strange = [listed(1, statistics={"parentJobId": parent}) for parent in ("", "keystile_2")]
    stub.routes[LIST] = {"jobs": [*strange, listed(2)]}
    assert [one.sql for one in await bigquery.script_jobs(SCRIPT)] == ["SELECT 2"]


async def test_of_very_many_the_newest_are_taken(
    stub: Any, bigquery: BigQuery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_LISTED", 3)
    pages = [[listed(9), listed(8)], [listed(7), listed(6)]]
    stub.routes[LIST] = [{"jobs": page, "nextPageToken": "more"} for page in pages]
    found = await bigquery.script_jobs(SCRIPT)
    assert [one.created for one in found] == [7.0, 8.0, 9.0]
    assert len(stub.requests) == 2


async def test_a_script_that_is_gone_or_may_not_be_listed_is_told(
    stub: Any, bigquery: BigQuery, error: Any
) -> None:
    stub.routes[LIST] = [error(404, "notFound", "Not found"), error(403, "accessDenied", "no")]
    with pytest.raises(NotFoundError):
        await bigquery.script_jobs(SCRIPT)
    with pytest.raises(RefusedError):
        await bigquery.script_jobs(SCRIPT)
