from __future__ import annotations

import asyncio
import gzip
import logging
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import unused_port
from structlog.testing import capture_logs

from keystile.model.errors import OverloadedError, RefusedError, UnsafeConfigurationError
from keystile.upstream import transport as module
from keystile.upstream.transport import Call, Transport

PATH = ("projects", "p")
ROUTE = "GET /bigquery/v2/projects/p"


@pytest.fixture
async def transport(stub: Any, credential: Any) -> AsyncIterator[Transport]:
    made = Transport(stub.url + "/", credential, timeout=1)
    yield made
    await made.close()


async def test_a_redirect_is_never_followed(stub: Any, transport: Transport) -> None:
    reached = []

    async def elsewhere(_: web.Request) -> web.Response:
        reached.append(True)
        return web.json_response({})

    async def redirect(_: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": stub.url + "/elsewhere"})

    stub.routes = {ROUTE: redirect, "GET /elsewhere": elsewhere}
    with pytest.raises(RefusedError, match="answered with a redirect"):
        await transport.send(Call("GET", PATH))
    assert not reached


async def test_a_silent_upstream_is_refused_in_time(stub: Any, transport: Transport) -> None:
    async def silent(_: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.json_response({})

    stub.routes[ROUTE] = silent
    transport._timeout = 0.1
    with pytest.raises(RefusedError, match="did not answer within"):
        await transport.send(Call("GET", PATH))


async def test_an_unreachable_upstream_is_refused(credential: Any) -> None:
    transport = Transport(f"http://127.0.0.1:{unused_port()}", credential, timeout=1)
    with pytest.raises(RefusedError, match="BigQuery cannot be reached"):
        await transport.send(Call("GET", PATH))
    await transport.close()


async def test_a_lost_connection_is_tried_once_more(stub: Any, transport: Transport) -> None:
    async def drop(request: web.Request) -> web.Response:
        assert request.transport
        request.transport.close()
        return web.Response()

    stub.routes["POST /bigquery/v2/projects/p"] = [drop, {"ok": True}]
    answer = await transport.send(Call("POST", PATH, body=b'{"sql": "x"}'))
    assert answer.status == 200
    assert stub.bodies == [{"sql": "x"}, {"sql": "x"}]
    stub.routes["POST /bigquery/v2/projects/p"] = [drop, drop, {"ok": True}]
    with pytest.raises(RefusedError, match="cannot be reached"):
        await transport.send(Call("POST", PATH, body=b"{}"))


@pytest.mark.parametrize("compressed", [False, True])
async def test_an_answer_too_large_is_refused(
    stub: Any, transport: Transport, monkeypatch: pytest.MonkeyPatch, *, compressed: bool
) -> None:
    async def large(_: web.Request) -> web.Response:
        body = b"x" * 200_000
        if compressed:
            headers = {"Content-Encoding": "gzip"}
            return web.Response(body=gzip.compress(body), headers=headers)
        return web.Response(body=body)

    stub.routes[ROUTE] = large
    assert len((await transport.send(Call("GET", PATH))).body) == 200_000
    monkeypatch.setattr(module, "MAX_RESPONSE_BYTES", 100_000)
    with pytest.raises(RefusedError, match="larger than 100000 bytes"):
        await transport.send(Call("GET", PATH))


async def test_cookies_are_not_kept(stub: Any, credential: Any) -> None:
    async def cookie(_: web.Request) -> web.Response:
        response = web.json_response({})
        response.set_cookie("a", "b")
        return response

    stub.routes[ROUTE] = [cookie, {}]
    # By name, since no client keeps the cookies of an address.
    transport = Transport(stub.url.replace("127.0.0.1", "localhost"), credential, timeout=5)
    await transport.send(Call("GET", PATH))
    await transport.send(Call("GET", PATH))
    await transport.close()
    assert "Cookie" not in stub.requests[1].headers


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://bigquery.googleapis.com",
        "http://127.0.0.1.example.test",
        "ftp://localhost",
        "https://user:word@host.test",
        "https://host.test/?a=b",
        "https://host.test:port",
        "localhost:80",
        "",
    ],
)
def test_an_endpoint_that_would_expose_the_credential_is_refused(
    credential: Any, endpoint: str
) -> None:
    with pytest.raises(UnsafeConfigurationError, match=r"`upstream[.]endpoint`"):
        Transport(endpoint, credential, timeout=1)


@pytest.mark.parametrize(
    "endpoint", ["https://bigquery.googleapis.com", "http://localhost:80", "http://[::1]:80/"]
)
def test_a_safe_endpoint_is_accepted(credential: Any, endpoint: str) -> None:
    Transport(endpoint, credential, timeout=1)


