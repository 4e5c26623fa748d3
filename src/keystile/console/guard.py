"""What every console request must pass before a view sees it, and every answer carries.

The console is for people in a browser, on its own port: nothing here reads an `Authorization`
header, so an agent's token opens nothing. What is checked: the `Host` (DNS rebinding), the
`Origin` of every change (cross-site request forgery), the size of a form.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keystile.model.errors import InvalidRequestError, RefusedError, UnsafeConfigurationError

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not `no-referrer`: with that, browsers send `Origin: null` on our own forms.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_SAFE_METHODS = ("GET", "HEAD")
MAX_FORM_BYTES = 65_536
_ADDRESSES_KEPT = 1024


def addresses(url: str) -> frozenset[str]:
    """Every origin at which the console of `url` may be reached.

    A console on a loopback address answers to all loopback names on its port; any other answers
    to its own address only. Raises `UnsafeConfigurationError` where `url` is no web address.
    """
    try:
        parts = urlsplit(url)
        name, number = parts.hostname, parts.port
    except ValueError:
        name, number = None, None
    if not name or parts.scheme not in {"http", "https"}:
        raise UnsafeConfigurationError(
            f"the console's address `{url}` is no web address",
            hint="set `console_url` to one such as https://keystile.example",
        )
    host = f"[{name}]" if ":" in name else name
    port = f":{number}" if number else ""
    names = _LOOPBACK if host in _LOOPBACK else (host,)
    return frozenset(f"{parts.scheme}://{name}{port}" for name in names)


class Guard:
    """ASGI middleware: `Host` and `Origin` checks, and the headers of every answer."""

    def __init__(self, app: ASGIApp, *, url: str) -> None:
        """Guard `app`, which people reach at `url`."""
        self._app = app
        self._origins = addresses(url)
        self._hosts = frozenset(urlsplit(origin).netloc for origin in self._origins)
        self._https = url.startswith("https:")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 421 or 403 at once, or hand on and add the headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope["method"], Headers(scope=scope))
        app = refusal or self._app
        static = scope["path"].startswith("/static/")

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                # Pages hold protected facts: no copy on disk, none after signing out.
                headers["cache-control"] = "max-age=3600" if static else "no-store"
                if self._https:
                    headers["strict-transport-security"] = "max-age=31536000"
            await send(message)

        await app(scope, receive, send_with_headers)

    def _refusal(self, method: str, headers: Headers) -> PlainTextResponse | None:
        """Give the answer to a request that must not go on, or None."""
        if headers.getlist("host") != [headers.get("host", "")] or (
            headers.get("host", "").lower() not in self._hosts
        ):
            return PlainTextResponse(
                "This console answers only at its own address; set `console_url` in the gateway's "
                "configuration if you reach it through a proxy.\n",
                status_code=421,
            )
        # INVARIANT: a change without an Origin of ours is refused; browsers send it on every POST.
        if method not in _SAFE_METHODS and headers.getlist("origin") not in (
            [origin] for origin in self._origins
        ):
            return PlainTextResponse("This form came from another site.\n", status_code=403)
        return None


def csrf_token(session: str) -> str:
    """Make the token of every form of one session; only who holds the session can make it."""
    return hmac.new(session.encode(), b"keystile console form", hashlib.sha256).hexdigest()


def check_csrf(session: str, unverified: str) -> None:
    """Raise `RefusedError` unless the form was made for this session."""
    if not hmac.compare_digest(csrf_token(session).encode(), unverified.encode()):
        raise RefusedError(
            "this form is from an earlier sign-in", hint="go back, reload the page and try again"
        )


async def form(request: Request) -> dict[str, str]:
    """Read a plain form, at most `MAX_FORM_BYTES`. Raises `InvalidRequestError`."""
    if request.headers.get("content-type", "") != "application/x-www-form-urlencoded":
        raise InvalidRequestError("this page takes plain forms only")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise InvalidRequestError("the form is too large", hint="shorten the comment")
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=16
        )
    except ValueError as error:
        raise InvalidRequestError("the form is malformed") from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise InvalidRequestError("the form names a field twice")
    return fields


class RateLimit:
    """At most `count` failures in `seconds` for each address, and a bounded number of addresses."""

    def __init__(
        self, count: int, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start with no failures counted."""
        self._count = count
        self._seconds = seconds
        self._clock = clock
        self._failures: OrderedDict[str, list[float]] = OrderedDict()

    def allows(self, address: str) -> bool:
        """Tell whether `address` may try."""
        since = self._clock() - self._seconds
        return sum(at > since for at in self._failures.get(address, ())) < self._count

    def failed(self, address: str) -> None:
        """Count a failure."""
        recent = self._failures.pop(address, [])[-self._count :]
        self._failures[address] = [*recent, self._clock()]
        if len(self._failures) > _ADDRESSES_KEPT:
            self._failures.popitem(last=False)
