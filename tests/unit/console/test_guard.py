from urllib.parse import urlencode

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Message

from keystile.console.guard import (
    CONTENT_SECURITY_POLICY,
    MAX_FORM_BYTES,
    Guard,
    RateLimit,
    addresses,
    check_csrf,
    csrf_token,
    form,
)
from keystile.model.errors import InvalidRequestError, RefusedError, UnsafeConfigurationError

Headers = list[tuple[bytes, bytes]]


async def ask(url: str, method: str, headers: Headers) -> tuple[int, dict[bytes, bytes]]:
    async def view(_: Request) -> PlainTextResponse:
        return PlainTextResponse("in")

    guard = Guard(Starlette(routes=[Route("/", view, methods=["GET", "POST"])]), url=url)
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": "/", "query_string": b""}
    await guard({**scope, "headers": headers}, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"])


HOST = (b"host", b"127.0.0.1:8421")


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", [HOST], 200),
        ("GET", [(b"host", b"localhost:8421")], 200),
        ("GET", [(b"host", b"LOCALHOST:8421")], 200),
        ("GET", [(b"host", b"evil.example:8421")], 421),
        ("GET", [(b"host", b"127.0.0.1")], 421),
        ("GET", [(b"host", b"")], 421),
        ("GET", [], 421),
        ("GET", [HOST, (b"host", b"evil.example")], 421),
        ("POST", [HOST, (b"origin", b"http://127.0.0.1:8421")], 200),
        ("POST", [HOST], 403),
        ("POST", [HOST, (b"origin", b"null")], 403),
        ("POST", [HOST, (b"origin", b"https://127.0.0.1:8421")], 403),
        ("POST", [HOST, (b"origin", b"http://127.0.0.1:9999")], 403),
        ("POST", [HOST, (b"origin", b"http://127.0.0.1:8421")] * 2, 421),
        ("POST", [HOST, *[(b"origin", b"http://127.0.0.1:8421")] * 2], 403),
    ],
)
async def test_host_and_origin(method: str, headers: Headers, status: int) -> None:
    answered, got = await ask("http://127.0.0.1:8421", method, headers)
    assert answered == status
    # Refusals carry them too.
    assert got[b"content-security-policy"] == CONTENT_SECURITY_POLICY.encode()
    assert got[b"cache-control"] == b"no-store"
    assert b"strict-transport-security" not in got


async def test_a_public_console_answers_at_its_own_address_only() -> None:
    url = "https://keystile.acme.example"
    status, headers = await ask(url, "GET", [(b"host", b"keystile.acme.example")])
    assert status == 200
    assert b"strict-transport-security" in headers
    assert (await ask(url, "GET", [(b"host", b"localhost")]))[0] == 421


@pytest.mark.parametrize("url", ["ftp://a", "console", "http://", "", "http://a:x", "http://[a"])
def test_an_address_must_be_one(url: str) -> None:
    with pytest.raises(UnsafeConfigurationError):
        addresses(url)


def test_ipv6_keeps_its_brackets() -> None:
    assert addresses("http://[2001:db8::1]:80") == {"http://[2001:db8::1]:80"}
    assert "http://127.0.0.1:1" in addresses("http://[::1]:1")


def test_a_form_token_fits_one_session_only() -> None:
    check_csrf("one", csrf_token("one"))
    for wrong in (csrf_token("two"), "", "é"):
        with pytest.raises(RefusedError):
            check_csrf("one", wrong)


async def read(body: bytes, kind: str = "application/x-www-form-urlencoded") -> dict[str, str]:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", kind.encode())]
    return await form(Request({"type": "http", "headers": headers}, receive))


async def test_a_plain_form_is_read() -> None:
    fields = {"comment": "é & <b>", "empty": ""}
    assert await read(urlencode(fields).encode()) == fields


@pytest.mark.parametrize(
    "body",
    [b"a=1&a=2", b"a=%ff", b"\xff=1", b"a=" + b"x" * MAX_FORM_BYTES, b"&".join([b"a=1"] * 17)],
)
async def test_a_bad_form_is_a_clear_error(body: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        await read(body)


async def test_other_kinds_of_forms_are_refused() -> None:
    with pytest.raises(InvalidRequestError):
        await read(b"{}", "application/json")


def test_failures_are_limited_for_each_address_and_forgotten() -> None:
    now = 0.0
    limit = RateLimit(2, 60, lambda: now)
    limit.failed("a")
    assert limit.allows("a")
    limit.failed("a")
    assert not limit.allows("a")
    assert limit.allows("b")
    now = 61
    assert limit.allows("a")
    limit.failed("a")
    assert limit.allows("a")


def test_the_limit_forgets_the_oldest_of_many_addresses() -> None:
    limit = RateLimit(1, 60, lambda: 0.0)
    for number in range(2000):
        limit.failed(str(number))
    assert len(limit._failures) == 1024
    assert limit.allows("0")
    assert not limit.allows("1999")
