"""A BigQuery for the load of `bench.stream` alone: it answers at once, with rows made beforehand.

It knows one dataset and runs nothing: a query that names `big` has a result of many full pages, any
other one row. The rows of all pages are the same. What is uploaded is counted and let go.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

import msgspec
import uvicorn

PROJECT, DATASET, BIG, SMALL = "bench", "lake", "big", "small"
PAGE_BYTES = 10_000_000
"""What BigQuery puts on one page at most, as it says."""

_COLUMNS = ("id", "a", "b", "c", "d", "e", "f", "g")
_FIELDS = [{"name": name, "type": "STRING", "mode": "NULLABLE"} for name in _COLUMNS]
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_ID = re.compile(r'"jobId": ?"([^"]+)"')
_RANGE = re.compile(rb"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")
_DONE = {"state": "DONE"}


def row_of(size: int) -> bytes:
    """Give a row of about so many bytes, as BigQuery writes it."""
    width = max(1, size // len(_COLUMNS) - len('{"v":""},'))
    text = (_LETTERS * (width // len(_LETTERS) + 1))[:width]
    return msgspec.json.encode({"f": [{"v": text} for _ in _COLUMNS]})


class Upstream:
    """The ASGI application."""

    def __init__(self, total_bytes: int, row_bytes: int) -> None:
        """Serve `total_bytes` of rows of `row_bytes` each as the result of every big query."""
        self._row = row_of(row_bytes)
        self._on_page = PAGE_BYTES // len(self._row)
        self._total = max(1, total_bytes // len(self._row))
        self._rows = b",".join([self._row] * self._on_page)
        self._jobs: dict[str, dict[str, Any]] = {}
        self._answers: list[tuple[str, Callable[[Mapping[str, str], bytes, str], bytes]]] = [
            (r"GET .*/queries/(?P<job>[^/?]+)", self._results),
            (r"POST .*/queries", self._query),
            (r"POST .*/jobs", self._insert),
            (r"GET .*/jobs/(?P<job>[^/?]+)", self._job),
            (r"GET .*/tables/(?P<table>\w+)", self._table),
            (r"GET .*/tables", self._tables),
            (r"GET .*/datasets/\w+", self._dataset),
        ]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["path"].startswith("/upload/"):
            await self._upload(scope, receive, send)
            return
        body = await _body(receive)
        line, query = f"{scope['method']} {scope['path']}", scope["query_string"].decode()
        for pattern, answer in self._answers:
            found = re.fullmatch(pattern, line)
            if found:
                await _send(send, 200, answer(found.groupdict(), body, query))
                return
        await _send(send, 404, b'{"error":{"code":404,"message":"not here","errors":[]}}')

    def _results(self, named: Mapping[str, str], _body: bytes, query: str) -> bytes:
        given = {name: values[0] for name, values in parse_qs(query).items()}
        start = int(given.get("pageToken") or given.get("startIndex") or 0)
        asked = given.get("maxResults")
        return self._page(named["job"], start, int(asked) if asked else self._on_page)

    def _page(self, job: str, start: int, wanted: int) -> bytes:
        big = self._is_big(job)
        total = self._total if big else 1
        count = max(0, min(wanted, self._on_page, total - start))
        head: dict[str, Any] = {
            "kind": "bigquery#getQueryResultsResponse",
            "jobReference": {"projectId": PROJECT, "jobId": job, "location": "US"},
            "jobComplete": True,
            "totalRows": str(total),
            "schema": {"fields": _FIELDS},
        }
        if start + count < total:
            head["pageToken"] = str(start + count)
        rows = self._rows if count == self._on_page else b",".join([self._row] * count)
        return msgspec.json.encode(head)[:-1] + b',"rows":[' + rows + b"]}"

    def _query(self, _named: Mapping[str, str], body: bytes, _query: str) -> bytes:
        """jobs.query, as a client without a gateway asks it."""
        job = f"direct_{len(self._jobs)}"
        self._jobs[job] = {"query": msgspec.json.decode(body)}
        return self._page(job, 0, self._on_page)

    def _insert(self, _named: Mapping[str, str], body: bytes, _query: str) -> bytes:
        asked = msgspec.json.decode(body)
        job, configuration = asked["jobReference"]["jobId"], asked["configuration"]
        if not configuration.get("dryRun"):
            self._jobs[job] = configuration
        return self._resource(job, configuration)

    def _job(self, named: Mapping[str, str], _body: bytes, _query: str) -> bytes:
        return self._resource(named["job"], self._jobs.get(named["job"], {}))

    def _resource(self, job: str, configuration: Mapping[str, Any]) -> bytes:
        text = configuration.get("query", {}).get("query", "")
        tables = [name for name in (BIG, SMALL) if name in text]
        statistics: dict[str, Any] = {"startTime": "1", "endTime": "2"}
        if "query" in configuration:
            statistics["query"] = {
                "statementType": "SELECT",
                "referencedTables": [_reference(name) for name in tables],
                "schema": {"fields": _FIELDS},
                "totalBytesProcessed": "1",
            }
        reference = {"projectId": PROJECT, "jobId": job, "location": "US"}
        resource = {"jobReference": reference, "status": _DONE, "statistics": statistics}
        return msgspec.json.encode(resource)

    def _is_big(self, job: str) -> bool:
        return BIG in self._jobs.get(job, {}).get("query", {}).get("query", "")

    def _table(self, named: Mapping[str, str], _body: bytes, _query: str) -> bytes:
        reference = _reference(named["table"])
        table = {"tableReference": reference, "type": "TABLE", "schema": {"fields": _FIELDS}}
        return msgspec.json.encode({**table, "etag": "1"})

    def _tables(self, _named: Mapping[str, str], _body: bytes, _query: str) -> bytes:
        listed = [{"tableReference": _reference(name), "type": "TABLE"} for name in (BIG, SMALL)]
        return msgspec.json.encode({"tables": listed})

    def _dataset(self, _named: Mapping[str, str], _body: bytes, _query: str) -> bytes:
        return msgspec.json.encode({"location": "US"})

    async def _upload(self, scope: Any, receive: Any, send: Any) -> None:
        """Begin an upload under the name of its job, or take a piece of it."""
        if scope["method"] == "POST":
            found = _ID.search((await _body(receive)).decode())
            job = found[1] if found else ""
            self._jobs[job] = {"load": {}}
            where = f"{scope['path']}?uploadType=resumable&upload_id={job}"
            await _send(send, 200, b"{}", (b"location", where.encode()))
            return
        async for _ in _chunks(receive):
            pass
        job = parse_qs(scope["query_string"].decode())["upload_id"][0]
        found_range = _RANGE.fullmatch(dict(scope["headers"])[b"content-range"])
        end = int(found_range[2] or -1) + 1 if found_range else 0
        if found_range and found_range[3] == str(end).encode():
            await _send(send, 200, self._resource(job, {"load": {}}))
        else:
            await _send(send, 308, b"", (b"range", f"bytes=0-{end - 1}".encode()))


def _reference(table: str) -> dict[str, str]:
    return {"projectId": PROJECT, "datasetId": DATASET, "tableId": table}


async def _chunks(receive: Any) -> Any:
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        yield message.get("body", b"")


async def _body(receive: Any) -> bytes:
    return b"".join([chunk async for chunk in _chunks(receive)])


async def _send(send: Any, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    told = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*told, *headers]})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    """Serve until a signal comes. What a sandbox is told besides is not used."""
    parser = argparse.ArgumentParser(prog="bench upstream", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--total-bytes", type=int, default=1_000_000_000)
    parser.add_argument("--row-bytes", type=int, default=1000)
    options, _ = parser.parse_known_args()
    app = Upstream(options.total_bytes, options.row_bytes)
    uvicorn.run(app, port=options.port, lifespan="off", log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
