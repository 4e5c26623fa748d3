from __future__ import annotations

import gzip
import io
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import pytest
import structlog

from keystile.api import fakes, http
from keystile.api.bigquery import SERVED
from keystile.model.errors import (
    NotFoundError,
    OverloadedError,
    RecordingUnavailableError,
    TokenFault,
    UnauthenticatedError,
    UnsafeConfigurationError,
)
from keystile.model.sender import Sender
from keystile.telemetry import logs
from keystile.wire.methods import METHODS
from keystile.wire.responses import JobError, JobFailedError

Headers = list[tuple[bytes, bytes]]
TOKEN: Headers = [(b"authorization", b"Bearer token-a")]
QUERIES = "/bigquery/v2/projects/acme-shop/queries"
JOBS = "/bigquery/v2/projects/acme-shop/jobs"


class Reply(NamedTuple):
    status: int
    headers: dict[bytes, bytes]
    json: Any
    body: bytes


async def ask(  # noqa: PLR0913, PLR0917  a request has these parts
    app: Any,
    method: str,
    target: str,
    body: bytes = b"",
    headers: Headers | None = None,
    token: Headers = TOKEN,
    *,
    packed: bool = False,
    scope: Any = None,
) -> Reply:
    path, _, query = target.partition("?")
    sent: list[Any] = []
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = (scope or {}) | {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [*token, *(headers or [])],
    }
    await app(scope, receive, send)
    start, rest = sent
    kind = dict(start["headers"])[b"content-type"]
    text = gzip.decompress(rest["body"]) if packed else rest["body"]
    parsed = json.loads(text) if b"json" in kind else None
    return Reply(start["status"], dict(start["headers"]), parsed, rest["body"])


