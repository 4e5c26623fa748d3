from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from keystile.model.errors import InvalidRequestError, NotFoundError, RefusedError
from keystile.model.schema import Parameter, SqlType, TableId
from keystile.upstream.bigquery import BigQuery
from keystile.upstream.values import UpstreamQuery
from keystile.wire.streaming import BadRow, NewRow, NewRows, RowFault

TABLE = TableId("acme-shop", "shop", "notes")
PATH = "POST /bigquery/v2/projects/acme-shop/datasets/shop/tables/notes/insertAll"
ONCE = NewRows(TABLE, (NewRow('{"id":1.10}'), NewRow("{}", "b")), skip_invalid=True)
AGAIN = NewRows(TABLE, (NewRow('{"id":1}', "a"),))


async def test_rows_are_sent_as_they_are_meant(stub: Any, bigquery: BigQuery) -> None:
    stub.routes[PATH] = {"kind": "bigquery#tableDataInsertAllResponse"}
    assert await bigquery.insert_rows(ONCE) == ()
    assert stub.bodies == [
        {
            "rows": [{"json": {"id": 1.1}}, {"json": {}, "insertId": "b"}],
            "skipInvalidRows": True,
            "ignoreUnknownValues": False,
        }
    ]


async def test_bad_rows_come_back_without_words_of_googles_own(
    stub: Any, bigquery: BigQuery
) -> None:
    fault = {"reason": "invalid", "location": "id", "message": "no number", "debugInfo": "host-7"}
    odd = {"reason": "<script>", "message": "x" * 10_000}
    stub.routes[PATH] = {"insertErrors": [{"index": 1, "errors": [fault, odd]}, {"errors": []}]}
    assert await bigquery.insert_rows(ONCE) == (
        BadRow(
            1, (RowFault("invalid", "id", "no number"), RowFault("invalid", message="x" * 4096))
        ),
        BadRow(0, ()),
    )


async def test_a_secret_of_the_gateway_in_a_rows_message_is_withheld(
    stub: Any, bigquery: BigQuery, error: Any
) -> None:
    stub.routes["POST /bigquery/v2/projects/acme-shop/jobs"] = error(400, "invalid", "no")
    hidden = Parameter("k", SqlType("BYTES"), {"value": "c2VjcmV0LXBhZA=="})
    query = UpstreamQuery(
        project="acme-shop", sql="SELECT 1", parameters=(hidden,), hidden=frozenset({"k"})
    )
    with pytest.raises(InvalidRequestError):
        await bigquery.dry_run(query)
    fault = {"reason": "invalid", "location": "secret-pad", "message": "Value: secret-pad"}
    stub.routes[PATH] = {"insertErrors": [{"index": 0, "errors": [fault]}]}
    assert "secret-pad" not in str(await bigquery.insert_rows(AGAIN))


@pytest.mark.parametrize(
    ("rows", "times", "hint"),
    [(ONCE, 1, "look for them before"), (AGAIN, 2, "again within a minute")],
)
async def test_rows_without_ids_are_sent_once_whatever_happens(
    stub: Any, bigquery: BigQuery, rows: NewRows, times: int, hint: str
) -> None:
    async def lost(request: web.Request) -> web.StreamResponse:
        assert request.transport
        request.transport.close()
        return web.Response()

    stub.routes[PATH] = lost
    with pytest.raises(RefusedError, match=r"may be in `acme-shop\.shop\.notes`") as caught:
        await bigquery.insert_rows(rows)
    assert len(stub.requests) == times
    assert hint in caught.value.hint


async def test_bigquerys_refusals_are_told_as_ever(
    stub: Any, bigquery: BigQuery, error: Any
) -> None:
    stub.routes[PATH] = [
        error(404, "notFound", "Not found: Table"),
        error(400, "invalid", "No rows present in the request."),
        error(403, "accessDenied", "Access Denied"),
    ]
    for kind, words in (
        (NotFoundError, "Not found: Table"),
        (InvalidRequestError, "No rows present"),
        (RefusedError, "Access Denied"),
    ):
        with pytest.raises(kind, match=words) as caught:
            await bigquery.insert_rows(AGAIN)
        assert "may be in" not in str(caught.value)


async def test_an_answer_that_is_not_understood_is_no_success(
    stub: Any, bigquery: BigQuery
) -> None:
    stub.routes[PATH] = {"insertErrors": "many"}
    with pytest.raises(RefusedError, match="not understood"):
        await bigquery.insert_rows(AGAIN)
