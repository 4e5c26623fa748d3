"""Sends large results and uploads through a gateway, before an upstream that answers at once.

Prints a line for each load, and as the last line JSON. What each figure means: `bench/README.md`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tempfile
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, Self

import aiohttp
import uvloop
from demo.stack import Stack, running

from bench.upstream import BIG, DATASET, PROJECT, SMALL
from keystile.config.load import load
from keystile.identity.builtin import builtin_issuer

_AGENT = "bench"
_SETTINGS = {"engine": {"workers": 1}, "identity": {"token_lifetime": 3600}}
_POLICY = {"rules": [{"name": "all", "allow": ["read", "write", "schema_change"]}]}
_EDGE = 4096  # bytes at each end of an answer, in which its page token stands
_TOKEN = re.compile(rb'"pageToken":"([^"]+)"')
_BLOCK = bytes(1 << 20)
_SMALL_QUERY = {"query": f"SELECT * FROM {DATASET}.{SMALL}", "useLegacySql": False}
_BIG_QUERY = {"query": f"SELECT * FROM {DATASET}.{BIG}", "useLegacySql": False}
_QUERIES = f"/projects/{PROJECT}/queries"
_LOOK_EVERY = 0.01  # seconds
_PAGES_IN_TURN = 3


class Side(NamedTuple):
    """One way to ask: through the gateway, or straight at the upstream."""

    session: aiohttp.ClientSession
    url: str
    headers: dict[str, str]


class Memory:
    """Watches how much memory a process and its children hold, in bytes."""

    def __init__(self, pid: int, base: int = 0) -> None:
        """Watch from now on; `base` is what they held before any load, now where it is 0."""
        self._pid = pid
        self.most = self._now()
        self.base = base or self.most
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin to look every few milliseconds."""
        self._task = asyncio.ensure_future(self._look())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Look a last time."""
        if self._task:
            self._task.cancel()
        self.most = max(self.most, self._now())

    @property
    def growth_mb(self) -> float:
        """How much more than the base it held at most."""
        return round((self.most - self.base) / 1e6, 1)

    async def _look(self) -> None:
        while True:
            self.most = max(self.most, self._now())
            await asyncio.sleep(_LOOK_EVERY)

    def _now(self) -> int:
        children = Path(f"/proc/{self._pid}/task/{self._pid}/children").read_text().split()
        return sum(_resident(pid) for pid in (str(self._pid), *children))


def _resident(pid: str) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0


async def pages(side: Side, first: str, body: object, *, most: int = 1 << 30) -> dict[str, Any]:
    """Read a result page by page, and keep nothing of it; gives bytes and seconds.

    `first` is the address of the first page, asked with `body` where there is one.
    """
    started, total, count = time.perf_counter(), 0, 0
    address, token, waits = first, "", list[float]()
    while count < most:
        asked = time.perf_counter()
        method = "POST" if body else "GET"
        async with side.session.request(
            method, side.url + address, json=body, headers=side.headers
        ) as answer:
            if answer.status != 200:  # noqa: PLR2004 - HTTP's own
                raise RuntimeError(await answer.text())
            size, edges, begun = await _drained(answer)
        waits.append(begun - asked)
        total, count = total + size, count + 1
        found = _TOKEN.search(edges)
        if not found:
            break
        token = found[1].decode()
        if body:
            job = re.findall(rb'"jobId":"([^"]+)"', edges)[0].decode()
            first, body = f"/projects/{PROJECT}/queries/{job}?location=US", None
        address = f"{first}{'&' if '?' in first else '?'}pageToken={token}"
    seconds = time.perf_counter() - started
    return {"bytes": total, "pages": count, "seconds": seconds, "first_byte": median(waits)}


async def _drained(answer: aiohttp.ClientResponse) -> tuple[int, bytes, float]:
    """Read an answer; gives its size unpacked, both its ends, and when the first byte came."""
    packed = answer.headers.get("content-encoding") == "gzip"
    unpack = zlib.decompressobj(wbits=31) if packed else None
    head, tail, size, begun = bytearray(), b"", 0, 0.0
    async for chunk in answer.content.iter_any():
        begun = begun or time.perf_counter()
        data = unpack.decompress(chunk) if unpack else chunk
        size += len(data)
        if len(head) < _EDGE:
            head += data[:_EDGE]
        tail = (tail + data[-_EDGE:])[-_EDGE:]
    return size, bytes(head) + tail, begun


async def in_turns(sides: tuple[Side, Side], query: object, pairs: int) -> dict[str, float]:
    """Ask both for a first page, or for pages, in turns; gives the first byte's medians, in ms."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(pairs):
        for side, into in zip(sides, times, strict=True):
            found = await pages(side, _QUERIES, query, most=_PAGES_IN_TURN)
            into.append(found["first_byte"] * 1000)
    added = [through - direct for through, direct in zip(*times, strict=True)]
    return {
        "first_byte_ms": round(median(times[0]), 2),
        "direct_first_byte_ms": round(median(times[1]), 2),
        "added_ms": round(median(added), 2),
    }


