"""The way to BigQuery over TLS: authorities of one's own, a certificate to show, a proxy."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import pytest
import uvloop
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.support.authority import Authority, der
from tests.support.connect_proxy import connect_proxy

from keystile.model.errors import RefusedError, UnsafeConfigurationError
from keystile.tls import end
from keystile.tls.outward import DIRECT, Outward
from keystile.tls.pair import PairFiles
from keystile.tls.proxy import Proxy
from keystile.upstream.transport import Call, Transport

PLANTED = "planted-at-the-proxy"
CALL = Call("GET", ("projects", "p"))


class Asked:
    """A BigQuery with TLS. `shown` has the certificate of each request's client."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.shown: list[bytes | None] = []
        self.tokens: list[str] = []
        self.url, self.port = "", 0
        self._context = context

    async def _answer(self, request: web.Request) -> web.Response:
        assert request.transport
        secured: ssl.SSLObject = request.transport.get_extra_info("ssl_object")
        self.shown.append(secured.getpeercert(binary_form=True))
        self.tokens.append(request.headers["Authorization"])
        return web.json_response({"Location": "x"})

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._server = TestServer(app, scheme="https")
        await self._server.start_server(ssl=self._context)
        self.url, self.port = f"https://localhost:{self._server.port}", self._server.port or 0
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def _asked(authority: Authority, *, of_clients: bool = False) -> Asked:
    context = end.server("x", authority.pair("bigquery"), authority.root).context
    context.verify_mode = ssl.CERT_REQUIRED if of_clients else ssl.CERT_NONE
    return Asked(context)


@asynccontextmanager
async def _transport(asked: Asked, credential: Any, outward: Outward) -> AsyncIterator[Transport]:
    transport = Transport(asked.url, credential, 5, outward)
    try:
        yield transport
    finally:
        await transport.close()


async def test_a_private_authority_is_trusted_where_it_is_named(
    authority: Authority, credential: Any
) -> None:
    async with _asked(authority) as asked:
        own = Outward(end.client("upstream", None, authority.root))
        async with _transport(asked, credential, own) as transport:
            assert (await transport.send(CALL)).status == 200
            assert (await transport.upload("PUT", "/upload", {}, b"x")).status == 200
        async with _transport(asked, credential, DIRECT) as transport:
            with pytest.raises(RefusedError, match="ConnectorCertificateError"):
                await transport.send(CALL)
            with pytest.raises(RefusedError, match="ConnectorCertificateError"):
                await transport.upload("PUT", "/upload", {}, b"x")
    assert len(asked.tokens) == 2


