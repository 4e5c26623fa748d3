from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.api.test_app import ask

PATH = "/upload/bigquery/v2/projects/acme-shop/jobs"
TABLE = {"projectId": "acme-shop", "datasetId": "shop", "tableId": "t"}
JOB = json.dumps({"configuration": {"load": {"destinationTable": TABLE}}}).encode()
RELATED = (b"content-type", b"multipart/related; boundary=B")


def whole(data: bytes) -> bytes:
    return b"--B\r\n\r\n" + JOB + b"\r\n--B\r\n\r\n" + data + b"\r\n--B--"


async def test_data_comes_with_its_job_in_one_request(make: Any) -> None:
    app = make()
    reply = await ask(app, "POST", f"{PATH}?uploadType=multipart", whole(b"1,a\n"), [RELATED])
    assert (reply.status, reply.json["jobReference"]["jobId"]) == (200, "job-1")
    assert bytes(app.uploads.bytes) == b"1,a\n"
    (request,) = app.uploads.begun
    assert request.transfer.upload
    assert str(request.transfer.destination) == "acme-shop.shop.t"


async def test_data_comes_piece_by_piece(make: Any) -> None:
    app = make()
    begun = await ask(app, "POST", f"{PATH}?uploadType=resumable", JOB)
    where = dict(begun.headers)[b"location"].decode()
    assert where.startswith(f"https://gateway.example{PATH}?uploadType=resumable&upload_id=")
    target = where.removeprefix("https://gateway.example")
    first = await ask(app, "PUT", target, b"abc", [(b"content-range", b"bytes 0-2/6")])
    assert (first.status, dict(first.headers)[b"range"]) == (308, b"bytes=0-2")
    asked = await ask(app, "PUT", target, b"", [(b"content-range", b"bytes */*")])
    assert (asked.status, dict(asked.headers)[b"range"]) == (308, b"bytes=0-2")
    last = await ask(app, "PUT", target, b"def", [(b"content-range", b"bytes 3-5/6")])
    assert (last.status, last.json["kind"]) == (200, "bigquery#job")
    assert bytes(app.uploads.bytes) == b"abcdef"
    assert (await ask(app, "DELETE", target)).status == 499


@pytest.mark.parametrize(
    ("verb", "query", "headers", "body", "status"),
    [
        ("POST", "uploadType=media", (), JOB, 400),
        ("POST", "", (), JOB, 400),
        ("PUT", "uploadType=resumable", (), JOB, 405),
        ("GET", "uploadType=resumable&upload_id=upload-1", (), b"", 405),
        ("PUT", "uploadType=resumable&upload_id=another", ((b"content-range", b"bytes */*"),), b"",
         404),
        ("PUT", "uploadType=resumable&upload_id=upload-1", ((b"content-range", b"x"),), b"", 400),
        ("POST", "uploadType=multipart", (), whole(b"a"), 400),
        ("POST", "uploadType=multipart", (RELATED,), whole(b"a")[:-3], 400),
        ("POST", "uploadType=multipart", (RELATED, (b"content-encoding", b"gzip")), whole(b"a"),
         400),
        ("POST", "uploadType=resumable", (), b'{"configuration": {"query": {"query": "x"}}}', 400),
        ("POST", "uploadType=resumable", (), b"{", 400),
    ],
)  # fmt: skip
async def test_what_is_no_upload_gets_a_clear_answer(  # noqa: PLR0913, PLR0917 - a table of cases
    make: Any, verb: str, query: str, headers: Any, body: bytes, status: int
) -> None:
    app = make()
    reply = await ask(app, verb, f"{PATH}?{query}", body, [*headers])
    assert reply.status == status
    assert reply.json["error"]["code"] == status


async def test_nothing_of_an_upload_is_read_before_its_sender_is_known(make: Any) -> None:
    app = make()
    reply = await ask(app, "POST", f"{PATH}?uploadType=multipart", whole(b"a"), [RELATED], token=[])
    assert reply.status == 401
    assert app.uploads.begun == []
