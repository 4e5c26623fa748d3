"""A real console on a free port, over real stores with sample content, and a real Chromium."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from keystile.approvals.machine import ApprovalRequest, Summary, TouchedColumn
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
from keystile.model.schema import Parameter, SqlType
from keystile.recording.events import Event, EventKind
from keystile.recording.log import RecordingLog
from keystile.recording.reader import Recorded, RecordingReader
from keystile.store.database import Database
from keystile.tls.from_settings import secrets_of
from keystile.upstream.connections import Connections
from keystile.upstream.listing import Listing
from keystile.upstream.stored import StoredConnections

BROWSERS = (
    "/usr/bin/chromium",
    "/usr/lib/chromium/chromium-headless-shell",
    "/usr/bin/chromium-headless-shell",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Console:
    """The console under test and the stores behind it, on an event loop of its own."""

    def __init__(self, folder: Path) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.recordings = folder / "recordings"
        self.database = Database(f"sqlite+aiosqlite:///{folder / 'keystile.db'}")
        self.people = People(self.database)
        self.approvals = Approvals(self.database)
        self.fleet = fleet(self.database)
        self.versions = PolicyVersions(self.database)
        self.listing = listing(folder, self.database)
        self.recording = RecordingLog(self.recordings, 1 << 20)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.run(self._open())
        while not self.server.started:
            time.sleep(0.01)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    async def _open(self) -> None:
        await self.database.open()
        await self.recording.open()
        app = console_app(
            url=self.url,
            people=self.people,
            approvals=self.approvals,
            recording=self.recording,
            recordings=self.recordings,
            fleet=self.fleet,
            versions=self.versions,
            listing=self.listing,
        )
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
        self.server = uvicorn.Server(config)
        self.server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        self.serving = asyncio.ensure_future(self.server.serve([self.socket]))

    def close(self) -> None:
        self.run(self._close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
        self.socket.close()

    async def _close(self) -> None:
        self.server.should_exit = True
        await self.serving
        await self.recording.close()
        await self.database.close()

    def link(self, person: str) -> str:
        return f"{self.url}/link/{self.run(self.people.new_link(person))}"

    def ask(self, **changes: Any) -> ApprovalRequest:
        """Open an approval request as the gate does."""
        values: dict[str, Any] = {
            "job": f"job-{time.monotonic_ns()}",
            "digest": "5f0c" * 16,
            "session": "run-0001",
            "principal": principal(),
            "summary": summary(),
            "demand": DEMAND,
            "now": time.time(),
        }
        return self.run(self.approvals.open(**(values | changes)))

    def come(self, agent: str, **changes: Any) -> Principal:
        """Have an agent of another issuer come for the first time."""
        one = principal(agent, **changes)
        self.run(self.fleet.agents.saw(one, own=False))
        return one

    def request(self, id_: str) -> ApprovalRequest:
        return self.run(self.approvals.get(id_))

    def events(self, session: str) -> tuple[Recorded, ...]:
        return self.run(RecordingReader(self.recordings).session(session))

    def session_events(self, *of: Any) -> tuple[Event, ...]:
        return session_events(*of)

    def record(self, *events: Event) -> None:
        for event in events:
            self.run(self.recording.append(event))


def listing(folder: Path, database: Database) -> Listing:
    """List a connection of the machine's, and those that are added to the store."""
    upstream = Upstream(connections={"on-the-machine": Connection(metadata_server=True)})
    settings = Settings(upstream=upstream, data="data", folder=folder)
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


DEMAND = ApprovalDemand(
    rule="raw-pii-needs-a-person",
    approvers=("data-stewards",),
    count=1,
    expires_seconds=1800,
    unmask=("pii.ssn",),
)


def principal(agent: str = "demo-agent", **changes: Any) -> Principal:
    values: dict[str, Any] = {
        "issuer": "https://issuer.example/agents",
        "subject": f"agent:{agent}",
        "agent": agent,
        "session": "run-0001",
        "service_account": f"{agent}@acme-shop.iam.example",
        "groups": ("coding-agents",),
        "attributes": {"purpose": "support", "repository": "acme/shop"},
        "on_behalf_of": "developer",
    }
    return Principal(**(values | changes))


def summary(sql: str = "", **changes: Any) -> Summary:
    customers = "acme-shop.shop.customers"
    values: dict[str, Any] = {
        "sql": sql
        or "-- Which customers wrote about a refund?\n"
        "SELECT c.id, c.name, c.ssn, COUNT(*) AS tickets\n"
        "FROM `acme-shop.shop.customers` AS c\nJOIN shop.tickets AS t ON t.customer_id = c.id\n"
        "WHERE t.subject LIKE '%refund%'\n  AND c.id = @customer\nGROUP BY 1, 2, 3\nLIMIT 20",
        "parameters": (Parameter("customer", SqlType("INT64"), {"value": "42"}),),
        "rewritten_sql": "SELECT c.id, CAST(NULL AS STRING) AS name, c.ssn, COUNT(*) AS tickets\n"
        "FROM (SELECT * REPLACE (CAST(NULL AS STRING) AS name) FROM shop.customers) AS c …",
        "statement": "SELECT",
        "reads": (customers, "acme-shop.shop.tickets"),
        "columns": (
            TouchedColumn(f"{customers}.id", (), ("output", "join", "group")),
            TouchedColumn(f"{customers}.name", ("pii.name",), ("output", "group"), masked=True),
            TouchedColumn(f"{customers}.ssn", ("pii.ssn",), ("output",), unlocked=True),
            TouchedColumn("acme-shop.shop.tickets.subject", (), ("filter",)),
        ),
        "bytes": 73_400_320,
        "rule": "raw-pii-needs-a-person",
        "reason": "support may see social security numbers once a data steward agrees",
    }
    return Summary(**(values | changes))