@pytest.fixture
def log() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    stream = io.StringIO()
    logs.configure(stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    structlog.reset_defaults()


def is_google_error(reply: Reply, status: int, reason: str) -> bool:
    error = reply.json["error"]
    (detail,) = error["errors"]
    return (
        (reply.status, error["code"], detail["reason"]) == (status, status, reason)
        and detail["message"] == error["message"] != ""
        and set(error) == {"code", "message", "errors", "status"}
    )


async def test_a_query_is_answered_with_its_rows(make: Any) -> None:
    app = make()
    reply = await ask(app, "POST", QUERIES, b'{"query": "SELECT 1", "useLegacySql": false}')
    assert reply.status == 200
    assert reply.json["jobComplete"] is True
    assert len(reply.json["rows"]) == 3
    assert app.gate.requests[0].sql == "SELECT 1"


async def test_a_query_that_is_held_is_answered_incomplete_without_rows(make: Any) -> None:
    app = make(fakes.FakeGate(hold_seconds=60))
    reply = await ask(app, "POST", QUERIES, b'{"query": "SELECT 1", "timeoutMs": 10}')
    assert reply.json["jobComplete"] is False
    assert reply.json["jobReference"]["jobId"] == "job-1"
    assert not {"rows", "schema", "totalRows"} & set(reply.json)
    job = await ask(app, "GET", f"{JOBS}/job-1")
    assert job.json["status"] == {"state": "PENDING"}


async def test_no_wait_is_longer_than_ten_seconds(make: Any) -> None:
    app = make()
    await ask(app, "POST", QUERIES, b'{"query": "SELECT 1", "timeoutMs": 999999}')
    await ask(app, "GET", f"{QUERIES}/job-1?timeoutMs=999999")
    assert app.gate.pages[0].timeout_ms == 10_000
    assert app.gate.pages[-1].timeout_ms == 10_000


async def test_zero_results_are_answered_with_the_first_page(make: Any) -> None:
    app = make()
    await ask(app, "POST", JOBS, b'{"configuration": {"query": {"query": "SELECT 1"}}}')
    reply = await ask(app, "GET", f"{QUERIES}/job-1?maxResults=0")
    assert len(reply.json["rows"]) == 3
    assert app.gate.pages[-1].max_results is None


async def test_fields_are_applied_at_the_end(make: Any) -> None:
    app = make()
    await ask(app, "POST", JOBS, b'{"configuration": {"query": {"query": "SELECT 1"}}}')
    reply = await ask(app, "GET", f"{QUERIES}/job-1?fields=totalRows,schema(fields/name)")
    assert reply.json == {
        "totalRows": "3",
        "schema": {"fields": [{"name": "id"}, {"name": "email"}]},
    }


async def test_columns_of_a_schema_are_chosen(make: Any) -> None:
    target = "/projects/acme-shop/datasets/shop/tables/customers?selectedFields="
    for chosen, fields in (("", 1), ("ID", 1), ("other", 0)):
        reply = await ask(make(), "GET", target + chosen)
        assert len(reply.json["schema"]["fields"]) == fields


async def test_only_a_full_list_of_jobs_says_what_was_asked(make: Any) -> None:
    app = make()
    await ask(app, "POST", JOBS, b'{"configuration": {"query": {"query": "SELECT 1"}}}')
    for query, shown in (("", False), ("?projection=minimal", False), ("?projection=full", True)):
        reply = await ask(app, "GET", JOBS + query)
        (job,) = reply.json["jobs"]
        assert ("configuration" in job) == shown


async def test_a_listing_that_fails_is_answered_with_its_error(make: Any) -> None:
    denial = JobError.of(RecordingUnavailableError("denied by `operator`: not now"))
    app = make(fakes.FakeGate(refusal=JobFailedError(denial)))
    reply = await ask(app, "GET", "/projects/acme-shop/datasets/shop/tables/customers/data")
    assert is_google_error(reply, 403, "accessDenied")
    assert "not now" in reply.json["error"]["message"]


async def test_malformed_fields_are_refused_before_anything_runs(make: Any) -> None:
    app = make()
    reply = await ask(app, "POST", f"{QUERIES}?fields=a(", b'{"query": "SELECT 1"}')
    assert is_google_error(reply, 400, "invalid")
    assert app.gate.requests == []


async def test_a_denial_after_the_hold_reaches_every_reader(make: Any) -> None:
    denial = RecordingUnavailableError("denied by `operator`: not now")
    app = make(fakes.FakeGate(failure=denial))
    query = await ask(app, "POST", QUERIES, b'{"query": "SELECT 1"}')
    results = await ask(app, "GET", f"{QUERIES}/job-1")
    job = await ask(app, "GET", f"{JOBS}/job-1")
    for reply in (query, results):
        assert is_google_error(reply, 403, "accessDenied")
        assert "not now" in reply.json["error"]["message"]
    assert job.json["status"]["state"] == "DONE"
    assert job.json["status"]["errorResult"]["reason"] == "accessDenied"


async def test_a_failed_job_is_never_answered_with_a_status_that_clients_retry(make: Any) -> None:
    app = make(fakes.FakeGate(failure=OverloadedError("too much work")))
    reply = await ask(app, "POST", QUERIES, b'{"query": "SELECT 1"}')
    assert is_google_error(reply, 403, "accessDenied")


async def test_cancel_answers_with_the_job(make: Any) -> None:
    app = make(fakes.FakeGate(hold_seconds=60))
    await ask(app, "POST", JOBS, b'{"configuration": {"query": {"query": "SELECT 1"}}}')
    reply = await ask(app, "POST", f"{JOBS}/job-1/cancel?location=US")
    assert reply.json["kind"] == "bigquery#jobCancelResponse"
    assert reply.json["job"]["status"]["errorResult"]["reason"] == "stopped"


async def test_another_agent_s_job_is_not_found(make: Any) -> None:
    app = make()
    await ask(app, "POST", JOBS, b'{"configuration": {"query": {"query": "SELECT 1"}}}')
    other: Headers = [(b"authorization", b"Bearer token-b")]
    for target in (f"{JOBS}/job-1", f"{QUERIES}/job-1"):
        assert is_google_error(await ask(app, "GET", target, token=other), 404, "notFound")


@pytest.mark.parametrize(
    ("target", "key"),
    [("datasets", "datasets"), ("datasets/shop", "datasetReference"),
     ("datasets/shop/tables", "tables"), ("datasets/shop/tables/customers", "tableReference"),
     ("datasets/shop/routines", "routines"), ("datasets/shop/routines/r", "routineReference"),
     ("datasets/shop/tables/customers/data", "rows"), ("jobs", "jobs")],
)  # fmt: skip
async def test_metadata_is_given(make: Any, target: str, key: str) -> None:
    reply = await ask(make(), "GET", f"/projects/acme-shop/{target}")
    assert reply.status == 200
    assert key in reply.json


async def test_permissions_are_given(make: Any) -> None:
    target = "/projects/acme-shop/datasets/shop/tables/customers:testIamPermissions"
    names = ["bigquery.tables.get", "bigquery.tables.update"]
    reply = await ask(make(), "POST", target, json.dumps({"permissions": [names]}).encode())
    assert reply.json == {"permissions": names[:1]}
    reply = await ask(make(), "POST", target, json.dumps({"permissions": names[1:]}).encode())
    assert reply.json == {"permissions": []}


@pytest.mark.parametrize("method", sorted(set(METHODS) - set(SERVED)))
async def test_every_other_method_is_refused_by_name(make: Any, method: str) -> None:
    verb = METHODS[method].verb
    target = "/bigquery/v2/" + METHODS[method].path.format(
        project="acme-shop", dataset="shop", table="customers", job="j", item="i"
    )
    app = make()
    reply = await ask(app, verb, target, b"{}")
    assert is_google_error(reply, 403, "accessDenied")
    assert f"`{method}`" in reply.json["error"]["message"]
    assert f'keystile_requests_total{{method="{method}",status="403"}} 1.0' in (
        app.metrics.text().decode()
    )


@pytest.mark.parametrize(
    "target",
    [
        "/", "//bigquery/v2/projects/p/queries/j", "/bigquery/v2/projects/p/queries/j/",
        "/bigquery/v2/projects/p/queries//j", "/bigquery/v2/projects/p%2Fqueries/j",
        "/bigquery/v2/projects/p/queries%2Fj", "/bigquery/v2/projects/p/queries%252Fj",
        "/bigquery/v2/projects/p;x=1/queries/j", "/bigquery/v2/projects/p/queries;a/j",
        "/bigquery/v2/projects/p/datasets/../queries/j", "/bigquery/v2/./projects/p/queries/j",
        "/bigquery/v2/projects/p/%2e%2e/queries/j", "/BigQuery/v2/projects/p/queries/j",
        "/bigquery/v2/projects/p/queries/j%00", "/bigquery/v2/projects/p/queries/%ff",
        "http://gateway.example/bigquery/v2/projects/p/queries/j", "*", "",
        "/discovery/v1/apis/bigquery/v3/rest", "/batch/bigquery/v2",
        "/upload/bigquery/v2/projects/p/jobs", "/resumable/upload/bigquery/v2/projects/p/jobs",
        "/healthz/", "/metrics/..", "/v1/token/", "/issuer", "/issuer/jwks/x", "/%68ealthz",
    ],
)  # fmt: skip
@pytest.mark.parametrize("verb", ["GET", "POST"])
async def test_smuggled_and_unknown_paths_reach_nothing(make: Any, verb: str, target: str) -> None:
    reply = await ask(make(), verb, target, b"{}")
    assert reply.status in {400, 403, 404, 405}
    assert is_google_error(reply, reply.status, reply.json["error"]["errors"][0]["reason"])


@pytest.mark.parametrize(
    "target", ["/discovery/v1/apis/bigquery/v2/rest", "/$discovery/rest?version=v2"]
)
async def test_the_discovery_document_has_our_own_address(make: Any, target: str) -> None:
    reply = await ask(make(), "GET", target, token=[])
    assert reply.status == 200
    assert reply.json["rootUrl"] == "https://gateway.example/"
    assert "jobs" in reply.json["resources"]


async def test_an_answer_is_packed_where_that_is_asked_for(make: Any) -> None:
    gzipped = [(b"accept-encoding", b"gzip, deflate")]
    target = "/$discovery/rest"
    reply = await ask(make(), "GET", target)
    packed = await ask(make(), "GET", target, headers=gzipped, packed=True)
    assert packed.headers[b"content-encoding"] == b"gzip"
    assert int(packed.headers[b"content-length"]) < len(reply.body)
    assert packed.json == reply.json
    assert b"content-encoding" not in reply.headers


async def test_bytes_in_the_address_are_refused(make: Any) -> None:
    reply = await ask(make(), "GET", "/projects/ä/datasets")
    assert is_google_error(reply, 400, "invalid")


@pytest.mark.parametrize(
    ("query", "status"),
    [("alt=json&prettyPrint=false&key=k&quotaUser=u", 200), ("access_token=x", 403),
     ("oauth_token=x", 403), ("alt=media", 403), ("alt=proto", 403), ("callback=f", 400),
     ("upload_protocol=raw", 400), ("uploadType=media", 400), ("alt=json&alt=media", 400)],
)  # fmt: skip
async def test_query_parameters_are_allow_listed(make: Any, query: str, status: int) -> None:
    assert (await ask(make(), "GET", f"/projects/p/datasets?{query}")).status == status


@pytest.mark.parametrize("verb", ["HEAD", "OPTIONS", "TRACE", "CONNECT", "PUT", "get", "FOO"])
async def test_other_verbs_are_refused(make: Any, verb: str) -> None:
    reply = await ask(make(), verb, "/projects/acme-shop/datasets")
    assert is_google_error(reply, 405, "httpMethodNotAllowed")
    assert not any(name.startswith(b"access-control") for name in reply.headers)


FORM = (b"content-type", b"application/x-www-form-urlencoded")
JSON = (b"content-type", b"application/json")
GET_OVERRIDE = (b"x-http-method-override", b"GET")
PATCH_OVERRIDE = (b"x-http-method-override", b"PATCH")


async def test_the_override_of_google_s_client_is_a_get_with_its_query_in_the_body(
    make: Any,
) -> None:
    app = make()
    await ask(app, "POST", QUERIES, b'{"query": "SELECT 1"}')
    form = urlencode({"fields": "totalRows", "maxResults": "7"}).encode()
    reply = await ask(app, "POST", f"{QUERIES}/job-1", form, [FORM, GET_OVERRIDE])
    assert reply.json == {"totalRows": "3"}
    assert app.gate.pages[-1].max_results == 7


async def test_javas_client_could_change_no_table_for_it_sends_a_patch_as_a_post(
    make: Any,
) -> None:
    table, body = "/projects/p/datasets/d/tables/t", b'{"description": "to pay"}'
    headers = [(b"content-type", b"application/json; charset=UTF-8"), PATCH_OVERRIDE]
    reply = await ask(make(), "POST", f"{table}?fields=id", body, headers)
    assert reply.status == 200
    assert reply.json == (await ask(make(), "PATCH", f"{table}?fields=id", body)).json


@pytest.mark.parametrize(
    ("verb", "target", "headers"),
    [
        ("POST", "/projects/p/datasets/d", [FORM, PATCH_OVERRIDE]),
        ("POST", "/projects/p/datasets/d", [PATCH_OVERRIDE]),
        ("DELETE", "/projects/p/datasets/d", [JSON, PATCH_OVERRIDE]),
        ("POST", "/projects/p/datasets/d", [JSON, (b"x-http-method-override", b"PUT")]),
        ("POST", "/projects/p/datasets/d", [JSON, (b"x-http-method-override", b"DELETE")]),
        ("POST", "/projects/p/datasets", [FORM, (b"x-http-method-override", b"DELETE")]),
        ("POST", "/projects/p/datasets", [FORM, (b"x-http-method-override", b"")]),
        ("POST", "/projects/p/datasets", [GET_OVERRIDE]),
        ("POST", "/projects/p/datasets?alt=json", [FORM, GET_OVERRIDE]),
        ("GET", "/projects/p/datasets", [FORM, GET_OVERRIDE]),
        ("GET", "/projects/p/datasets", [(b"x-http-method", b"DELETE")]),
        ("GET", "/projects/p/datasets", [(b"x-method-override", b"DELETE")]),
    ],
)
async def test_any_other_override_is_refused(
    make: Any, verb: str, target: str, headers: Headers
) -> None:
    reply = await ask(make(), verb, target, b"", headers)
    assert is_google_error(reply, 403, "accessDenied")


@pytest.mark.parametrize(
    ("token", "status"),
    [([], 401), ([(b"authorization", b"Bearer wrong")], 401),
     ([(b"authorization", b"Basic dG9rZW4tYQ==")], 401), ([*TOKEN, *TOKEN], 400)],
)  # fmt: skip
async def test_only_one_valid_bearer_token_gets_in(make: Any, token: Headers, status: int) -> None:
    app = make()
    reply = await ask(app, "POST", QUERIES, b'{"query": "SELECT 1"}', token=token)
    assert reply.status == status
    assert (b"www-authenticate" in reply.headers) == (status == 401)
    assert b"wrong" not in reply.body
    assert app.gate.requests == []


async def test_a_body_is_not_read_before_its_sender_is_known(make: Any) -> None:
    reply = await ask(make(), "POST", QUERIES, b"x" * (2 << 20), token=[])
    assert is_google_error(reply, 401, "authError")


@pytest.mark.parametrize(
    "error",
    [ValueError("row 123-45-6789"), UnsafeConfigurationError("a secret"), TimeoutError(), KeyError],
)
async def test_an_unexpected_fault_is_refused_with_an_id_and_logged(
    make: Any, log: Any, error: Exception
) -> None:
    reply = await ask(
        make(fakes.FakeGate(refusal=error)), "POST", QUERIES, b'{"query": "SELECT 1"}'
    )
    assert is_google_error(reply, 403, "accessDenied")
    message = reply.json["error"]["message"]
    assert message.startswith("refused: internal fault `")
    fault, line = log()
    assert fault["id"] in message
    assert fault["request"] == line["request"]
    assert fault["frames"]
    assert "123-45" not in message + json.dumps([fault, line])


async def test_overload_is_the_one_503(make: Any) -> None:
    gate = fakes.FakeGate(refusal=OverloadedError("too many queries wait"))
    reply = await ask(make(gate), "POST", QUERIES, b'{"query": "SELECT 1"}')
    assert is_google_error(reply, 503, "backendError")


async def test_the_log_line_says_who_and_what_but_no_sql_and_no_token(make: Any, log: Any) -> None:
    reply = await ask(make(), "POST", QUERIES, b'{"query": "SELECT ssn FROM customers"}')
    (line,) = log()
    assert line["request"] == reply.headers[b"x-keystile-request-id"].decode()
    assert (line["method"], line["status"]) == ("jobs.query", 200)
    assert (line["agent"], line["session"]) == ("agent-a", "session-1")
    assert line["ms"] >= 0
    assert "SELECT" not in json.dumps(line)
    assert "token-a" not in json.dumps(line)


async def test_errors_of_our_tree_keep_their_words(make: Any) -> None:
    gate = fakes.FakeGate(refusal=NotFoundError("Not found: Table p:d.t", hint="look again"))
    reply = await ask(make(gate), "POST", QUERIES, b'{"query": "SELECT 1"}')
    assert is_google_error(reply, 404, "notFound")
    assert reply.json["error"]["message"] == "Not found: Table p:d.t; look again"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"\xff", b'{"query": 1}', b'{"query":"a","query":"b"}', b"{}"]
)
async def test_malformed_bodies_are_invalid(make: Any, body: bytes) -> None:
    assert is_google_error(await ask(make(), "POST", QUERIES, body), 400, "invalid")


