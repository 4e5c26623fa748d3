from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from keystile.model.errors import InvalidRequestError, OverloadedError, RefusedError
from keystile.upstream.bigquery import BigQuery
from keystile.upstream.values import UpstreamQuery
from keystile.wire.uploads import Piece

BEGIN = "POST /upload/bigquery/v2/projects/acme-shop/jobs"
PUT = "PUT /upload/here"
TARGET = "/upload/here?upload_id=u1"
TABLE = {"projectId": "acme-shop", "datasetId": "shop", "tableId": "t"}
LOAD = UpstreamQuery(
    project="acme-shop", sql="", location="EU", transfer={"load": {"destinationTable": TABLE}}
)


def begun(location: str) -> Any:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(headers={"Location": location})

    return answer


async def data(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


class Taker:
    """Takes pieces; answers 308 until all of `total` bytes are there."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.got = b""
        self.ranges: list[str] = []

    async def __call__(self, request: web.Request) -> web.Response:
        self.ranges.append(request.headers["Content-Range"])
        self.got += await request.read()
        if len(self.got) == self.total:
            return web.json_response({"jobReference": {}})
        headers = {"Range": f"bytes=0-{len(self.got) - 1}"} if self.got else {}
        return web.Response(status=308, headers=headers)


async def test_the_job_goes_first_and_the_bytes_stay_with_the_endpoint(
    stub: Any, bigquery: BigQuery
) -> None:
    stub.routes[BEGIN] = begun(f"https://elsewhere.example{TARGET}")
    assert await bigquery.uploads.begin(LOAD, "keystile_1") == TARGET
    (body,) = stub.bodies
    assert body["jobReference"] == {
        "projectId": "acme-shop",
        "jobId": "keystile_1",
        "location": "EU",
    }
    assert body["configuration"]["load"] == {"destinationTable": TABLE}


@pytest.mark.parametrize("location", ["", "/bigquery/v2/projects", "//evil.example/upload"])
async def test_an_answer_that_leads_nowhere_is_refused(
    stub: Any, bigquery: BigQuery, location: str
) -> None:
    stub.routes[BEGIN] = begun(location)
    with pytest.raises(RefusedError, match="not understood"):
        await bigquery.uploads.begin(LOAD, "keystile_1")


async def test_bigquerys_own_error_is_told(stub: Any, bigquery: BigQuery, error: Any) -> None:
    stub.routes[BEGIN] = error(400, "invalid", "no such format")
    with pytest.raises(InvalidRequestError, match="no such format"):
        await bigquery.uploads.begin(LOAD, "keystile_1")


async def test_pieces_go_as_they_come(stub: Any, bigquery: BigQuery) -> None:
    taker = Taker(6)
    stub.reads_bodies = False
    stub.routes[PUT] = taker
    assert await bigquery.uploads.send(TARGET, Piece(0, 0, None), b"") == (False, 0)
    taken = await bigquery.uploads.send(TARGET, Piece(0, 3, None), data(b"a", b"bc"))
    assert taken == (False, 3)
    assert (await bigquery.uploads.send(TARGET, Piece(3, 3, 6), b"def")).done
    assert taker.got == b"abcdef"
    assert taker.ranges == ["bytes */*", "bytes 0-2/*", "bytes 3-5/6"]


async def test_what_breaks_the_bytes_is_what_the_client_hears(
    stub: Any, bigquery: BigQuery
) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"a"
        raise InvalidRequestError("nothing came for 30 seconds")

    stub.reads_bodies = False
    stub.routes[PUT] = Taker(6)
    with pytest.raises(InvalidRequestError, match="nothing came"):
        await bigquery.uploads.send(TARGET, Piece(0, 6, 6), broken())


async def test_a_long_upload_may_take_longer_than_one_step(
    stub: Any, bigquery: BigQuery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bigquery._transport, "_timeout", 0.6)

    async def slow() -> AsyncIterator[bytes]:
        for _ in range(4):
            await asyncio.sleep(0.3)
            yield b"a"

    async def stuck(_request: web.Request) -> web.Response:
        await asyncio.sleep(2)
        return web.Response()

    stub.reads_bodies = False
    stub.routes[PUT] = Taker(4)
    assert (await bigquery.uploads.send(TARGET, Piece(0, 4, 4), slow())).done
    stub.routes[PUT] = stuck
    with pytest.raises(RefusedError, match="took nothing of the upload"):
        await bigquery.uploads.send(TARGET, Piece(0, 4, 4), b"abcd")


async def test_an_upload_is_given_up(stub: Any, bigquery: BigQuery) -> None:
    stub.routes["DELETE /upload/here"] = (499, None)
    await bigquery.uploads.drop(TARGET)
    assert [request.method for request in stub.requests] == ["DELETE"]


async def test_a_piece_whose_key_was_replaced_is_for_the_client_to_send_again(
    stub: Any, session_key: Any, new_key: Any, one_key: Any, tmp_path: Path
) -> None:
    old = new_key(tmp_path / "old.json", "old")
    taker = stub.routes[PUT] = Taker(6)
    stub.reads_bodies = False
    bigquery = BigQuery(stub.url, one_key(old.path, session_key.path), timeout=2)
    with pytest.raises(OverloadedError) as caught:
        await bigquery.uploads.send(TARGET, Piece(0, 6, 6), data(b"abc", b"def"))
    # The one status upon which every client sends the same piece again.
    assert caught.value.http_status == 503
    assert taker.got == b""
    assert (await bigquery.uploads.send(TARGET, Piece(0, 6, 6), data(b"abc", b"def"))).done
    assert taker.got == b"abcdef"
    await bigquery.close()