def session_events(session: str, agent: str, at: float, sql: str) -> tuple[Event, ...]:
    """One allowed query with masked rows, one refused schema change, one approved query."""
    common = {"session": session, "agent": agent}
    customers = "acme-shop.shop.customers"
    allowed = {
        "effect": "allow",
        "policy_digest": "9b1e" * 16,
        "rules": [{"rule": "coding-agents-read", "effect": "allow", "message": ""}],
    }
    denied = {
        "effect": "deny",
        "policy_digest": "9b1e" * 16,
        "rules": [
            {
                "rule": "no-schema-changes",
                "effect": "deny",
                "message": "agents do not change schemas; ask the data platform team",
            }
        ],
    }
    waits = allowed | {
        "effect": "require_approval",
        "rules": [{"rule": DEMAND.rule, "effect": "require_approval", "message": summary().reason}],
    }
    schema = [
        {"name": "id", "type": "INTEGER"},
        {"name": "name", "type": "STRING"},
        {"name": "ssn", "type": "STRING", "masked": [f"{customers}.ssn"]},
        {"name": "created", "type": "TIMESTAMP"},
        {
            "name": "contacts",
            "type": "RECORD",
            "mode": "REPEATED",
            "fields": [{"name": "kind", "type": "STRING"}, {"name": "value", "type": "STRING"}],
        },
    ]
    outcome = {
        "state": "done",
        "schema": schema,
        "rows": [_row(number) for number in range(120)],
        "total_rows": 120,
        "bytes_processed": 24_117_248,
        "upstream_job": "keystile_1",
        "started_at": at,
        "ended_at": at + 0.84,
    }
    intent = {
        "sql": sql,
        "parameters": [
            {
                "name": "customer",
                "parameterType": {"type": "INT64"},
                "parameterValue": {"value": "42"},
            }
        ],
        "statement": "SELECT",
        "actions": ["read"],
        "tables": [customers],
        "decision": allowed,
        "masked": [f"{customers}.ssn"],
        "rewritten_sql": "SELECT id, name, ssn FROM (SELECT * REPLACE ('XXX-XX-XXXX' AS ssn) …)",
        "digest": "5f0c" * 16,
        "bytes_estimate": 24_117_248,
    }
    vote = {"person": "operator", "approve": True, "comment": "ticket 7", "via": "cli", "at": at}
    job = {"job": f"{session}-1"}
    late = {"job": f"{session}-3"}
    return (
        Event(EventKind.INTENT, at, **common, **job, body=intent),
        Event(EventKind.OUTCOME, at + 1, **common, **job, body=outcome),
        Event(
            EventKind.REFUSED,
            at + 60,
            **common,
            body={
                "sql": "DROP TABLE shop.customers",
                "reason": "accessDenied",
                "message": "rule `no-schema-changes` denies it: agents do not change schemas",
                "decision": denied,
            },
        ),
        Event(EventKind.INTENT, at + 90, **common, **late, body=intent | {"decision": waits}),
        Event(EventKind.APPROVAL_REQUESTED, at + 91, **common, **late, body={"request": "a1"}),
        Event(
            EventKind.APPROVAL_DECIDED,
            at + 120,
            **common,
            **late,
            body={"request": "a1", "state": "approved", "votes": [vote]},
        ),
        Event(EventKind.OUTCOME, at + 121, **common, **late, body=outcome | {"rows": []}),
    )


def _row(number: int) -> dict[str, Any]:
    contact = {"f": [{"v": "email"}, {"v": None if number % 5 else "c***@acme.example"}]}
    cells = [str(number), f"Customer {number}", "XXX-XX-XXXX", "1.7623872E9", [{"v": contact}]]
    return {"f": [{"v": cell} for cell in cells]}


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """One console for all tests of this folder; each makes the requests that it needs."""
    console = Console(tmp_path_factory.mktemp("console"))
    try:
        console.run(console.people.create("operator", ("data-stewards",)))
        console.run(console.people.create("visitor", ("sales",)))
        yield console
    finally:
        console.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The one browser that all tests of a file share.

    It must not outlive the file: Playwright's own event loop runs in this thread until then, and
    an asyncio test in between would not start.
    """
    named = os.environ.get("KEYSTILE_CHROMIUM", "")
    found = next((path for path in (named, *BROWSERS) if path and Path(path).exists()), None)
    if found is None:
        pytest.fail("no Chromium: install Debian's `chromium`, or set KEYSTILE_CHROMIUM to one")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(10_000)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page on which any console error, script error or violated policy fails the test."""
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda one: problems.append(one.text) if one.type == "error" else None)
    page.on("pageerror", lambda one: problems.append(str(one)))
    page.on("dialog", lambda one: (problems.append(f"dialog {one.message}"), one.dismiss()))
    yield page
    assert problems == []
