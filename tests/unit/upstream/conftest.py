"""A small BigQuery that checks the bearer token's signature and answers what a test tells it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from keystile.upstream.bigquery import BigQuery
from keystile.upstream.keys import SigningKey

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class KeyFile:
    """A service-account key file and what signs in it."""

    path: Path
    pem: str
    public: RSAKey
    key_id: str


def write_key(path: Path, key_id: str = "key-1") -> KeyFile:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    document = {
        "type": "service_account",
        "client_email": "gateway@acme-shop.iam.gserviceaccount.com",
        "private_key_id": key_id,
        "private_key": pem,
    }
    path.write_text(json.dumps(document))
    path.chmod(0o600)
    return KeyFile(path, pem, RSAKey.import_key(private), key_id)


@pytest.fixture(scope="session")
def session_key(tmp_path_factory: pytest.TempPathFactory) -> KeyFile:
    return write_key(tmp_path_factory.mktemp("key") / "key.json")


class OneKey:
    """The credential of an account that has one key; `others` are tried where it is rejected."""

    def __init__(self, path: Path, *others: Path) -> None:
        self.tokens = [
            SigningKey(one.read_bytes(), "a test").sign().text for one in (path, *others)
        ]
        self.rejections = 0

    async def bearer(self) -> str:
        return self.tokens[0]

    async def rejected(self, token: str) -> bool:
        self.rejections += 1
        assert self.tokens[0] == token
        if len(self.tokens) > 1:
            del self.tokens[0]
            return True
        return False


@pytest.fixture
def one_key() -> type[OneKey]:
    return OneKey


@pytest.fixture
def credential(session_key: KeyFile) -> OneKey:
    return OneKey(session_key.path)


@dataclass
class Stub:
    """Routes are `METHOD path`; each request is checked and kept."""

    key: KeyFile
    routes: dict[str, Any] = field(default_factory=dict)
    requests: list[web.Request] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    url: str = ""
    reads_bodies: bool = True

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        kind, _, token = request.headers["Authorization"].partition(" ")
        try:
            claims = jwt.decode(token, self.key.public, algorithms=["RS256"]).claims
        except JoseError:
            return web.json_response({}, status=401)
        assert kind == "Bearer"
        assert claims["aud"] == "https://bigquery.googleapis.com/"
        if self.reads_bodies:
            self.bodies.append(await request.json() if request.can_read_body else None)
        route = self.routes[f"{request.method} {request.raw_path.partition('?')[0]}"]
        if isinstance(route, list):
            route = route.pop(0)
        if callable(route):
            response: web.StreamResponse = await route(request)
            return response
        status, body = route if isinstance(route, tuple) else (200, route)
        return web.json_response(body, status=status)


@pytest.fixture
async def stub(session_key: KeyFile) -> AsyncIterator[Stub]:
    stub = Stub(session_key)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", stub.answer)
    async with TestServer(app) as server:
        stub.url = str(server.make_url("")).rstrip("/")
        yield stub


@pytest.fixture
async def bigquery(stub: Stub, credential: OneKey) -> AsyncIterator[BigQuery]:
    client = BigQuery(stub.url, credential, timeout=2)
    yield client
    await client.close()


@pytest.fixture
def new_key() -> Callable[[Path, str], KeyFile]:
    return write_key


@pytest.fixture
def error() -> Callable[[int, str, str], tuple[int, dict[str, Any]]]:
    return _error


def _error(status: int, reason: str, message: str) -> tuple[int, dict[str, Any]]:
    cause = {"reason": reason, "message": message, "domain": "global"}
    return status, {"error": {"code": status, "message": message, "errors": [cause]}}
