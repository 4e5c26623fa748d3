"""The console over real stores, asked as an ASGI app with no socket in between."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from starlette.applications import Starlette
from starlette.types import Message

from keystile.approvals.machine import ApprovalRequest, Summary
from keystile.approvals.requests import Approvals
from keystile.config.settings import Settings
from keystile.config.upstream import Connection, Upstream
from keystile.console.agents import Fleet
from keystile.console.app import console_app
from keystile.gate.job_store import JobStore
from keystile.gate.ledger import Ledger
from keystile.gate.policy_versions import PolicyVersions
from keystile.identity.agents import Agents
from keystile.identity.disabling import Disablings
from keystile.identity.gateway_tokens import GatewayTokens
from keystile.identity.people import People
from keystile.model.decision import ApprovalDemand
from keystile.model.principal import Principal
from keystile.recording.log import RecordingLog
from keystile.store.database import Database
from keystile.tls.from_settings import secrets_of
from keystile.upstream.connections import Connections
from keystile.upstream.listing import Listing
from keystile.upstream.stored import StoredConnections

URL = "http://127.0.0.1:8421"


class Answer(msgspec.Struct):
    status: int
    headers: dict[str, str]
    text: str


class Desk:
    """Asks the app and keeps a cookie, as a browser does."""

    def __init__(self, app: Starlette, people: People, approvals: Approvals, fleet: Fleet) -> None:
        self.app = app
        self.people = people
        self.approvals = approvals
        self.fleet = fleet
        self.cookie = ""

    async def ask(
        self, method: str, path: str, fields: dict[str, str] | None = None, **headers: str
    ) -> Answer:
        path, _, query = path.partition("?")
        kept = {"host": "127.0.0.1:8421", "origin": URL, "cookie": self.cookie}
        kept |= {"content-type": "application/x-www-form-urlencoded"}
        kept |= {name.replace("_", "-"): value for name, value in headers.items()}
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": urlencode(fields or {}).encode()}

        async def send(message: Message) -> None:
            sent.append(message)

        scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in kept.items()],
            "client": ("127.0.0.1", 50_000),
            "scheme": "http",
        }
        await self.app(scope, receive, send)
        body = b"".join(message.get("body", b"") for message in sent[1:])
        got = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], got, body.decode())

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.ask("GET", path, **headers)

    async def post(self, path: str, **fields: str) -> Answer:
        return await self.ask("POST", path, fields)

    async def sign_in(self, person: str) -> None:
        answer = await self.post("/sign-in", token=await self.people.new_link(person))
        assert answer.status == 303
        self.cookie = answer.headers["set-cookie"].partition(";")[0]

    async def csrf(self) -> str:
        found = re.search('name="csrf" value="([^"]+)"', (await self.get("/approvals")).text)
        assert found
        return found.group(1)

    async def asked(self, **changes: Any) -> ApprovalRequest:
        principal = Principal("https://issuer.example", "s", "demo-agent", "run-1")
        values: dict[str, Any] = {
            "job": f"job-{time.monotonic_ns()}",
            "digest": "d" * 64,
            "session": "run-1",
            "principal": principal,
            "summary": Summary("SELECT 1", reason="a person must agree"),
            "demand": ApprovalDemand("rule", ("data-stewards",), 1, 600),
            "now": time.time(),
        }
        return await self.approvals.open(**(values | changes))


@pytest.fixture
def listing(tmp_path: Path, database: Database) -> Listing:
    """List a connection of the machine's, and those that are added to the store."""
    upstream = Upstream(connections={"on-the-machine": Connection(metadata_server=True)})
    settings = Settings(upstream=upstream, data="data", folder=tmp_path)
    connections = Connections(settings, database, secrets_of(settings))
    return Listing(StoredConnections(database), connections)


def fleet(database: Database) -> Fleet:
    agents = Agents(database)
    return Fleet(
        agents,
        Disablings(database),
        JobStore(database, "console"),
        "http://gw/issuer",
        ["data-stewards"],
        Ledger(database),
        GatewayTokens(database, agents, "http://gw/issuer", 600),
    )


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'keystile.db'}")
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def recording(tmp_path: Path) -> AsyncIterator[RecordingLog]:
    log = RecordingLog(tmp_path / "recordings", 1 << 20)
    await log.open()
    yield log
    await log.close()


@pytest.fixture
async def desk(
    database: Database, recording: RecordingLog, listing: Listing, tmp_path: Path
) -> Desk:
    people = People(database)
    await people.create("operator", ("data-stewards",))
    await people.create("visitor", ("sales",))
    approvals = Approvals(database)
    known = fleet(database)
    app = console_app(
        url=URL,
        people=people,
        approvals=approvals,
        recording=recording,
        recordings=tmp_path / "recordings",
        fleet=known,
        versions=PolicyVersions(database),
        listing=listing,
    )
    return Desk(app, people, approvals, known)