async def test_every_answer_may_not_be_stored_or_sniffed(make: Any) -> None:
    reply = await ask(make(), "GET", "/projects/acme-shop/datasets")
    assert reply.headers[b"cache-control"] == b"no-store"
    assert reply.headers[b"x-content-type-options"] == b"nosniff"
    assert int(reply.headers[b"content-length"]) == len(reply.body)


async def test_a_client_that_leaves_mid_body_is_counted_and_not_answered(
    make: Any, log: Any
) -> None:
    sent: list[Any] = []

    async def gone() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": QUERIES, "raw_path": QUERIES.encode(),
        "query_string": b"", "headers": TOKEN,
    }  # fmt: skip
    await make()(scope, gone, send)
    assert sent == []
    assert log()[0]["status"] == 499


async def test_websockets_are_closed_and_lifespan_is_acknowledged(make: Any) -> None:
    sent: list[Any] = []
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await make()({"type": "websocket"}, receive, send)
    await make()({"type": "lifespan"}, receive, send)
    assert sent == ["websocket.close", "lifespan.startup.complete", "lifespan.shutdown.complete"]


def raw(url: str, request: bytes) -> bytes:
    """Send bytes as they are and read until the server closes."""
    host = urlsplit(url)
    answer = b""
    with socket.create_connection((host.hostname, host.port), timeout=5) as connection:
        connection.sendall(request)
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