async def results(
    memory: Memory, sides: tuple[Side, Side], *, table: bool = False
) -> dict[str, Any]:
    """Read the big result by both ways, watching the gateway: of a query, or of a whole table."""
    through, direct = sides
    address, body = _QUERIES, None if table else _BIG_QUERY
    if table:
        address = f"/projects/{PROJECT}/datasets/{DATASET}/tables/{BIG}/data"
    async with memory:
        found = await pages(through, address, body)
    straight = await pages(direct, _QUERIES, _BIG_QUERY)
    return _figures(found, memory) | {
        "direct_mb_per_s": round(straight["bytes"] / straight["seconds"] / 1e6, 1),
        "gateway_over_direct": round(found["seconds"] / straight["seconds"], 2),
    }


async def upload(memory: Memory, side: Side, size: int, kind: str) -> dict[str, Any]:
    """Load so many bytes into a table, in one request, watching the gateway."""
    job = {
        "configuration": {
            "load": {
                "destinationTable": {"projectId": PROJECT, "datasetId": DATASET, "tableId": SMALL},
                "sourceFormat": "CSV",
            }
        }
    }
    blocks = max(1, size // len(_BLOCK))
    address = f"{side.url}/upload/bigquery/v2/projects/{PROJECT}/jobs?uploadType={kind}"

    async def content() -> AsyncIterator[bytes]:
        if kind == "multipart":
            yield b"--b\r\nContent-Type: application/json\r\n\r\n" + json.dumps(job).encode()
            yield b"\r\n--b\r\nContent-Type: text/csv\r\n\r\n"
        for _ in range(blocks):
            yield _BLOCK
        if kind == "multipart":
            yield b"\r\n--b--"

    async with memory:
        started = time.perf_counter()
        if kind == "multipart":
            headers = side.headers | {"content-type": "multipart/related; boundary=b"}
            method = "POST"
        else:
            begun = await side.session.post(address, json=job, headers=side.headers)
            address, method = begun.headers["location"], "PUT"
            headers = side.headers | {"content-length": str(blocks * len(_BLOCK))}
        async with side.session.request(method, address, data=content(), headers=headers) as answer:
            if answer.status != 200:  # noqa: PLR2004 - HTTP's own
                raise RuntimeError(await answer.text())
            await answer.read()
        seconds = time.perf_counter() - started
    return _figures({"bytes": blocks * len(_BLOCK), "seconds": seconds}, memory)


def _figures(found: dict[str, Any], memory: Memory) -> dict[str, Any]:
    return {
        "mb": round(found["bytes"] / 1e6),
        "base_mb": round(memory.base / 1e6),
        "growth_mb": memory.growth_mb,
        "mb_per_s": round(found["bytes"] / found["seconds"] / 1e6, 1),
    }


async def measure(total: int, row: int, pairs: int, only: Collection[str] = ()) -> dict[str, Any]:
    """Start everything and send each load, or `only` those of these names."""
    found: dict[str, Any] = {}
    with standing(total, row) as stack:
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(auto_decompress=False, timeout=timeout) as session:
            headers = {"authorization": f"Bearer {_token(stack)}", "accept-encoding": "identity"}
            direct = Side(session, f"{stack.sandbox}/bigquery/v2", {"accept-encoding": "identity"})
            through = Side(session, stack.gateway, headers)
            packed = Side(session, stack.gateway, headers | {"accept-encoding": "gzip"})
            sides = (through, direct)
            found["small"] = await in_turns(sides, _SMALL_QUERY, pairs)
            base = Memory(stack.pid).base

            def memory() -> Memory:
                return Memory(stack.pid, base)

            loads: dict[str, Callable[[], Awaitable[Mapping[str, Any]]]] = {
                "result": lambda: results(memory(), sides),
                "result_gzip": lambda: results(memory(), (packed, direct)),
                "table": lambda: results(memory(), sides, table=True),
                "upload": lambda: upload(memory(), through, total, "resumable"),
                "upload_multipart": lambda: upload(memory(), through, total, "multipart"),
                "pages": lambda: in_turns(sides, _BIG_QUERY, max(1, pairs // 10)),
            }
            for name in only or loads:
                found[name] = await loads[name]()
                print(f"{name}: {found[name]}", flush=True)
    return found


@contextmanager
def standing(total: int, row: int) -> Iterator[Stack]:
    """Serve `total` bytes of rows of `row` bytes each, and a gateway before them."""
    sizes = ("--total-bytes", str(total), "--row-bytes", str(row))
    upstream = (sys.executable, "-m", "bench.upstream", *sizes)
    with tempfile.TemporaryDirectory(prefix="keystile-bench-") as name:
        folder = Path(name)
        policy = folder / "policy"
        policy.mkdir()
        (policy / "policy.yaml").write_text(json.dumps(_POLICY))
        with running(folder, policy=policy, settings=_SETTINGS, sandbox=upstream) as stack:
            stack.keystile("agent", "create", _AGENT)
            yield stack


def _token(stack: Stack) -> str:
    found = load(stack.config)
    subject = builtin_issuer(found).mint(_AGENT, "bench")
    return str(stack.exchange(subject, found.identity.audience)["access_token"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench stream", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1000, help="of each result and upload")
    parser.add_argument("--row-bytes", type=int, default=1000)
    parser.add_argument("--pairs", type=int, default=200, help="of small queries")
    options = parser.parse_args()
    work = measure(options.megabytes * 1_000_000, options.row_bytes, options.pairs)
    print(json.dumps(uvloop.run(work)))


if __name__ == "__main__":
    main()
