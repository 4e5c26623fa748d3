"""What the Storage Read API shares with the HTTP side: tokens, the log, and who is sent there."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from keystile.api.app import Api
from keystile.api.fake_identity import FakeExchange, FakePrincipals
from keystile.api.fake_publishing import FakePublishing
from keystile.api.fake_uploads import FakeUploads
from keystile.api.fakes import FakeGate
from keystile.api.storage import OwnReader, _fault, read_service
from keystile.model.errors import RefusedError, TokenFault, UnauthenticatedError
from keystile.model.principal import Principal
from keystile.model.schema import TableId
from keystile.model.sender import Sender
from keystile.rpc.service import Served
from keystile.telemetry.metrics import Metrics
from keystile.wire.read_sessions import ReadRequest, ReadSession
from keystile.wire.responses import JobView

AGENT = Principal("https://issuer.example", "a", "agent-a", "run-1")
KNOWN = FakePrincipals({"token-a": AGENT})
SESSION = ReadSession("projects/p/locations/us/sessions/1", (), 1, 9e9)
SENDER = Sender("10.1.2.3", client="grpc-test/1")
RESULT = TableId("p", "_hidden", "anon1")
LONG = JobView("p", "j", "US", "a", "DONE", "SELECT 1", 1.0, destination=RESULT, several_pages=True)


class FakeSessions:
    """Remembers who asked for what."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    async def create(self, principal: Principal, asked: ReadRequest) -> ReadSession:
        self.asked.append((principal, asked))
        return SESSION

    async def session(self, principal: Principal, name: str) -> ReadSession:
        self.asked.append((principal, name))
        return SESSION

    async def rows(self, principal: Principal, name: str, start: int) -> Any:
        self.asked.append((principal, name, start))
        return [{"f": []}]


async def test_a_caller_is_whose_gateway_token_it_is() -> None:
    reader = OwnReader(FakeSessions(), KNOWN, Metrics())
    assert await reader.caller("Bearer token-a", SENDER) == AGENT
    for other in ("", "token-a", "Basic token-a", "Bearer token-b", "Bearer token-a, token-a"):
        with pytest.raises(UnauthenticatedError):
            await reader.caller(other, SENDER)


async def test_a_token_that_is_bound_to_a_key_is_refused_and_counted() -> None:
    known, metrics = FakePrincipals({}), Metrics()
    known.refusal = UnauthenticatedError("it is bound", fault=TokenFault.PROOF)
    with pytest.raises(UnauthenticatedError):
        await OwnReader(FakeSessions(), known, metrics).caller("DPoP token-a", SENDER)
    assert known.sender == Sender("10.1.2.3", is_dpop=True, client="grpc-test/1")
    assert 'keystile_token_refusals_total{fault="proof"} 1.0' in metrics.text().decode()


async def test_all_is_asked_for_as_that_agent() -> None:
    sessions = FakeSessions()
    reader, asked = OwnReader(sessions, KNOWN, Metrics()), ReadRequest("p", RESULT)
    assert await reader.create(AGENT, asked) == SESSION
    assert await reader.session(AGENT, "s") == SESSION
    assert await reader.rows(AGENT, "s", 3) == [{"f": []}]
    assert sessions.asked == [(AGENT, asked), (AGENT, "s"), (AGENT, "s", 3)]


async def test_an_agent_that_is_disabled_gets_no_more_rows_of_a_stream() -> None:
    agents, sessions = FakePrincipals({"token-a": AGENT}), FakeSessions()
    reader = OwnReader(sessions, agents, Metrics())
    assert await reader.rows(AGENT, "s", 0)
    agents.disabled.add("agent-a")
    with pytest.raises(RefusedError, match="is disabled"):
        await reader.rows(AGENT, "s", 1)
    assert sessions.asked == [(AGENT, "s", 0)]


def test_calls_are_counted_and_logged_by_agent(capsys: pytest.CaptureFixture[str]) -> None:
    metrics = Metrics()
    service = read_service(FakeSessions(), KNOWN, metrics)
    service._note(Served("ReadRows", "OK", 0.5, AGENT))
    service._note(Served("ReadRows", "UNAUTHENTICATED", 0.5, None))
    counted = metrics.requests.labels("storage.ReadRows", "OK")
    assert counted._value.get() == 1
    said = capsys.readouterr().out
    assert "agent-a" in said
    assert "storage.ReadRows" in said


def test_a_fault_is_a_number_to_the_client() -> None:
    error = _fault(RuntimeError("s3cret"))
    assert isinstance(error, RefusedError)
    assert "internal fault" in str(error)
    assert "s3cret" not in str(error)


class LongGate(FakeGate):
    """Has one job, whose result is more than a page."""

    def __init__(self, job: JobView = LONG) -> None:
        super().__init__()
        self._long = job

    async def job(self, _principal: Principal, _project: str, _job: str) -> JobView:
        return self._long


@pytest.mark.parametrize(
    ("storage", "host", "named"),
    [
        (True, b"bigquery.gw.test", True),
        (True, b"BigQuery.gw.test:443", True),
        (True, b"127.0.0.1:8420", False),
        (True, b"bigquery-gateway.example.com", False),
        (True, None, False),
        (False, b"bigquery.gw.test", False),
    ],
)
async def test_only_who_finds_the_storage_api_here_is_sent_to_it(
    storage: bool,  # noqa: FBT001 - a parameter of the cases
    host: bytes | None,
    named: bool,  # noqa: FBT001 - as above
) -> None:
    """A client that knows the gateway by another name would ask Google for the rows."""
    job = await asked_for_its_job(LongGate(), host, storage=storage)
    assert ("destinationTable" in job["configuration"]["query"]) is named


async def test_bigframes_took_a_result_without_a_name_for_one_row_of_the_jobs_figures() -> None:
    optional = msgspec.structs.replace(LONG, optional=True)
    job = await asked_for_its_job(LongGate(optional), None, storage=False)
    assert job["configuration"]["query"]["destinationTable"]["tableId"] == RESULT.table


async def asked_for_its_job(gate: Any, host: bytes | None, *, storage: bool) -> Any:
    api = Api(
        gate=gate,
        uploading=FakeUploads(),
        principals=KNOWN,
        exchanger=FakeExchange(),
        publishing=FakePublishing(),
        issuer=None,
        checks={},
        metrics=Metrics(),
        url="https://gateway.example",
        storage=storage,
    )
    headers = [(b"authorization", b"Bearer token-a")] + ([(b"host", host)] if host else [])
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/projects/p/jobs/j",
        "raw_path": b"/projects/p/jobs/j",
        "query_string": b"",
        "headers": headers,
    }
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await api(scope, receive, send)
    return json.loads(sent[1]["body"])