def test_over_a_real_socket_bad_requests_get_one_clear_answer(serve: Any) -> None:
    served = serve()
    auth = b"Host: x\r\nConnection: close\r\nAuthorization: Bearer token-a\r\n"
    absolute = raw(
        served.url, b"GET http://evil.example/projects/p/datasets HTTP/1.1\r\n" + auth + b"\r\n"
    )
    dotted = raw(served.url, b"GET /projects/p/x/../datasets HTTP/1.1\r\n" + auth + b"\r\n")
    smuggled = raw(
        served.url,
        b"POST /projects/p/queries HTTP/1.1\r\n" + auth
        + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"0\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n",
    )  # fmt: skip
    chunked = raw(
        served.url,
        b"POST /projects/p/queries HTTP/1.1\r\n" + auth
        + b'Transfer-Encoding: chunked\r\n\r\n15\r\n{"query": "SELECT 1"}\r\n0\r\n\r\n',
    )  # fmt: skip
    head = raw(served.url, b"HEAD /healthz HTTP/1.1\r\n" + auth + b"\r\n")
    # RFC 9112 section 3.2.2: a server must accept the absolute form; only its path counts here.
    assert absolute.startswith(b"HTTP/1.1 200")
    assert dotted.startswith(b"HTTP/1.1 400")
    assert b"keystile_requests" not in smuggled
    assert smuggled.startswith(b"HTTP/1.1 400")
    assert chunked.startswith(b"HTTP/1.1 200")
    assert head.startswith(b"HTTP/1.1 200")
    assert head.endswith(b"\r\n\r\n")


