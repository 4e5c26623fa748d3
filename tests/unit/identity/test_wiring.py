from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.support.authority import Authority
from tests.support.connect_proxy import connect_proxy

from keystile.config.identity import BuiltinIssuer, Issuer
from keystile.config.proxy import Proxy
from keystile.config.settings import Settings
from keystile.identity.builtin import builtin_issuer, issuer_url
from keystile.identity.wiring import build
from keystile.model.errors import TokenRefusedError, UnsafeConfigurationError
from keystile.store.database import Database
from keystile.tls import end


def test_the_built_in_issuer_is_named_after_the_gateway(
    settings: Callable[..., Settings], database: Database, tmp_path: Path
) -> None:
    identity = build(settings(), database)
    assert identity.builtin
    assert identity.builtin.url == issuer_url(settings()) == "http://127.0.0.1:8420/issuer"
    assert (tmp_path / "keystile-data" / "issuer-key.pem").exists()


def test_a_disabled_built_in_issuer_makes_no_key(
    settings: Callable[..., Settings], database: Database, tmp_path: Path
) -> None:
    disabled = settings(builtin_issuer=BuiltinIssuer(enabled=False))
    assert build(disabled, database).builtin is None
    assert not (tmp_path / "keystile-data").exists()
    with pytest.raises(UnsafeConfigurationError, match="built-in issuer is disabled"):
        builtin_issuer(disabled)


@pytest.mark.parametrize(
    ("trusted", "message"),
    [
        (Issuer(issuer="http://127.0.0.1:8420/issuer", audiences=["a"]), "configured twice"),
        (Issuer(issuer="http://issuer.test", audiences=["a"]), "without encryption"),
        (Issuer(issuer="https://i.test", audiences=["a"], algorithms=["HS256"]), "`HS256`"),
        (Issuer(issuer="https://i.test", audiences=[]), "has no audience"),
    ],
)
def test_an_unsafe_issuer_does_not_start(
    settings: Callable[..., Settings], database: Database, trusted: Issuer, message: str
) -> None:
    with pytest.raises(UnsafeConfigurationError, match=message):
        build(settings(issuers=[trusted]), database)


@asynccontextmanager
async def _issuer(authority: Authority) -> AsyncIterator[int]:
    """Serve an issuer's documents with a certificate of an authority that nobody else trusts."""

    async def document(_: web.Request) -> web.Response:
        return web.json_response({"keys": []})

    app = web.Application()
    app.router.add_get("/keys", document)
    server = TestServer(app, scheme="https")
    await server.start_server(ssl=end.server("x", authority.pair("issuer")).context)
    try:
        yield server.port or 0
    finally:
        await server.close()


async def test_each_issuer_may_stand_behind_an_authority_of_its_own(
    settings: Callable[..., Settings], database: Database, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    async with _issuer(authority) as port:
        address = f"https://localhost:{port}/keys"
        trusted = [
            Issuer(issuer="https://a.test", audiences=["a"], ca_file="ca.pem"),
            Issuer(issuer="https://b.test", audiences=["a"]),
        ]
        identity = build(settings(issuers=trusted), database)
        assert await identity.documents[0].get(address) == b'{"keys": []}'
        # Its authority vouches for nobody else's keys.
        with pytest.raises(TokenRefusedError, match="ClientConnectorCertificateError"):
            await identity.documents[1].get(address)
        assert [one.name for one in identity.ends] == ["identity.issuers[0]"]
        await identity.close()


async def test_issuers_are_asked_by_way_of_a_proxy_and_this_machine_directly(
    settings: Callable[..., Settings], database: Database, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    async with _issuer(authority) as port, connect_proxy(port) as proxy:
        trusted = [Issuer(issuer="https://localhost", audiences=["a"], ca_file="ca.pem")]
        identity = build(settings(issuers=trusted, proxy=Proxy(address=proxy.url)), database)
        assert await identity.documents[0].get("https://localhost/keys") == b'{"keys": []}'
        with pytest.raises(TokenRefusedError):
            await identity.documents[0].get("http://127.0.0.1:1/keys")
        await identity.close()
    assert [head.split()[1] for head in proxy.heads] == [b"localhost:443"]