async def test_no_failure_shows_the_token_or_the_key(
    stub: Any,
    session_key: Any,
    credential: Any,
    transport: Transport,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def drop(request: web.Request) -> web.Response:
        assert request.transport
        request.transport.close()
        return web.Response()

    async def silent(_: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.Response()

    async def redirect(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "http://x.test"})

    caplog.set_level(logging.DEBUG)
    shown = []
    transport._timeout = 0.2
    with capture_logs() as logs:
        for route in (drop, silent, redirect):
            stub.routes[ROUTE] = route
            with pytest.raises(RefusedError) as caught:
                await transport.send(Call("GET", PATH))
            shown.append("".join(traceback.format_exception(caught.value)))
    text = f"{shown}{logs}{caplog.text}{transport!r}{credential!r}"
    secrets = [await credential.bearer(), *session_key.pem.splitlines()[1:-1]]
    assert not [secret for secret in secrets if secret in text]


async def arrived(transport: Transport) -> list[int]:
    """Give the sizes of the chunks of one answer."""
    return [len(answer.body) async for answer in transport.arriving(Call("GET", PATH))]


@pytest.mark.parametrize("compressed", [False, True])
async def test_a_large_answer_arrives_in_chunks(
    stub: Any, transport: Transport, monkeypatch: pytest.MonkeyPatch, *, compressed: bool
) -> None:
    body = b"x" * 500_000

    async def large(_: web.Request) -> web.Response:
        if compressed:
            return web.Response(body=gzip.compress(body), headers={"Content-Encoding": "gzip"})
        return web.Response(body=body)

    stub.routes[ROUTE] = large
    sizes = await arrived(transport)
    assert (sizes[0], sum(sizes)) == (0, len(body))
    assert compressed or len(sizes) > 2
    monkeypatch.setattr(module, "MAX_RESPONSE_BYTES", 100_000)
    with pytest.raises(RefusedError, match="larger than 100000 bytes"):
        await arrived(transport)


@pytest.mark.parametrize(
    ("quietly", "why"), [(False, "cannot be reached"), (True, "sent nothing for 0.1 seconds")]
)
async def test_an_answer_that_stops_arriving_is_refused(
    stub: Any, transport: Transport, why: str, *, quietly: bool
) -> None:
    async def stops(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"x" * 50)
        if quietly:
            await asyncio.sleep(5)
        assert request.transport
        request.transport.close()
        return response

    stub.routes[ROUTE] = stops
    transport._timeout = 0.1
    with pytest.raises(RefusedError, match=why) as refused:
        await arrived(transport)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


async def test_no_chunk_of_a_redirect_arrives(stub: Any, transport: Transport) -> None:
    async def redirect(_: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": stub.url + "/elsewhere"})

    stub.routes[ROUTE] = redirect
    with pytest.raises(RefusedError, match="answered with a redirect"):
        await arrived(transport)


async def test_a_token_that_google_does_not_take_is_tried_with_another_key_once(
    stub: Any, tmp_path: Path, session_key: Any, new_key: Any, one_key: Any
) -> None:
    old = new_key(tmp_path / "old.json", "old")
    transport = Transport(stub.url, one_key(old.path, session_key.path), timeout=2)
    stub.routes["POST /bigquery/v2/projects"] = {"ok": True}
    call = Call("POST", ("projects",), body=b"{}", once=True)
    assert (await transport.send(call)).status == 200
    assert len(stub.bodies) == 1
    await transport.close()


async def test_where_google_takes_no_key_its_answer_is_given(
    stub: Any, tmp_path: Path, new_key: Any, one_key: Any
) -> None:
    credential = one_key(*(new_key(tmp_path / name, name).path for name in "abcd"))
    transport = Transport(stub.url, credential, timeout=2)
    assert (await transport.send(Call("GET", PATH))).status == 401
    assert credential.rejections == 3
    await transport.close()


async def test_bytes_at_hand_are_sent_again_with_another_key_and_a_stream_by_who_has_it(
    stub: Any, tmp_path: Path, session_key: Any, new_key: Any, one_key: Any
) -> None:
    async def stream() -> AsyncIterator[bytes]:
        yield b"abc"

    stub.reads_bodies = False
    stub.routes["PUT /upload/x"] = {}
    old = new_key(tmp_path / "old.json", "old")
    transport = Transport(stub.url, one_key(old.path, session_key.path), timeout=2)
    length = {"Content-Length": "3"}
    assert (await transport.upload("PUT", "/upload/x", length, b"abc")).status == 200
    await transport.close()
    transport = Transport(stub.url, one_key(old.path, session_key.path), timeout=2)
    with pytest.raises(OverloadedError, match="none of this part"):
        await transport.upload("PUT", "/upload/x", length, stream())
    assert (await transport.upload("PUT", "/upload/x", length, stream())).status == 200
    await transport.close()


async def test_an_answer_that_arrives_in_chunks_is_asked_for_with_another_key_as_well(
    stub: Any, tmp_path: Path, session_key: Any, new_key: Any, one_key: Any
) -> None:
    stub.routes[ROUTE] = {"ok": True}
    old = new_key(tmp_path / "old.json", "old")
    transport = Transport(stub.url, one_key(old.path, session_key.path), timeout=2)
    assert {answer.status async for answer in transport.arriving(Call("GET", PATH))} == {200}
    await transport.close()
