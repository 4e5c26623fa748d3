from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from starlette.requests import Request
from starlette.responses import Response

from keystile.model.errors import InvalidRequestError, NotFoundError, OverloadedError
from keystile.sandbox.transfer import uploads
from keystile.sandbox.transfer.requests import Transfer
from keystile.sandbox.transfer.running import Transfers
from keystile.sandbox.transfer.storage import Source
from keystile.sandbox.transfer.uploads import Uploads

_TABLE = {"datasetId": "d", "tableId": "t"}
_JOB = json.dumps({"configuration": {"load": {"destinationTable": _TABLE}}}).encode()


class _Started(Exception):  # noqa: N818  # it is no error: the job would run now
    pass


class _Transfers:
    def location(self, _asked: Transfer) -> str:
        return "US"

    def start(self, _asked: Transfer, _owner: str, upload: Source) -> None:
        raise _Started(upload.file.read_bytes())


@pytest.fixture
def received() -> Iterator[Uploads]:
    made = Uploads(cast("Transfers", _Transfers()))
    yield made
    made.close()


def _request(method: str, query: str, body: AsyncIterator[bytes], **headers: str) -> Request:
    async def receive() -> dict[str, Any]:
        chunk = await anext(body, None)
        return {"type": "http.request", "body": chunk or b"", "more_body": chunk is not None}

    named = {"host": "h", **{name.replace("_", "-"): text for name, text in headers.items()}}
    scope = {
        "type": "http",
        "method": method,
        "scheme": "https",
        "path": "/upload/projects/p/jobs",
        "raw_path": b"/upload/projects/p/jobs",
        "query_string": query.encode(),
        "headers": [(name.encode(), text.encode()) for name, text in named.items()],
    }
    return Request(scope, receive)


async def _body(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def _begun(received: Uploads, owner: str = "a", **headers: str) -> str:
    request = _request("POST", "uploadType=resumable", _body(_JOB), **headers)
    answer = await received.answered(request, owner)
    return answer.headers["location"].partition("?")[2]


async def _put(
    received: Uploads, query: str, *chunks: bytes, owner: str = "a", content_range: str = ""
) -> Response:
    headers = {"content_range": content_range} if content_range else {}
    return await received.answered(_request("PUT", query, _body(*chunks), **headers), owner)


def _files(received: Uploads) -> list[Path]:
    return list(Path(received._folder.name).iterdir())


async def test_a_stale_upload_is_dropped_with_its_file(
    received: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(uploads.time, "monotonic", lambda: now)
    old = await _begun(received)
    now += uploads.STALE_SECONDS - 1
    young = await _begun(received)
    assert len(_files(received)) == 2
    now += 2
    with pytest.raises(NotFoundError):
        await _put(received, old, content_range="bytes */*")
    assert (await _put(received, young, content_range="bytes */*")).status_code == 308
    assert len(_files(received)) == 1


async def test_there_are_not_more_uploads_than_allowed(
    received: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "_MAX_SESSIONS", 2)
    await _begun(received)
    await _begun(received)
    with pytest.raises(OverloadedError):
        await _begun(received)


async def test_an_upload_is_not_larger_than_allowed(
    received: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MAX_UPLOAD_BYTES", 10)
    with pytest.raises(InvalidRequestError, match="larger than 10 bytes"):
        await _begun(received, x_upload_content_length="11")
    query = await _begun(received)
    with pytest.raises(InvalidRequestError, match="larger than 10 bytes"):
        await _put(received, query, b"123456", b"78901")
    whole = _request(
        "POST",
        "uploadType=multipart",
        _body(b"x" * 11),
        content_type="multipart/related;boundary=x",
    )
    with pytest.raises(InvalidRequestError, match="larger than 10 bytes"):
        await received.answered(whole, "a")
    assert len(_files(received)) == 1  # only the one that can still go on


async def test_an_upload_belongs_to_who_began_it(received: Uploads) -> None:
    query = await _begun(received, owner="a")
    with pytest.raises(NotFoundError):
        await _put(received, query, b"x", owner="b")
    with pytest.raises(_Started, match="mine"):
        await _put(received, query, b"mine", owner="a")


async def test_bytes_that_come_again_count_once(received: Uploads) -> None:
    query = await _begun(received)
    await _put(received, query, b"x" * (256 << 10), content_range=f"bytes 0-{(256 << 10) - 1}/*")
    start, end = (256 << 10) - 2, (256 << 10) + 2
    with pytest.raises(_Started) as started:
        await _put(
            received, query, b"x", b"xy", b"z", content_range=f"bytes {start}-{end - 1}/{end}"
        )
    assert started.value.args[0] == b"x" * (256 << 10) + b"yz"


async def test_the_request_that_came_last_goes_on_with_an_upload(received: Uploads) -> None:
    query = await _begun(received)
    more = asyncio.Event()

    async def stalled() -> AsyncIterator[bytes]:
        yield b"abc"
        await more.wait()
        yield b"XYZ"

    request = _request("PUT", query, stalled())
    first = asyncio.get_running_loop().create_task(received.answered(request, "a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(_Started, match="abcdef"):
        await _put(received, query, b"def", content_range="bytes 3-5/6")
    more.set()
    with pytest.raises((InvalidRequestError, NotFoundError)):
        await first


def test_all_files_go_with_the_server(received: Uploads) -> None:
    asyncio.run(_begun(received))
    folder = Path(received._folder.name)
    received.close()
    assert not folder.exists()
