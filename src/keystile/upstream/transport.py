"""HTTP to BigQuery: the one place where the credential is put on a request."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import NamedTuple, Protocol
from urllib.parse import quote

import aiohttp
from yarl import URL

from keystile.config.urls import require_safe_url
from keystile.http.bodies import short_body
from keystile.model.errors import OverloadedError, RefusedError
from keystile.tls.outward import DIRECT, Outward

# BigQuery's own limit for one page of results is some 10 MB (20 MB as JSON at worst).
MAX_RESPONSE_BYTES = 20 << 20
_CHUNK = 64 << 10
_BYTES = "application/octet-stream"
# Google's APIs indent their JSON otherwise (system parameter `prettyPrint`).
_COMPACT = {"prettyPrint": "false"}
_UNAUTHORIZED = 401
_OTHER_TOKENS_TRIED = 2  # a connection has three keys while one is replaced


class Call(NamedTuple):
    """A request: `path` is given in unencoded segments, `etag` asks only for what has changed.

    `extra_seconds` is how much longer than usual the answer may take. One that may be sent only
    `once` does the same again when it is repeated.
    """

    method: str
    path: tuple[str, ...]
    query: Mapping[str, str] = {}
    body: bytes = b""
    etag: str = ""
    extra_seconds: float = 0
    once: bool = False


class Answer(NamedTuple):
    """Status and body of an answer, whatever the status."""

    status: int
    body: bytes | bytearray


class UploadAnswer(NamedTuple):
    """An answer to a part of an upload.

    `target` is where the upload goes on, as path and query; `received` how many bytes are there.
    """

    status: int
    body: bytes
    target: str
    received: int


class Credential(Protocol):
    """Where the tokens of requests come from."""

    async def bearer(self) -> str:
        """Give a token. Raises `RefusedError` where there is none."""
        ...

    async def rejected(self, token: str) -> bool:
        """Hear that Google does not take a token; tell whether there is another one to try."""
        ...


class Transport:
    """Sends requests with the gateway's credential to one endpoint, and to nowhere else.

    INVARIANT: a redirect is never followed and cookies are never kept, so the credential reaches
    only the configured endpoint; plain HTTP is refused except to this machine.
    """

    def __init__(
        self,
        endpoint: str,
        credential: Credential,
        timeout: float,
        outward: Outward = DIRECT,
    ) -> None:
        """Connect lazily. `timeout` is in seconds for a whole exchange.

        Raises `UnsafeConfigurationError` when the endpoint would expose the credential.
        """
        require_safe_url(endpoint, "`upstream.endpoint`")
        self._origin = endpoint.rstrip("/")
        self._root = self._origin + "/bigquery/v2/"
        self._credential = credential
        self._timeout = timeout
        self._outward = outward
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections."""
        if self._session:
            await self._session.close()

    async def send(self, call: Call) -> Answer:
        """Send one request and read its answer whole.

        A lost connection is tried once more, unless the call may be sent only once; where Google
        does not take the token it has done nothing, and another one is tried. Raises `RefusedError`
        on an outage, a time-out, a redirect or an answer that is too large.
        """
        timeout = aiohttp.ClientTimeout(total=self._timeout + call.extra_seconds)
        for last_try in (True,) if call.once else (False, True):
            try:
                async with await self._request(call, timeout) as response:
                    return Answer(response.status, await _read(response))
            except TimeoutError:
                # INVARIANT: `from None`, since aiohttp's errors hold the request and its headers.
                message = f"BigQuery did not answer within {timeout.total:g} seconds"
                raise RefusedError(message, hint="try again") from None
            except aiohttp.ClientError as error:
                if last_try or not isinstance(error, aiohttp.ClientConnectionError):
                    raise _unreachable(error) from None
        raise AssertionError  # the loop always ends above

    async def arriving(self, call: Call) -> AsyncGenerator[Answer]:
        """Send one request, and give its answer in chunks, as fast as they are taken.

        The first one is empty. The time-out is for each. Nothing is tried twice. Raises as `send`.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_read=self._timeout)
        left = MAX_RESPONSE_BYTES
        try:
            async with await self._request(call, timeout) as response:
                _refuse_redirect(response)
                yield Answer(response.status, b"")
                async for chunk in response.content.iter_any():
                    left -= len(chunk)
                    _refuse_large(left)
                    yield Answer(response.status, chunk)
        except TimeoutError:
            message = f"BigQuery sent nothing for {self._timeout:g} seconds"
            raise RefusedError(message, hint="try again") from None
        except aiohttp.ClientError as error:
            raise _unreachable(error) from None

    async def _request(self, call: Call, limits: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        url = URL(self._root + "/".join(quote(part, safe="") for part in call.path), encoded=True)
        headers = {"Content-Type": "application/json"} if call.body else {}
        if call.etag:
            headers["If-None-Match"] = call.etag
        for last_try in (*[False] * _OTHER_TOKENS_TRIED, True):
            token = await self._credential.bearer()
            response = await self._open().request(
                call.method,
                url.update_query({**call.query, **_COMPACT}),
                data=call.body or None,
                headers={**headers, **_bearing(token)},
                timeout=limits,
                allow_redirects=False,
                **await self._outward.options(),
            )
            rejected = response.status == _UNAUTHORIZED
            if not (rejected and await self._credential.rejected(token)) or last_try:
                return response
            response.release()
        raise AssertionError  # the loop always ends above

    async def upload(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: AsyncIterator[bytes] | bytes,
    ) -> UploadAnswer:
        """Send a part of an upload; `target` is a path with its query.

        It may take as long as bytes go on coming: the time-out is for each step. Nothing is tried
        twice, but with another token what is at hand as a whole. Raises `OverloadedError` where
        another token is there for a stream: BigQuery has nothing of it, and whoever sent it can
        send it again. Raises `RefusedError` on an outage or a time-out, and what `body` raises.
        """
        for _ in range(1 + _OTHER_TOKENS_TRIED):
            token = await self._credential.bearer()
            answer = await self._uploaded(method, target, {**headers, **_bearing(token)}, body)
            again = answer.status == _UNAUTHORIZED and await self._credential.rejected(token)
            if not again:
                break
            if not isinstance(body, bytes):
                message = (
                    "BigQuery took another key of the gateway meanwhile, and none of this part"
                )
                raise OverloadedError(message, hint="send it again")
        return answer

    async def _uploaded(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: AsyncIterator[bytes] | bytes,
    ) -> UploadAnswer:
        url = URL(self._origin + target, encoded=True)
        kind = {"Content-Type": "application/json" if method == "POST" else _BYTES}
        step, way = _Step(self._timeout), await self._outward.options()
        try:
            async with asyncio.timeout(self._timeout) as step.limit:
                data = body if isinstance(body, bytes) else step.watched(body)
                async with self._open().request(
                    method,
                    url,
                    data=data,
                    headers={**kind, **headers},
                    timeout=aiohttp.ClientTimeout(total=None),
                    allow_redirects=False,
                    **way,
                ) as response:
                    text = await short_body(response)
                    said = response.headers
                    location = URL(said.get("Location", ""), encoded=True)
                    received = _received(said.get("Range", ""))
                    return UploadAnswer(response.status, text, location.raw_path_qs, received)
        except TimeoutError:
            message = f"BigQuery took nothing of the upload for {self._timeout:g} seconds"
            raise RefusedError(message, hint="go on with the upload") from None
        except (aiohttp.ClientError, ValueError) as error:
            if step.fault:
                raise step.fault from None
            if isinstance(error, aiohttp.ClientHttpProxyError):
                raise _unreachable(error) from None
            message = f"the upload to BigQuery broke off ({type(error).__name__})"
            raise RefusedError(message, hint="go on with the upload") from None

    def _open(self) -> aiohttp.ClientSession:
        # Made lazily, since a session belongs to the running event loop.
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=1000, keepalive_timeout=60),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


def _bearing(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


class _Step:
    """The time-out of an upload's steps, and what ended its bytes, which aiohttp does not tell."""

    def __init__(self, seconds: float) -> None:
        self.limit = asyncio.timeout(None)
        self.fault: Exception | None = None
        self._seconds = seconds

    async def watched(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Move the limit with each step: how long all of them take does not matter."""
        try:
            async for chunk in chunks:
                self._begin()
                yield chunk
        except Exception as error:
            self.fault = error
            raise
        self._begin()

    def _begin(self) -> None:
        self.limit.reschedule(asyncio.get_running_loop().time() + self._seconds)


def _received(given: str) -> int:
    """Read `bytes=0-N` as a number of bytes (RFC 9110 section 14.2); nothing says none."""
    found = re.fullmatch(r"bytes=0-(\d{1,18})", given.strip())
    return int(found[1]) + 1 if found else 0


async def _read(response: aiohttp.ClientResponse) -> bytearray:
    _refuse_redirect(response)
    # Grown in place, since a page in pieces and the whole of it would be there twice.
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        body += chunk
        _refuse_large(MAX_RESPONSE_BYTES - len(body))
    return body


def _refuse_redirect(response: aiohttp.ClientResponse) -> None:
    if 300 <= response.status < 400 and response.status != 304:  # noqa: PLR2004  HTTP's own classes
        message = f"BigQuery answered with a redirect (status {response.status})"
        raise RefusedError(message, hint="check the setting `upstream.endpoint`")


def _refuse_large(left: int) -> None:
    if left < 0:
        message = f"BigQuery's answer is larger than {MAX_RESPONSE_BYTES} bytes"
        raise RefusedError(message, hint="ask for fewer rows or columns")


def _unreachable(error: aiohttp.ClientError) -> RefusedError:
    # INVARIANT: its name alone, since aiohttp's errors hold the request and its headers.
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return RefusedError(
            f"the proxy on the way to BigQuery answered with status {error.status}",
            hint="check the setting `upstream.proxy`",
        )
    return RefusedError(
        f"BigQuery cannot be reached ({type(error).__name__})", hint="try again later"
    )
