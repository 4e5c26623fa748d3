from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import web
from tests.support.upstream import REF, RESULTS, SCHEMA

from keystile.model.errors import NotFoundError, RefusedError
from keystile.upstream.bigquery import BigQuery


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
