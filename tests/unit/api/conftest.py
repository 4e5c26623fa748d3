from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import uvicorn

from keystile.api.app import Api
from keystile.api.fake_identity import FakeExchange, FakeIssuer, FakePrincipals
from keystile.api.fake_publishing import FakePublishing
from keystile.api.fake_uploads import FakeUploads
from keystile.api.fakes import FakeGate
from keystile.api.http import Receive, Scope, Send
from keystile.api.ports import Check
from keystile.model.principal import Principal
from keystile.telemetry.metrics import Metrics

PRINCIPALS = {
    "token-a": Principal("https://issuer.example", "a", "agent-a", "session-1"),
    "to-jwt-a": Principal("https://issuer.example", "a", "agent-a", "session-1"),
    "token-b": Principal("https://issuer.example", "b", "agent-b", "session-2"),
}


class Served:
    """An Api over a fake gate, and what went through it."""

    def __init__(self, gate: Any, checks: Mapping[str, Check]) -> None:
        self.gate = gate
        self.uploads = FakeUploads()
        self.principals = FakePrincipals(PRINCIPALS)
        self.metrics = Metrics()
        self.publishing = FakePublishing()
        self.seen: list[str] = []
        self.url = ""
        self._api = Api(
            gate=gate,
            uploading=self.uploads,
            principals=self.principals,
            exchanger=FakeExchange(),
            publishing=self.publishing,
            issuer=FakeIssuer(),
            checks=checks,
            metrics=self.metrics,
            url="https://gateway.example",
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.seen.append(f"{scope['method']} {scope['path']}")
        await self._api(scope, receive, send)


Make = Callable[..., Served]


@pytest.fixture
def make() -> Make:
    def build(gate: Any = None, checks: Mapping[str, Check] | None = None) -> Served:
        return Served(gate or FakeGate(), checks or {})

    return build


@pytest.fixture
def serve(make: Make) -> Iterator[Make]:
    """Serve by uvicorn in a thread of its own, on a free port."""
    with contextlib.ExitStack() as stack:

        def start(gate: Any = None, checks: Mapping[str, Check] | None = None) -> Served:
            served = make(gate, checks)
            served.url = stack.enter_context(_running(served))
            return served

        yield start


@contextlib.contextmanager
def _running(app: Served) -> Iterator[str]:
    config = uvicorn.Config(app, port=0, log_config=None, access_log=False, loop="asyncio")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    try:
        while not server.started:
            time.sleep(0.005)
        host, port = server.servers[0].sockets[0].getsockname()[:2]
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
