"""One HTTP request and its answer over raw ASGI, with every bound that an outsider could push.

INVARIANT: nothing here trusts a length, an encoding or a header that the client states.
"""

from __future__ import annotations

import asyncio
import gzip
import re
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import aclosing, suppress
from typing import Any, NamedTuple

import msgspec

from keystile.model.errors import (
    InvalidRequestError,
    RequestTooLargeError,
    UnauthenticatedError,
)
from keystile.model.sender import Sender

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

Headers = tuple[tuple[bytes, bytes], ...]

MAX_BODY_BYTES = 1 << 20
_BODY_SECONDS = 30.0
_DRAINED_BYTES = 16 << 20
_DRAIN_SECONDS = 5.0
_TAKEN_SECONDS = 60.0
_USER_AGENT_BYTES = 256
_GZIP_BITS = 16 + zlib.MAX_WBITS
_JSON = b"application/json; charset=UTF-8"

# RFC 6750 section 2.1: `Bearer` and a b64token, which is at least one character.
# An agent's own token, where it is taken, has up to 16 KiB; RFC 9449 section 7.1 adds `DPoP`.
_TOKEN = re.compile(rb"(?i:(bearer|dpop)) +([A-Za-z0-9\-._~+/]{1,16384}=*)")


_GZIP = re.compile(rb"(?i:gzip)(?: *; *q=(?:1|0\.0*[1-9])[0-9.]*)?")
_SMALL, _LARGE = 1 << 10, 64 << 10


class ClientLeftError(Exception):
    """The client closed the connection before its request was complete; nobody reads an answer."""


class Answer(NamedTuple):
    """What goes back: an HTTP status, a body and what is not the same for every answer.

    The body of a long answer goes on with `more`.
    """

    status: int
    body: bytes
    content_type: bytes = _JSON
    headers: Headers = ()
    more: AsyncGenerator[bytes] | None = None


