from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from keystile.http.bodies import short_body


async def answered(*pieces: bytes) -> bytes:
    """Give what is read of an answer that comes in pieces, each some time after the other."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
            await asyncio.sleep(0.05)
        return response

    app = web.Application()
    app.router.add_get("/", answer)
    async with (
        TestServer(app) as server,
        aiohttp.ClientSession() as session,
        session.get(server.make_url("/")) as response,
    ):
        return await short_body(response)


async def test_an_answer_in_pieces_is_not_taken_for_its_first_one() -> None:
    assert await answered(b'{"a":', b"1", b"}") == b'{"a":1}'


async def test_a_long_answer_is_none() -> None:
    assert len(await answered(b"x" * (64 << 10))) == 64 << 10
    with pytest.raises(aiohttp.ClientPayloadError):
        await answered(b"x" * (64 << 10), b"x")
