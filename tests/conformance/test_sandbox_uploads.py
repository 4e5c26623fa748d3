"""Uploads in every form that clients send, at the real server process, and what breaks them off."""

# ruff: noqa: S608  # the names put into the SQL are the test's own

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import google.auth.transport.requests
import pytest
import requests
from google.cloud import bigquery
from google.resumable_media import requests as media

_KIB = 1024
_PIECE = 256 * _KIB


class _Uploader:
    """Speaks the upload protocols by hand."""

    def __init__(self, sandbox: Any, table: str) -> None:
        credentials = sandbox.account.credentials()
        credentials.refresh(google.auth.transport.requests.Request())
        self.url = sandbox.url
        self.headers = {"Authorization": f"Bearer {credentials.token}"}
        dataset, _, name = table.partition(".")
        schema = {"fields": [{"name": "n", "type": "INTEGER"}, {"name": "s", "type": "STRING"}]}
        load: dict[str, object] = {
            "destinationTable": {"projectId": "acme-shop", "datasetId": dataset, "tableId": name},
            "schema": schema,
        }
        self.job: dict[str, object] = {"configuration": {"load": load}}

    def send(
        self, method: str, url: str, data: Any = None, headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        return requests.request(
            method,
            url if "://" in url else self.url + url,
            data=data,
            headers={**self.headers, **(headers or {})},
            timeout=30,
            allow_redirects=False,
        )

    def begin(self, path: str = "/upload/bigquery/v2", **headers: str) -> str:
        url = f"{path}/projects/acme-shop/jobs?uploadType=resumable"
        begun = self.send("POST", url, json.dumps(self.job), headers)
        assert begun.status_code == 200, begun.text
        return begun.headers["location"]

    def put(self, where: str, content_range: str, data: bytes = b"") -> requests.Response:
        return self.send("PUT", where, data, {"Content-Range": content_range})


@pytest.fixture
def uploader(sandbox: Any, lab: str) -> _Uploader:
    return _Uploader(sandbox, f"{lab}.t")


def _rows(count: int) -> bytes:
    return b"".join(b"%d,%s\n" % (n, b"x" * 90) for n in range(count))


def _count(client: bigquery.Client, lab: str, job: Mapping[str, Any]) -> int:
    """Wait for a job that must succeed and count the rows there are then."""
    client.get_job(job["jobReference"]["jobId"], location="US").result(timeout=60)
    return int(next(iter(client.query_and_wait(f"SELECT COUNT(DISTINCT n) FROM {lab}.t")))[0])


def test_an_upload_in_pieces_goes_on_after_a_broken_connection(
    client: bigquery.Client, lab: str, uploader: _Uploader
) -> None:
    data = _rows(9000)
    total = len(data)
    where = uploader.begin(**{"X-Upload-Content-Length": str(total)})
    asked = uploader.put(where, f"bytes */{total}")
    assert (asked.status_code, "range" in asked.headers) == (308, False)
    first = uploader.put(where, f"bytes 0-{_PIECE - 1}/{total}", data[:_PIECE])
    assert (first.status_code, first.headers["range"]) == (308, f"bytes=0-{_PIECE - 1}")

    _break_off(uploader, where, f"bytes {_PIECE}-{total - 1}/{total}", data[_PIECE : 2 * _PIECE])

    asked = uploader.put(where, "bytes */*")
    assert asked.status_code == 308
    received = int(asked.headers["range"].removeprefix("bytes=0-")) + 1
    assert _PIECE <= received <= 2 * _PIECE
    # The client may well begin where it was sure of; what is here already counts once.
    again = max(received - 1000, 0)
    last = uploader.put(where, f"bytes {again}-{total - 1}/{total}", data[again:])
    assert last.status_code == 200
    assert _count(client, lab, last.json()) == 9000
    # Its answer may have been lost: who asks gets the same job.
    for content_range in (f"bytes */{total}", f"bytes {again}-{total - 1}/{total}"):
        repeated = uploader.put(where, content_range, data[again:])
        assert repeated.json()["jobReference"] == last.json()["jobReference"]


def _break_off(uploader: _Uploader, where: str, content_range: str, data: bytes) -> None:
    """Promise a body, send a part of it and close the connection."""
    parts = urlsplit(where)
    host, port = parts.netloc.split(":")
    promised = len(data) * 10
    head = (
        f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Authorization: {uploader.headers['Authorization']}\r\n"
        f"Content-Range: {content_range}\r\nContent-Length: {promised}\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head.encode() + data)


def test_pieces_without_a_known_end(client: bigquery.Client, lab: str, uploader: _Uploader) -> None:
    data = _rows(5000)
    where = uploader.begin()
    piece = uploader.put(where, f"bytes 0-{_PIECE - 1}/*", data[:_PIECE])
    assert piece.status_code == 308
    last = uploader.put(where, f"bytes {_PIECE}-{len(data) - 1}/{len(data)}", data[_PIECE:])
    assert _count(client, lab, last.json()) == 5000


@pytest.mark.parametrize("content_range", ["", "bytes 0-*/*", "bytes 0-*/12", "bytes 0-11/12"])
def test_all_of_it_in_one_put(
    client: bigquery.Client, lab: str, uploader: _Uploader, content_range: str
) -> None:
    headers = {"Content-Range": content_range} if content_range else {}
    put = uploader.send("PUT", uploader.begin(), b"1,a\n2,b\n3,c\n", headers)
    assert _count(client, lab, put.json()) == 3


def test_an_empty_upload_makes_an_empty_table(
    client: bigquery.Client, lab: str, uploader: _Uploader
) -> None:
    put = uploader.put(uploader.begin(), "bytes */0")
    assert _count(client, lab, put.json()) == 0


@pytest.mark.parametrize(
    ("content_range", "size", "said"),
    [
        ("bytes 0-99/*", 100, "required to be equal or greater than 262144"),
        ("bytes 0-99/200", 100, "required to be equal or greater than 262144"),
        ("bytes 300000-300009/300010", 10, "exceeds already uploaded size of 0 byte(s)"),
        ("bytes 9-0/10", 0, "is not a range"),
        ("bytes 0-9/5", 10, "is not a range"),
        ("lines 0-9", 10, "is not understood"),
        ("bytes 0-9/10", 20, "more bytes than `Content-Range` says"),
        ("bytes 0-9/999999999999", 10, "which is the sandbox's limit"),
    ],
)
def test_a_piece_that_does_not_fit_is_refused(
    uploader: _Uploader, content_range: str, size: int, said: str
) -> None:
    refused = uploader.put(uploader.begin(), content_range, b"x" * size)
    assert (refused.status_code, refused.json()["error"]["errors"][0]["reason"]) == (400, "invalid")
    assert said in refused.json()["error"]["message"]


def test_a_total_cannot_change(uploader: _Uploader) -> None:
    where = uploader.begin(**{"X-Upload-Content-Length": "12"})
    refused = uploader.put(where, "bytes 0-3/4", b"1,a\n")
    assert (refused.status_code, "another total" in refused.text) == (400, True)


@pytest.mark.parametrize(
    "path", ["/upload/bigquery/v2", "/resumable/upload/bigquery/v2", "/upload"]
)
def test_the_location_is_where_the_client_came_to(uploader: _Uploader, path: str) -> None:
    where = uploader.begin(path, Host="gateway.example:8080")
    prefix = f"http://gateway.example:8080{path}/projects/acme-shop/jobs?uploadType=resumable&"
    assert where.startswith(f"{prefix}upload_id=")


def test_an_upload_can_be_given_up_and_is_unknown_then(uploader: _Uploader) -> None:
    where = uploader.begin()
    assert uploader.send("DELETE", where).status_code == 499
    assert uploader.put(where, "bytes */*").status_code == 404
    assert uploader.put(f"{where}x", "bytes */*").status_code == 404


def test_a_job_id_that_is_taken_is_told_when_the_upload_ends(
    client: bigquery.Client, lab: str, uploader: _Uploader
) -> None:
    reference = {"projectId": "acme-shop", "jobId": f"{lab}_once"}
    uploader.job["jobReference"] = reference
    put = uploader.send("PUT", uploader.begin(), b"1,a\n")
    assert _count(client, lab, put.json()) == 1
    again = uploader.send("PUT", uploader.begin(), b"2,b\n")
    assert (again.status_code, again.json()["error"]["status"]) == (409, "ALREADY_EXISTS")
    assert _count(client, lab, put.json()) == 1


def test_an_upload_needs_a_token_at_every_step(uploader: _Uploader) -> None:
    where = uploader.begin()
    uploader.headers = {}
    for method, url in (("PUT", where), ("POST", where), ("DELETE", where)):
        assert uploader.send(method, url, b"1,a\n").status_code == 401


def _related(job: object, data: bytes, end: str) -> tuple[bytes, dict[str, str]]:
    head = f"--=={end}Content-Type: application/json{end}{end}{json.dumps(job)}{end}--=={end}"
    body = f"{head}Content-Type: */*{end}{end}".encode() + data + f"{end}--==--".encode()
    return body, {"Content-Type": 'multipart/related; boundary="=="'}


@pytest.mark.parametrize("end", ["\r\n", "\n"])
@pytest.mark.parametrize("chunked", [True, False])
def test_a_multipart_upload_is_read_in_every_spelling(
    client: bigquery.Client, lab: str, uploader: _Uploader, end: str, *, chunked: bool
) -> None:
    body, headers = _related(uploader.job, _rows(3000), end)

    def pieces() -> Iterator[bytes]:
        for at in range(0, len(body), 10_000):
            yield body[at : at + 10_000]

    url = "/upload/bigquery/v2/projects/acme-shop/jobs?uploadType=multipart&prettyPrint=false"
    sent = uploader.send("POST", url, pieces() if chunked else body, headers)
    assert _count(client, lab, sent.json()) == 3000


def test_what_is_no_load_by_upload_is_refused(uploader: _Uploader) -> None:
    url = "/upload/bigquery/v2/projects/acme-shop/jobs?uploadType="
    load: Any = uploader.job["configuration"]
    for job in (
        {"configuration": {"query": {"query": "SELECT 1"}}},
        {"configuration": {"load": {**load["load"], "sourceUris": ["gs://a/b"]}}},
        {"configuration": {"load": {**load["load"], "madeUp": 1}}},
        {"configuration": {"load": {"schema": load["load"]["schema"]}}},
        {"configuration": {}},
    ):
        body, headers = _related(job, b"1,a\n", "\r\n")
        assert uploader.send("POST", f"{url}multipart", body, headers).status_code == 400
        begun = uploader.send("POST", f"{url}resumable", json.dumps(job))
        done = uploader.send("PUT", begun.headers["location"], b"1") if begun.ok else begun
        assert done.status_code == 400, done.text
    body, headers = _related(uploader.job, b"1,a\n", "\r\n")
    for kind in ("media", "", "multipart&access_token=x", "multipart&madeUp=1"):
        assert uploader.send("POST", f"{url}{kind}", body, headers).status_code in (400, 403)
    assert uploader.send("POST", f"{url}multipart", body).status_code == 400
    headers["Content-Encoding"] = "gzip"
    assert uploader.send("POST", f"{url}multipart", body, headers).status_code == 400


def test_googles_own_uploader_recovers(
    client: bigquery.Client, lab: str, sandbox: Any, uploader: _Uploader
) -> None:
    """The client sends a piece, believes it lost, asks and goes on."""
    data = _rows(7000)
    session = google.auth.transport.requests.AuthorizedSession(sandbox.account.credentials())
    url = f"{sandbox.url}/upload/bigquery/v2/projects/acme-shop/jobs?uploadType=resumable"
    upload = media.ResumableUpload(url, _PIECE)
    upload.initiate(session, io.BytesIO(data), uploader.job, "*/*", stream_final=False)
    upload.transmit_next_chunk(session)
    upload._invalid = True
    upload.recover(session)
    assert upload.bytes_uploaded == _PIECE
    while not upload.finished:
        answer = upload.transmit_next_chunk(session)
    assert _count(client, lab, answer.json()) == 7000


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_ends_leaves_no_upload_behind(
    sandbox: Any, sandbox_command: list[str], tmp_path: Path, sign: signal.Signals
) -> None:
    temporary, key = tmp_path / "tmp", str(sandbox.account.public_file)
    temporary.mkdir()
    options = ["--data", str(tmp_path / "data"), "--sample", "--port", "0", "--public-key", key]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    command = [*sandbox_command, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout is not None
        other = sandbox._replace(url=server.stdout.readline().split()[1])
        _Uploader(other, "shop.t").begin()
        assert list(temporary.glob("*/*"))
        server.send_signal(sign)
        assert server.wait(20) == 0
    assert list(temporary.iterdir()) == []
