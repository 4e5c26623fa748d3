from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web
from tests.support.upstream import CUSTOMERS, LIST_PATH, REF, RESULTS, TABLE_PATH, table_answer

from keystile.model.errors import RefusedError
from keystile.upstream import exchange as module
from keystile.upstream.bigquery import BigQuery


async def test_a_listing_without_an_end_is_refused(
    stub: Any, bigquery: BigQuery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAGES_LISTED", 2)
    stub.routes[LIST_PATH] = {"nextPageToken": "again"}
    with pytest.raises(RefusedError, match="too much in `shop` to list"):
        await bigquery.every_table("acme-shop", "shop")
    assert len(stub.requests) == 2


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


async def test_one_waiting_call_holds_up_no_other(stub: Any, bigquery: BigQuery) -> None:
    released = asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        await released.wait()
        return web.json_response({"jobComplete": False})

    stub.routes[RESULTS] = slow
    stub.routes[TABLE_PATH] = table_answer()
    waiting = asyncio.ensure_future(bigquery.wait(REF, 5))
    assert (await bigquery.table(CUSTOMERS)).id == CUSTOMERS
    released.set()
    assert not (await waiting).done
