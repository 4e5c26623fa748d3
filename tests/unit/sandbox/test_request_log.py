"""Every request is written down before its client hears anything, whatever becomes of it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from keystile.sandbox.request_log import RequestLog

ANSWER = Response("ok", 201, {"x-guploader-uploadid": "u1"})


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    await Request(scope, receive).body()
    await ANSWER(scope, receive, send)


async def logged(
    file: Path, *messages: dict[str, Any], content_type: str = "application/json"
) -> list[dict[str, Any]]:
    """Send a request of these messages, and give the file's lines when the answer began."""
    seen: list[dict[str, Any]] = []
    waiting = list(messages)

    def lines() -> list[str]:
        return file.read_text().splitlines()

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def send(_message: Any) -> None:
        seen[:] = [json.loads(line) for line in lines()]

    log = RequestLog(app, file)
    headers = [(b"content-type", content_type.encode()), (b"user-agent", b"gateway/1")]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/a b",
        "raw_path": b"/a%20b",
        "query_string": b"x=%2F",
        "headers": headers,
    }
    try:
        await log(scope, receive, send)
    finally:
        log.close()
    return seen


def body(content: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": content, "more_body": more}


async def test_a_request_is_written_down_before_its_answer_begins(tmp_path: Path) -> None:
    file = tmp_path / "log"
    (line,) = await logged(file, body(b'{"n":', more=True), body(b" 1}"))
    assert line.pop("at") > 0
    assert line == {
        "method": "POST",
        "path": "/a%20b",
        "query": "x=%2F",
        "userAgent": "gateway/1",
        "status": 201,
        "bodyBytes": 8,
        "bodyDigest": hashlib.sha256(b'{"n": 1}').hexdigest(),
        "body": {"n": 1},
        "upload": "u1",
    }
    assert file.stat().st_mode & 0o077 == 0
    assert len(await logged(file, body(b""))) == 2


@pytest.mark.parametrize(
    ("kind", "content"),
    [("application/json", b'{"n"'), ("application/json", b"[" * 9999), ("text/csv", b'{"n": 1}')],
)
async def test_of_what_is_no_json_there_is_the_digest(
    kind: str, content: bytes, tmp_path: Path
) -> None:
    (line,) = await logged(tmp_path / "log", body(content), content_type=kind)
    assert line["body"] is None
    assert line["bodyDigest"] == hashlib.sha256(content).hexdigest()


async def test_a_request_whose_client_left_is_written_down_too(tmp_path: Path) -> None:
    with pytest.raises(ClientDisconnect):
        await logged(tmp_path / "log", body(b"{", more=True), {"type": "http.disconnect"})
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert json.loads(line)["status"] == 0