class Request:
    """One request as ASGI gives it. `raw_path` and `raw_query` are still percent-encoded."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        """Take the request line and headers; the body waits until `body` is called."""
        self.method: str = scope["method"]
        self.raw_path: bytes = scope["raw_path"]
        self.raw_query: bytes = scope["query_string"]
        self._headers: list[tuple[bytes, bytes]] = list(scope["headers"])
        self._client: tuple[str, int] | None = scope.get("client")
        # Only the server itself can have put it there: see `servers.py`.
        shown = scope.get("extensions", {}).get("tls", {}).get("client_cert")
        self._certificate: bytes = shown or b""
        self._receive = receive
        self._is_whole = False

    def header(self, name: bytes) -> bytes | None:
        """Give a header's one value, or None; `name` is in lower case.

        Raises `InvalidRequestError` when it is there twice: two readers could pick different ones.
        """
        values = [value for key, value in self._headers if key == name]
        if len(values) > 1:
            raise InvalidRequestError(f"the header `{name.decode()}` is given {len(values)} times")
        return values[0] if values else None

    @property
    def accepts_gzip(self) -> bool:
        """Whether the client can read an answer in gzip (RFC 9110 section 12.5.3)."""
        listed = (value for key, value in self._headers if key == b"accept-encoding")
        return any(_GZIP.fullmatch(word.strip()) for line in listed for word in line.split(b","))

    def caller(self, url: str) -> tuple[str, Sender]:
        """Give the token of the one `Authorization` header, unverified, and who sent it to `url`.

        Raises `UnauthenticatedError` when there is none, and for another scheme than `Bearer` and
        `DPoP`.
        """
        token, is_dpop = token_of(self.header(b"authorization"))
        return token, msgspec.structs.replace(self.sender(url), is_dpop=is_dpop)

    def sender(self, url: str) -> Sender:
        """Give what the request itself shows of who sent it; `url` is the server's root."""
        return Sender(
            address=self._client[0] if self._client else "",
            client=self._user_agent(),
            method=self.method,
            url=url + self.raw_path.decode("ascii", "backslashreplace"),
            proof=(self.header(b"dpop") or b"").decode("ascii", "backslashreplace"),
            certificate=self._certificate,
        )

    def _user_agent(self) -> str:
        """Give the client's word for itself; nothing where it has several."""
        said = [value for key, value in self._headers if key == b"user-agent"]
        return said[0][:_USER_AGENT_BYTES].decode("ascii", "replace") if len(said) == 1 else ""

    async def body(self, most_bytes: int = MAX_BODY_BYTES) -> bytes:
        """Read the whole body, decompressed; at most `most_bytes` before and after.

        Raises `RequestTooLargeError`, `InvalidRequestError` for a body that is too slow or in
        another encoding than gzip, and `ClientLeftError`.
        """
        encoding = self._encoding()
        if encoding not in {b"identity", b"gzip"}:
            message = f"the content encoding `{_shown(encoding)}` is not understood"
            raise InvalidRequestError(message, hint="send gzip or identity")
        if (self.stated_length() or 0) > most_bytes:
            raise _too_large(most_bytes)
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                body = await self._read(most_bytes)
        except TimeoutError as error:
            message = f"the request body did not arrive within {_BODY_SECONDS:.0f} seconds"
            raise InvalidRequestError(message) from error
        return _gunzip(body, most_bytes) if encoding == b"gzip" else body

    def stated_length(self) -> int | None:
        """Give what the client says of the body's length. Raises `InvalidRequestError`."""
        stated = self.header(b"content-length")
        if stated is None:
            return None
        if not re.fullmatch(rb"[0-9]{1,18}", stated):
            raise InvalidRequestError(f"the content length `{_shown(stated)}` is not a number")
        return int(stated)

    def refuse_packed(self) -> None:
        """Raise `InvalidRequestError` for a body in any encoding: it is passed on as it comes."""
        if self._encoding() != b"identity":
            raise InvalidRequestError("an upload must not be packed", hint="send it as it is")

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give the body as it comes, however long it is.

        Raises `InvalidRequestError` where nothing comes for 30 seconds, and `ClientLeftError`.
        """
        while not self._is_whole:
            try:
                chunk = await asyncio.wait_for(self._chunk(), _BODY_SECONDS)
            except TimeoutError as error:
                message = f"nothing of the request body came for {_BODY_SECONDS:.0f} seconds"
                raise InvalidRequestError(message) from error
            if chunk:
                yield chunk

    def _encoding(self) -> bytes:
        return (self.header(b"content-encoding") or b"identity").strip().lower()

    async def _read(self, most_bytes: int) -> bytes:
        body = bytearray()
        while not self._is_whole:
            body += await self._chunk()
            if len(body) > most_bytes:
                raise _too_large(most_bytes)
        return bytes(body)

    async def _chunk(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientLeftError
        self._is_whole = not message.get("more_body", False)
        chunk: bytes = message.get("body", b"")
        return chunk

    async def drain(self) -> None:
        """Take in what the client still sends, unlooked at and within bounds, before an answer.

        A client that is answered while it sends may never read the answer: Google's client for Go
        then closes its body, which closes its connection, and one that was to be closed anyway is
        reset for the bytes that nobody read.
        """
        if self._is_whole or not self._is_sending():
            return
        with suppress(TimeoutError, ClientLeftError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                left = _DRAINED_BYTES
                while left > 0 and not self._is_whole:
                    left -= len(await self._chunk())

    def _is_sending(self) -> bool:
        """Tell whether a body comes that ends within the bound, as far as its headers say."""
        headers = dict(self._headers)
        if b"expect" in headers:
            return False  # it waits to be told to go on (RFC 9110 section 10.1.1), and is not
        stated = headers.get(b"content-length", b"")
        fits = stated.isdigit() and 0 < int(stated[:18]) <= _DRAINED_BYTES
        return fits or b"transfer-encoding" in headers


def token_of(authorization: bytes | None) -> tuple[str, bool]:
    """Give the token of an `Authorization` header, unverified, and whether its scheme is `DPoP`.

    Raises `UnauthenticatedError` where there is none, and for another scheme than it and `Bearer`.
    """
    hint = "point GOOGLE_APPLICATION_CREDENTIALS at the file of `keystile agent connect`"
    if authorization is None:
        raise UnauthenticatedError("the request carries no gateway token", hint=hint)
    match = _TOKEN.fullmatch(authorization)
    if match is None:
        message = "the Authorization header is not one Bearer token"
        raise UnauthenticatedError(message, hint=hint)
    return match[2].decode(), match[1].lower() == b"dpop"


async def packed(answer: Answer) -> Answer:
    """Give an answer in gzip, unless it is so small that this saves nothing."""
    if len(answer.body) < _SMALL and answer.more is None:
        return answer
    if answer.more is not None:
        packer = zlib.compressobj(1, wbits=_GZIP_BITS)
        body = await asyncio.to_thread(_flushed, packer, answer.body)
        answer = answer._replace(more=_packed(packer, answer.more))
    elif len(answer.body) < _LARGE:
        body = _gzip(answer.body)
    else:
        body = await asyncio.to_thread(_gzip, answer.body)
    headers = (*answer.headers, (b"content-encoding", b"gzip"), (b"vary", b"accept-encoding"))
    return answer._replace(body=body, headers=headers)


def _gzip(body: bytes) -> bytes:
    # The quickest level: rows are mostly repetition, and the network is near.
    return gzip.compress(body, compresslevel=1, mtime=0)


async def _packed(packer: zlib._Compress, pieces: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    async with aclosing(pieces):
        async for piece in pieces:
            yield await asyncio.to_thread(_flushed, packer, piece)
    yield packer.flush()


def _flushed(packer: zlib._Compress, piece: bytes) -> bytes:
    # Flushed, so that the client has each row as soon as it is sent.
    return packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH)


async def send_answer(send: Send, answer: Answer, request_id: str) -> None:
    """Send an answer. Every one names its request and may not be stored or sniffed.

    Raises what the answer's further pieces raise, and `TimeoutError` for a client that takes none
    for a minute: then it has not been sent to its end.
    """
    headers = [
        (b"content-type", answer.content_type),
        *([] if answer.more else [(b"content-length", str(len(answer.body)).encode())]),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"x-keystile-request-id", request_id.encode()),
        *answer.headers,
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if answer.more is None:
        await send({"type": "http.response.body", "body": answer.body})
        return
    async with aclosing(answer.more) as pieces:
        piece = answer.body
        while True:
            async with asyncio.timeout(_TAKEN_SECONDS):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            try:
                piece = await anext(pieces)
            except StopAsyncIteration:
                break
    await send({"type": "http.response.body", "body": b""})


def _gunzip(packed: bytes, most_bytes: int) -> bytes:
    """Decompress one gzip member (RFC 1952), never beyond the bound."""
    stream = zlib.decompressobj(wbits=_GZIP_BITS)
    try:
        body = stream.decompress(packed, most_bytes + 1)
    except zlib.error as error:
        raise InvalidRequestError("the request body is not valid gzip") from error
    if len(body) > most_bytes:
        raise _too_large(most_bytes)
    if not stream.eof or stream.unused_data:
        raise InvalidRequestError("the request body is not one complete gzip member")
    return body


def _too_large(most_bytes: int) -> RequestTooLargeError:
    return RequestTooLargeError(
        f"the request body is larger than {most_bytes} bytes",
        hint="send a shorter query, fewer parameters or fewer rows",
    )


def _shown(value: bytes) -> str:
    """Make a header's value fit to be quoted in an answer."""
    return value[:64].decode("ascii", "backslashreplace")
