"""The data port as a raw ASGI application: one function per step, and one answer whatever happens.

INVARIANT: nothing but `OverloadedError` is answered with a 5xx (and `/readyz` when not ready):
clients retry those in silence for a quarter of an hour.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import partial

import msgspec

from keystile.api import paged, probes, publishing, token, uploads
from keystile.api.bigquery import handler
from keystile.api.http import (
    Answer,
    ClientLeftError,
    Headers,
    Receive,
    Request,
    Scope,
    Send,
    packed,
    send_answer,
)
from keystile.api.ports import Agents, Check, Gate, IssuerDocuments, TokenExchange, Uploads
from keystile.api.publishing import Publishing
from keystile.model.errors import (
    InvalidRequestError,
    KeystileError,
    OverloadedError,
    RateLimitError,
    RefusedError,
    UnauthenticatedError,
)
from keystile.model.principal import Principal
from keystile.telemetry.logs import logger
from keystile.telemetry.metrics import Metrics
from keystile.wire import discovery
from keystile.wire.methods import METHODS
from keystile.wire.partial import select
from keystile.wire.paths import Call, route
from keystile.wire.responses import JobError, JobFailedError, error_body, to_bytes
from keystile.wire.uploads import is_upload

_CLIENT_LEFT = 499  # nginx's number for a client that closed the connection
_SERVER_ERRORS = 500
# After so long what was said of an agent at the door is asked again before it is answered.
_LET_IN_SECONDS = 1.0
_FORM = b"application/x-www-form-urlencoded"
_JSON = b"application/json"
_OAUTH = frozenset(("token", "revoke"))
_WITH_BODY = frozenset(("PATCH", "POST", "PUT"))
_OTHER_OVERRIDES = (b"x-http-method", b"x-method-override")

Page = Callable[[], Awaitable[Answer]]

_log = logger("api")


class Trace:
    """What the access log and the metrics say of one request; filled in on its way."""

    def __init__(self) -> None:
        """Give the request its id."""
        self.id = secrets.token_hex(8)
        self.method = "unknown"
        self.agent = ""
        self.session = ""


class Api:
    """The ASGI application of the data port."""

    def __init__(  # noqa: PLR0913  six ports and what to say of them, each one needed
        self,
        *,
        gate: Gate,
        uploading: Uploads,
        principals: Agents,
        exchanger: TokenExchange,
        issuer: IssuerDocuments | None,
        publishing: Publishing,
        checks: Mapping[str, Check],
        metrics: Metrics,
        url: str,
        storage: bool = False,
    ) -> None:
        """Serve these rooms at `url`. `issuer` is None where the built-in issuer is off.

        `storage` tells that the Storage Read API is served beside.
        """
        self._storage = storage
        self._publishing = publishing
        self._gate = gate
        self._uploads = uploading
        self._url = url
        self._principals = principals
        self._exchanger = exchanger
        self._metrics = metrics
        self._pages: dict[bytes, tuple[str, Page]] = {
            b"/healthz": ("healthz", probes.healthz),
            b"/readyz": ("readyz", partial(probes.readyz, checks)),
            b"/metrics": ("metrics", partial(probes.metrics_page, metrics)),
        }
        described = partial(_document, partial(discovery.document, url))
        self._pages |= {path.encode(): ("discovery", described) for path in discovery.PATHS}
        if issuer is not None:
            self._pages |= {
                b"/issuer/.well-known/openid-configuration": (
                    "issuer",
                    partial(_document, issuer.discovery),
                ),
                b"/issuer/jwks": ("issuer", partial(_document, issuer.jwks)),
            }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event of ASGI; a WebSocket is closed at once."""
        if scope["type"] == "http":
            await self._serve(Request(scope, receive), send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await _lifespan(receive, send)

    async def _serve(self, request: Request, send: Send) -> None:
        trace, started = Trace(), time.perf_counter()
        try:
            answer = await self._answer(trace, request)
        except ClientLeftError:
            self._note(trace, _CLIENT_LEFT, started)
            return
        self._note(trace, answer.status, started)
        if request.accepts_gzip:
            answer = await packed(answer)
        await request.drain()
        try:
            await send_answer(send, answer, trace.id)
        except (KeystileError, TimeoutError) as error:
            # Nothing more is sent: the server then breaks the connection off.
            _log.warning("answer broken off", request=trace.id, reason=str(error) or "too slow")

    async def _answer(self, trace: Trace, request: Request) -> Answer:
        """Answer whatever comes; every error ends here."""
        try:
            if is_upload(request.raw_path):
                return await self._upload(trace, request)
            own = await self._own(trace, request)
            return own or await self._bigquery(trace, request)
        except JobFailedError as error:
            return _failed(error.error)
        except KeystileError as error:
            if error.http_status < _SERVER_ERRORS or isinstance(error, OverloadedError):
                return self._refusal(trace, error)
            return self._refusal(trace, _fault(trace, error))
        except ClientLeftError:
            raise
        except Exception as error:  # noqa: BLE001  a client must get an answer that it does not retry
            return self._refusal(trace, _fault(trace, error))

    async def _own(self, trace: Trace, request: Request) -> Answer | None:
        """Answer the gateway's own addresses; None for all others, which are BigQuery's."""
        if request.raw_path == token.PATH:
            trace.method = "token"
            return await token.exchange(request, self._url, self._exchanger, self._metrics)
        if request.raw_path == token.REVOCATION:
            trace.method = "revoke"
            return await token.revoke(request, self._url, self._exchanger)
        if request.raw_path == publishing.PATH:
            trace.method = "policy"
            given = self._publishing, self._metrics.policy
            return await publishing.answer(request, self._url, *given)
        page = self._pages.get(request.raw_path)
        if page is None or request.method not in {"GET", "HEAD"}:
            return None
        trace.method, give = page
        return await give()

    async def _upload(self, trace: Trace, request: Request) -> Answer:
        """Authenticate before anything of an upload is read."""
        trace.method = "upload"
        principal = await self._principals.principal(*request.caller(self._url))
        trace.agent, trace.session = principal.agent, principal.session
        return await uploads.answer(self._uploads, principal, request, self._url)

    async def _bigquery(self, trace: Trace, request: Request) -> Answer:
        """Authenticate, route, read, call the gate, apply `fields`: in this order.

        Nothing of a body is looked at before its sender is known, and nothing runs before the whole
        request is understood, `fields` too.
        """
        principal = await self._principals.principal(*request.caller(self._url))
        trace.agent, trace.session = principal.agent, principal.session
        call = await _route(request, storage=self._storage)
        trace.method = call.method
        handle = handler(call.method)
        select({}, call.fields)  # raises now, while nothing has run, if `fields` is malformed
        method = METHODS[call.method]
        body = await request.body(method.body_bytes) if method.verb in _WITH_BODY else b""
        began = time.monotonic()
        found = await handle(self._gate, principal, call, body)
        if time.monotonic() - began > _LET_IN_SECONDS:
            # INVARIANT: an agent that was disabled while its call waited gets nothing any more.
            await self._principals.current(principal)
        if isinstance(found, paged.Paged):
            answer = await paged.answer(found, call.fields)
            more = answer.more and self._while_let_in(principal, answer.more)
            return answer._replace(more=more)
        if not found:
            return Answer(204, b"")
        return Answer(200, to_bytes(select(found, call.fields)))

    async def _while_let_in(
        self, principal: Principal, pieces: AsyncGenerator[bytes]
    ) -> AsyncGenerator[bytes]:
        """Break off an answer that takes long when its agent is disabled."""
        looked = time.monotonic()
        async with aclosing(pieces):
            async for piece in pieces:
                if time.monotonic() - looked > _LET_IN_SECONDS:
                    await self._principals.current(principal)
                    looked = time.monotonic()
                yield piece

    def _refusal(self, trace: Trace, error: KeystileError) -> Answer:
        if trace.method in _OAUTH:
            return token.refusal(error, self._metrics, exchanging=trace.method == "token")
        challenge: Headers = ()
        if isinstance(error, UnauthenticatedError):
            token.count(error, self._metrics)
            challenge = token.challenge(error)
        elif isinstance(error, RateLimitError):
            challenge = ((b"retry-after", str(error.retry_after).encode()),)
        return Answer(error.http_status, error_body(error), headers=challenge)

    def _note(self, trace: Trace, status: int, started: float) -> None:
        """Count the request and write its line: never SQL, a token or an address."""
        self._metrics.requests.labels(trace.method, str(status)).inc()
        _log.info(
            "request",
            request=trace.id,
            method=trace.method,
            status=status,
            ms=round((time.perf_counter() - started) * 1000, 3),
            agent=trace.agent,
            session=trace.session,
        )


async def _route(request: Request, *, storage: bool) -> Call:
    """Find the method that the address names, with the two overrides that Google's clients send.

    A client that calls the gateway `bigquery.DOMAIN` calls `bigquerystorage.DOMAIN` beside it.
    """
    for name in _OTHER_OVERRIDES:
        if request.header(name) is not None:
            raise RefusedError(f"the header `{name.decode()}` is not accepted here")
    override = request.header(b"x-http-method-override")
    raw_query = request.raw_query
    if override is not None:
        kind = (request.header(b"content-type") or b"").partition(b";")[0].strip().lower()
        if (override, kind, raw_query) == (b"GET", _FORM, b""):
            raw_query = await request.body()
        elif (override, kind) != (b"PATCH", _JSON):
            raise RefusedError("the header `x-http-method-override` is not accepted here")
    try:
        path, query = request.raw_path.decode("ascii"), raw_query.decode("ascii")
    except UnicodeDecodeError as error:
        raise InvalidRequestError("the address has bytes that are not percent-encoded") from error
    call = route(request.method, path, query, override=(override or b"").decode())
    known = (request.header(b"if-match") or b"").decode("ascii", "backslashreplace")
    named = (request.header(b"host") or b"").lower().startswith(b"bigquery.")
    return msgspec.structs.replace(call, if_match=known, finds_storage=storage and named)


def _fault(trace: Trace, error: Exception) -> RefusedError:
    """Log what nobody expected, and refuse: the client learns an id and nothing else."""
    fault = secrets.token_hex(8)
    _log.error("internal fault", id=fault, request=trace.id, exc_info=error)
    return RefusedError(
        f"refused: internal fault `{fault}`", hint="give this id to the gateway's operators"
    )


def _failed(error: JobError) -> Answer:
    """Answer with a job's own error, which no client may take for one that passes by itself."""
    if error.http_status >= _SERVER_ERRORS:
        return Answer(RefusedError.http_status, error_body(RefusedError(error.message)))
    detail = {"message": error.message, "domain": "global", "reason": error.reason}
    body = {
        "code": error.http_status,
        "message": error.message,
        "errors": [detail],
        "status": error.status,
    }
    return Answer(error.http_status, to_bytes({"error": body}))


async def _document(give: Callable[[], Mapping[str, object]]) -> Answer:
    return Answer(200, msgspec.json.encode(give()))


async def _lifespan(receive: Receive, send: Send) -> None:
    """Say yes to the server's start and stop; `keystile.app` opens and closes the rooms."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
