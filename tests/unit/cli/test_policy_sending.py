from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from keystile.cli.policy_sending import send
from keystile.gate.publishing import Published
from keystile.identity.token_source import TokenSource
from keystile.model.errors import InvalidRequestError, RefusedError, UnsafeConfigurationError
from keystile.policy.difference import Change, Place, Word
from keystile.wire.publishing import PublishRequest, read_publish_request

REQUEST = PublishRequest({"a.yaml": "rules: []"}, "why", 3, dry_run=True)
CHANGE = Change("changed", "rule", "r", Place("a.yaml", 2), (Word("allow", "", "[]", ("x",)),))
DONE = Published(4, 3, "d", published=True, differs=True, changes=(CHANGE,))

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
def source(tmp_path: Path) -> TokenSource:
    file = tmp_path / "token"
    file.write_text("a.b.c\n", encoding="ascii")
    return TokenSource(file=str(file))


@asynccontextmanager
async def gateway(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/v1/policy", handler)
    async with TestServer(app) as server:
        yield str(server.make_url("/"))


async def test_a_policy_is_sent_with_the_token_and_the_answer_is_read(source: TokenSource) -> None:
    came: list[tuple[str, PublishRequest]] = []

    async def publish(request: web.Request) -> web.Response:
        body = read_publish_request(await request.read())
        came.append((request.headers["authorization"], body))
        return web.Response(body=msgspec.json.encode(DONE))

    async with gateway(publish) as url:
        assert await send(url, source, "//keystile/policy", REQUEST) == DONE
    assert came == [("Bearer a.b.c", REQUEST)]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            web.json_response({"error": {"message": "version 4 holds"}}, status=412),
            "412: version 4",
        ),
        (web.Response(status=302, headers={"location": "https://else.test/"}), "not understood"),
        (web.Response(text="<html>"), "not understood"),
        (web.json_response({"version": "four"}), "not understood"),
    ],
)
async def test_what_is_no_success_is_said(
    source: TokenSource, answer: web.Response, words: str
) -> None:
    async def answered(_: web.Request) -> web.Response:
        return answer

    async with gateway(answered) as url:
        with pytest.raises(RefusedError, match=words):
            await send(url, source, "//keystile/policy", REQUEST)


async def test_nothing_is_sent_in_the_open_to_nobody_or_without_a_token(
    source: TokenSource,
) -> None:
    with pytest.raises(UnsafeConfigurationError, match="without encryption"):
        await send("http://gateway.test", source, "a", REQUEST)
    with pytest.raises(RefusedError, match="cannot be reached"):
        await send("http://127.0.0.1:9", source, "a", REQUEST)
    with pytest.raises(InvalidRequestError, match="cannot get the agent's token"):
        await send("http://127.0.0.1:9", TokenSource(file="nowhere"), "a", REQUEST)