SENDING = b"POST /upload/bigquery/v2/projects/p/jobs HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize("token", [b"token-a", b"token-unknown"])
def test_a_client_that_still_sends_does_not_lose_a_refusal(serve: Any, token: bytes) -> None:
    """Go's closes its connection when it is answered while it sends, and with it the answer."""
    host = urlsplit(serve().url)
    head = SENDING + b"Authorization: Bearer " + token + b"\r\nConnection: close\r\n"
    with socket.create_connection((host.hostname, host.port), timeout=0.3) as connection:
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(64):
            connection.sendall(b"8000\r\n" + bytes(0x8000) + b"\r\n")
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.sendall(b"0\r\n\r\n")
        connection.settimeout(5)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 40")
    assert answer.endswith(b"}")


@pytest.mark.parametrize(
    ("headers", "sent"),
    [
        (b"Transfer-Encoding: chunked\r\n", b"1\r\nx\r\n"),  # and then nothing more
        (b"Transfer-Encoding: chunked\r\n", b"8000\r\n" + bytes(0x8000)),
        (b"Content-Length: 9\r\n", b"x"),
    ],
)
def test_a_client_that_never_ends_is_answered_all_the_same(
    serve: Any, monkeypatch: pytest.MonkeyPatch, headers: bytes, sent: bytes
) -> None:
    monkeypatch.setattr(http, "_DRAIN_SECONDS", 0.2)
    assert raw(serve().url, SENDING + b"Connection: close\r\n" + headers + b"\r\n" + sent)


