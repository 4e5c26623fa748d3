from __future__ import annotations

import asyncio
import http.client
import os
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from tests.support.authority import Authority, der

from keystile import servers
from keystile.config.listeners import HttpListener, Listener
from keystile.model.errors import UnsafeConfigurationError
from keystile.servers import Served
from keystile.tls import end
from keystile.tls.end import End


def test_a_port_that_is_taken_is_one_clear_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UnsafeConfigurationError, match=f"cannot listen on `127.0.0.1:{port}`"):
            servers._listening(Listener(port=port))


class Seen:
    """An application that keeps what it is told of each request."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def _serving(tls: End | None, app: Seen) -> AsyncIterator[int]:
    """Serve as `keystile serve` does, and end by a signal as it does."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port: int = holder.getsockname()[1]
    ready = asyncio.Event()
    running = asyncio.ensure_future(
        servers.run([Served(HttpListener(port=port), app, "off", tls)], (), ready)
    )
    await asyncio.wait(
        {running, asyncio.ensure_future(ready.wait())}, return_when="FIRST_COMPLETED"
    )
    try:
        yield port
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(running, 10)


def _ask(connection: http.client.HTTPConnection, **headers: str) -> int:
    connection.request("GET", "/", headers=headers)
    with connection.getresponse() as answer:
        answer.read()
        return answer.status


def _connection(port: int, context: ssl.SSLContext) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=10)


def _shown(connection: http.client.HTTPSConnection) -> bytes | None:
    assert isinstance(connection.sock, ssl.SSLSocket)
    return connection.sock.getpeercert(binary_form=True)


async def _without_tls(_: Path) -> None:
    app = Seen()
    async with _serving(None, app) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        assert await asyncio.to_thread(_ask, connection) == 204
        connection.close()
    assert "extensions" not in app.scopes[0]
    assert app.scopes[0]["scheme"] == "http"


async def _client_certificates(folder: Path) -> None:
    authority, app = Authority(folder), Seen()
    tls = end.server("gateway", authority.pair("a"), authority.root)
    known = end.client("x", authority.pair("me", "client"), authority.root).context
    unknown = end.client("x", None, authority.root).context
    async with _serving(tls, app) as port:
        for context in (known, unknown):
            connection = _connection(port, context)
            for _ in range(2):
                assert await asyncio.to_thread(_ask, connection, Extensions="tls") == 204
            connection.close()
    shown = [scope["extensions"]["tls"]["client_cert"] for scope in app.scopes]
    mine = der(folder / "me.pem")
    assert shown == [mine, mine, None, None]
    assert {scope["scheme"] for scope in app.scopes} == {"https"}


async def _renewal(folder: Path) -> None:
    authority, app = Authority(folder), Seen()
    tls = end.server("gateway", authority.pair("a"))
    asking = end.client("x", None, authority.root).context
    async with _serving(tls, app) as port:
        before, after = _connection(port, asking), _connection(port, asking)
        assert await asyncio.to_thread(_ask, before) == 204
        old = _shown(before)
        authority.write("a")
        tls.renew()
        assert await asyncio.to_thread(_ask, before) == 204
        assert _shown(before) == old
        assert await asyncio.to_thread(_ask, after) == 204
        assert _shown(after) == der(folder / "a.pem") != old
        after.close()
        before.close()


@pytest.mark.parametrize("runner", [asyncio.run, uvloop.run])
@pytest.mark.parametrize("journey", [_without_tls, _client_certificates, _renewal])
def test_a_listener_with_and_without_tls(
    journey: Callable[[Path], Any], runner: Callable[[Any], None], tmp_path: Path
) -> None:
    runner(journey(tmp_path))


def test_a_load_balancer_closes_first() -> None:
    """Google's keep an idle connection for 600 seconds, and answer 502 where it was just closed."""
    made = servers._server(Served(HttpListener(port=1), Seen(), "off", None))
    assert made.config.timeout_keep_alive > 600


@pytest.mark.parametrize(
    ("trusted", "seen"),
    [([], "127.0.0.1"), (["10.0.0.0/8"], "127.0.0.1"), (["127.0.0.0/8"], "10.1.2.3")],
)
async def test_an_agent_on_this_machine_said_to_come_from_another_network(
    trusted: list[str], seen: str
) -> None:
    app = Seen()
    made = servers._server(Served(HttpListener(port=1, trusted_proxies=trusted), app, "off", None))
    made.config.load()
    loaded: Any = made.config.loaded_app
    scope = {
        "type": "http",
        "client": ("127.0.0.1", 5),
        "headers": [(b"x-forwarded-for", b"10.1.2.3")],
        "scheme": "http",
    }

    async def sent(_message: object) -> None:
        """Take an answer."""

    await loaded(scope, None, sent)
    assert app.scopes[0]["client"][0] == seen