async def test_a_named_authority_is_the_only_one(
    authority: Authority, credential: Any, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = Outward(end.client("upstream", None, Authority(tmp_path / "other").root))
    async with _asked(authority) as asked, _transport(asked, credential, other) as transport:
        with pytest.raises(RefusedError, match="ConnectorCertificateError"):
            await transport.send(CALL)
    assert not asked.tokens


async def test_a_certificate_is_shown_and_renewed_without_a_failure(
    authority: Authority, credential: Any
) -> None:
    files = authority.write("me", "client")
    ours = end.client("upstream", PairFiles(*files), authority.root)
    async with _asked(authority, of_clients=True) as asked:
        async with _transport(asked, credential, Outward(ours)) as transport:
            first = der(files[0])
            await transport.send(CALL)
            authority.write("me", "client")
            ours.renew()
            await transport.send(CALL)
            second = der(files[0])
        bare = Outward(end.client("upstream", None, authority.root))
        async with _transport(asked, credential, bare) as transport:
            with pytest.raises(RefusedError, match="cannot be reached"):
                await transport.send(CALL)
    assert asked.shown == [first, second]


async def _through_a_proxy(authority: Authority, credential: Any) -> None:
    ours = end.client("upstream", authority.pair("me", "client"), authority.root)
    async with _asked(authority, of_clients=True) as asked, connect_proxy(asked.port) as proxy:
        asked.url = "https://localhost"  # a port that only the proxy knows
        async with _transport(asked, credential, Outward(ours, Proxy(proxy.url))) as transport:
            assert (await transport.send(CALL)).status == 200
            assert (await transport.upload("PUT", "/upload", {}, b"x")).status == 200
    assert asked.shown == [der(authority.folder / "me.pem")] * 2
    assert proxy.heads
    assert all(head.startswith(b"CONNECT localhost:443 HTTP/1.1\r\n") for head in proxy.heads)
    # The proxy is no part of the gateway: it learns names, nothing else.
    words = b"".join(proxy.heads).lower()
    assert not [word for word in (b"authorization", b"bearer", b"projects") if word in words]


async def _proxy_that_refuses(authority: Authority, credential: Any) -> None:
    async with _asked(authority) as asked:
        proxy = Proxy("http://127.0.0.1:1")
        ours = Outward(end.client("upstream", None, authority.root), proxy)
        async with _transport(asked, credential, ours) as transport:
            with pytest.raises(RefusedError, match="cannot be reached"):
                await transport.send(CALL)
    assert not asked.tokens


class Password:
    """A secret that stands somewhere."""

    name = "a test"

    def __init__(self, value: str) -> None:
        self.value = value

    async def read(self) -> bytes:
        if not self.value:
            raise UnsafeConfigurationError("gone")
        return f"{self.value}\n".encode()


async def _proxy_with_tls_and_a_password(authority: Authority, credential: Any) -> None:
    (authority.folder / "proxy").mkdir(exist_ok=True)
    of_proxy = Authority(authority.folder / "proxy")
    password = Password(PLANTED)
    ours = end.client("upstream", authority.pair("me", "client"), authority.root)
    tls = end.server("proxy", of_proxy.pair("proxy"), authority.root).context
    async with (
        _asked(authority, of_clients=True) as asked,
        connect_proxy(asked.port, "gateway", PLANTED, tls) as proxy,
    ):
        asked.url = "https://localhost"
        to_proxy = end.client("upstream.proxy", None, of_proxy.root)
        way = Proxy(proxy.url, to_proxy, "gateway", password)
        async with _transport(asked, credential, Outward(ours, way)) as transport:
            assert (await transport.send(CALL)).status == 200
            assert (await transport.upload("PUT", "/upload", {}, b"x")).status == 200
        assert len(asked.shown) == 2
        # The proxy sees no certificate of ours, and no authority counts beyond what it is for.
        assert proxy.shown
        assert not any(proxy.shown)
        for first, second in ((authority, authority), (of_proxy, of_proxy)):
            wrong = Proxy(
                proxy.url, end.client("upstream.proxy", None, first.root), "gateway", password
            )
            other = end.client("upstream", authority.pair("me", "client"), second.root)
            async with _transport(asked, credential, Outward(other, wrong)) as transport:
                with pytest.raises(RefusedError, match="BigQuery cannot be reached"):
                    await transport.send(CALL)
        assert len(asked.shown) == 2
        password.value = "not it"
        async with _transport(asked, credential, Outward(ours, way)) as transport:
            for work in (transport.send(CALL), transport.upload("PUT", "/upload", {}, b"x")):
                with pytest.raises(RefusedError, match="answered with status 407") as refused:
                    await work
                assert "upstream.proxy" in refused.value.hint
            password.value = ""
            with pytest.raises(RefusedError, match="password of the proxy") as refused:
                await transport.send(CALL)
    assert PLANTED not in f"{refused.value}{way!r}{Outward(ours, way)!r}"


# As the gateway runs it, too.
@pytest.mark.parametrize("loop", [None, uvloop.new_event_loop])
@pytest.mark.parametrize(
    "journey", [_through_a_proxy, _proxy_that_refuses, _proxy_with_tls_and_a_password]
)
def test_a_proxy_passes_on_what_it_cannot_read(
    journey: Callable[..., Any], loop: Any, authority: Authority, credential: Any
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(journey(authority, credential))