@pytest.mark.parametrize(
    "headers",
    [
        b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n",
        b"Content-Length: 8000000000\r\n",
    ],
)
def test_a_client_is_not_told_to_go_on_with_what_nobody_reads(serve: Any, headers: bytes) -> None:
    started = time.monotonic()
    answer = raw(serve().url, SENDING + b"Connection: close\r\n" + headers + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 401")
    assert time.monotonic() - started < http._DRAIN_SECONDS / 2


def test_a_client_that_leaves_while_it_waits_leaves_its_job_running(serve: Any) -> None:
    served = serve(fakes.FakeGate(hold_seconds=0.3))
    host = urlsplit(served.url)
    body = b'{"query": "SELECT 1"}'
    auth = b"Host: x\r\nAuthorization: Bearer token-a\r\n"
    with socket.create_connection((host.hostname, host.port), timeout=5) as connection:
        connection.sendall(
            b"POST /projects/p/queries HTTP/1.1\r\n" + auth
            + b"Content-Length: %d\r\n\r\n" % len(body) + body
        )  # fmt: skip
    closed = auth + b"Connection: close\r\n\r\n"
    answer = raw(served.url, b"GET /projects/p/queries/job-1 HTTP/1.1\r\n" + closed)
    assert b'"jobComplete":true' in answer


async def test_a_token_is_given_back_with_an_empty_answer(make: Any) -> None:
    app = make()
    form: Headers = [(b"content-type", b"application/x-www-form-urlencoded")]
    ended = await ask(app, "POST", "/v1/revoke", b"token=to-jwt", form, token=[])
    assert (ended.status, ended.body) == (200, b"")
    for method, body in (("POST", b"token=bad"), ("GET", b"")):
        refused = await ask(app, method, "/v1/revoke", body, form, token=[])
        assert (refused.status, refused.json["error"]) == (400, "invalid_request")
    text = app.metrics.text().decode()
    assert 'keystile_requests_total{method="revoke",status="200"} 1.0' in text
    assert 'keystile_token_exchanges_total{outcome="refused"} 0.0' in text


async def test_an_agent_that_is_disabled_while_its_call_waits_gets_nothing(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make(fakes.FakeGate(hold_seconds=0.05))
    sql = b'{"query": "SELECT 1", "timeoutMs": 5000}'
    app.principals.disabled.add("agent-a")
    # One that is quick was let in just now.
    assert (await ask(app, "POST", QUERIES, sql)).status == 200
    monkeypatch.setattr("keystile.api.app._LET_IN_SECONDS", 0.01)
    reply = await ask(app, "POST", QUERIES, sql)
    assert reply.status == 403
    assert "the agent `agent-a` is disabled" in reply.json["error"]["message"]
    assert b"rows" not in reply.body


@pytest.mark.parametrize("scheme", [b"DPoP", b"dpop"])
async def test_what_shows_who_sends_a_request_is_passed_on(make: Any, scheme: bytes) -> None:
    app, sent = make(), [(b"authorization", scheme + b" token-a"), (b"dpop", b"a.b.c")]
    scope = {
        "extensions": {"tls": {"client_cert": b"der"}},
        "client": ("192.0.2.1", 5),
    }
    reply = await ask(app, "GET", "/projects?alt=json", token=sent, scope=scope)
    assert reply.status == 200
    assert app.principals.sender == Sender(
        address="192.0.2.1",
        method="GET",
        url="https://gateway.example/projects",
        proof="a.b.c",
        is_dpop=True,
        certificate=b"der",
    )
    await ask(app, "GET", "/projects", scope={"extensions": {"tls": {"client_cert": None}}})
    assert app.principals.sender == Sender(method="GET", url="https://gateway.example/projects")


async def test_two_proofs_are_none(make: Any) -> None:
    twice: Headers = [(b"dpop", b"a.b.c"), (b"dpop", b"d.e.f")]
    reply = await ask(make(), "GET", "/projects", headers=twice)
    assert is_google_error(reply, 400, "invalid")


async def test_a_stolen_token_is_challenged_and_counted(make: Any) -> None:
    app = make()
    app.principals.refusal = UnauthenticatedError("it is bound", fault=TokenFault.PROOF)
    for target in ("/projects", "/upload/bigquery/v2/projects/p/jobs?uploadType=resumable"):
        reply = await ask(app, "POST" if "upload" in target else "GET", target)
        assert is_google_error(reply, 401, "authError")
        # The last of the two challenges.
        assert reply.headers[b"www-authenticate"].startswith(b'DPoP realm="keystile", error=')
    assert 'keystile_token_refusals_total{fault="proof"} 2.0' in app.metrics.text().decode()
    app.principals.refusal = UnauthenticatedError("it is unknown")
    reply = await ask(app, "GET", "/projects")
    assert reply.headers[b"www-authenticate"] == b'Bearer realm="keystile"'
