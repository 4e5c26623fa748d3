"""What the sandbox was asked, for whoever wants to see it: a line of JSON for each request."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keystile.wire.streaming import MAX_BYTES


class Asked(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One request. `at` is when it came, in UTC seconds since the epoch.

    `path` and `query` are as they were sent, percent-encoded. `body_bytes` and `body_digest`
    (SHA-256) are of all of the body that was read, `body` is what it says where it is JSON.
    `status` is 0 for a request that its client left before it was answered, `upload` the id that an
    upload was given.
    """

    at: float
    method: str
    path: str
    query: str = ""
    user_agent: str = ""
    status: int = 0
    body_bytes: int = 0
    body_digest: str = ""
    body: Any = None
    upload: str = ""


class RequestLog:
    """ASGI middleware that writes each request down.

    INVARIANT: a request is in the file before its client gets a byte of the answer.
    """

    def __init__(self, app: ASGIApp, file: Path) -> None:
        """Append to `file`, which nobody else may read: it holds all that the clients send."""
        self._app = app
        file.touch(mode=0o600)
        self._file = file.open("ab", buffering=0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and write it down when its answer begins."""
        taken = _Taken(Request(scope))

        async def received() -> Message:
            message = await receive()
            taken.add(message.get("body", b""))
            return message

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._write(taken.asked(message))
            await send(message)

        try:
            await self._app(scope, received, sent)
        finally:
            if not taken.written:
                self._write(taken.asked())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, asked: Asked) -> None:
        self._file.write(msgspec.json.encode(asked) + b"\n")


class _Taken:
    """A request so far. Bodies longer than any that the sandbox reads whole are not kept."""

    def __init__(self, request: Request) -> None:
        self.written = False
        self._request, self._at = request, time.time()
        self._digest, self._bytes, self._body = hashlib.sha256(), 0, bytearray()
        kind = request.headers.get("content-type", "").partition(";")[0].strip()
        self._keeps = kind == "application/json"

    def add(self, chunk: bytes) -> None:
        self._digest.update(chunk)
        self._bytes += len(chunk)
        if self._keeps and self._bytes <= MAX_BYTES:
            self._body += chunk

    def asked(self, answer: Message | None = None) -> Asked:
        self.written = True
        headers = dict(answer["headers"]) if answer else {}
        scope = self._request.scope
        return Asked(
            at=self._at,
            method=scope["method"],
            path=scope["raw_path"].decode("latin-1"),
            query=scope["query_string"].decode("latin-1"),
            user_agent=self._request.headers.get("user-agent", ""),
            status=answer["status"] if answer else 0,
            body_bytes=self._bytes,
            body_digest=self._digest.hexdigest() if self._bytes else "",
            body=_read(bytes(self._body)) if self._keeps else None,
            upload=headers.get(b"x-guploader-uploadid", b"").decode("latin-1"),
        )


def _read(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        return None
