"""The ways in which an agent asks one query, each put to both worlds step by step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

import aiohttp

from keystile.wire.schema import type_json
from prove.evaluator import changes
from prove.queries.generator import PARAMETERS
from prove.served import Served
from prove.shop import DATASET, PROJECT
from prove.visible import Seen

Both = tuple[Seen, Seen]
OK = 200
_QUERIES = f"/projects/{PROJECT}/queries"
_JOBS = f"/projects/{PROJECT}/jobs"
_PAGE_ROWS = 2

WAYS: Mapping[str, int] = {
    "query": 44,
    "result": 6,
    "script": 6,
    "pages": 16,
    "dry_run": 8,
    "dry_run_insert": 4,
    "limit": 4,
    "write": 8,
    "around": 4,
}
"""How many of a hundred cases are asked in each way: by jobs.query; by jobs.insert, then page by
page; as a dry run of either; under `maximumBytesBilled`; by statements that write; by those of
`around` in its place; as a statement of a script, each of which the agent then asks for its rows;
by jobs.query, whose result two more queries read."""


class Asked(NamedTuple):
    """How a query is asked. `name` is fresh and the same in both worlds; `limit` counts bytes.

    `texts` are several where statements write, else one.
    """

    way: str
    texts: tuple[str, ...]
    name: str
    limit: int = 0


class Pair:
    """Two worlds that are asked at the same time."""

    def __init__(self, session: aiohttp.ClientSession, worlds: tuple[Served, Served]) -> None:
        """Ask over `session`."""
        self._session = session
        self._worlds = worlds

    async def steps(self, asked: Asked) -> AsyncIterator[Both]:
        """Ask, and give each answer of both worlds; ends where one is no success."""
        match asked.way:
            case "query":
                walk = self._query(_body(asked.texts[0]))
            case "result":
                walk = self._result(asked.texts[0])
            case "script":
                walk = self._script(asked.texts[0])
            case "dry_run":
                walk = self._query({**_body(asked.texts[0]), "dryRun": True})
            case "limit":
                limit = {"maximumBytesBilled": str(asked.limit)}
                walk = self._query({**_body(asked.texts[0]), **limit})
            case "pages":
                walk = self._pages(asked)
            case "dry_run_insert":
                walk = self._dry_insert(asked)
            case _:
                walk = self._writes(asked)
        async for both in walk:
            yield both

    async def reads(self, path: str) -> Both:
        """Read something of the API."""
        return await self._ask("GET", (path, path))

    async def past(self, sql: str) -> Both:
        """Run a query on the data as they are, past the gateways; plan a statement that writes."""
        body = {**_body(sql), "dryRun": changes(sql)}
        asked = (world.ask_past(self._session, _QUERIES, body) for world in self._worlds)
        first, second = await asyncio.gather(*asked)
        return first, second

    async def _query(self, body: dict[str, Any]) -> AsyncIterator[Both]:
        both = await self._answered(body, body)
        yield both
        if _succeeded(both) and "jobId" in both[0].raw["jobReference"]:
            yield await self._ask("GET", _paths(_JOBS, both))

    async def _answered(self, body: dict[str, Any], other: dict[str, Any]) -> Both:
        """Run a query, `other` in the second world, and give the first page of its rows."""
        both = await self._ask("POST", (_QUERIES, _QUERIES), body, other)
        if _succeeded(both) and not all(one.raw["jobComplete"] for one in both):
            # Slow on a busy machine: what counts is the end, not which world was there first.
            both = await self._ended(both)
        return both

    async def _result(self, sql: str) -> AsyncIterator[Both]:
        """Run a query, and read the table that stands for its result by others."""
        both: Both | None = None
        async for both in self._query(_body(sql)):
            yield both
        if both is None or not _succeeded(both):
            return
        asked = (one.raw.get("configuration", {}).get("query", {}) for one in both)
        names = [_named(query.get("destinationTable")) for query in asked]
        if not all(names):
            return
        for text in ("SELECT * FROM RESULT", "SELECT MIN(TO_JSON_STRING(r)) AS m FROM RESULT AS r"):
            first, second = (_body(text.replace("RESULT", name)) for name in names)
            yield await self._answered(first, second)

    async def _script(self, sql: str) -> AsyncIterator[Both]:
        """Run a script of the query and another one, and look at what each of them gave."""
        script: Both | None = None
        async for script in self._query(_body(f"{sql}\n;SELECT 1 AS one")):
            yield script
        if script is None or not _succeeded(script):
            return
        first, second = (one.raw["jobReference"]["jobId"] for one in script)
        wish = "projection=full&parentJobId="
        listed = await self._ask("GET", (f"{_JOBS}?{wish}{first}", f"{_JOBS}?{wish}{second}"))
        yield listed
        for one, other in zip(*(answer.raw.get("jobs", ()) for answer in listed), strict=False):
            names = (one["jobReference"]["jobId"], other["jobReference"]["jobId"])
            for home in (_QUERIES, _JOBS):
                yield await self._ask("GET", (f"{home}/{names[0]}", f"{home}/{names[1]}"))

    async def _pages(self, asked: Asked) -> AsyncIterator[Both]:
        """Start a job under a name of its own, read its rows in small pages, and look at it."""
        both = await self._ask("POST", (_JOBS, _JOBS), _job(asked))
        yield both
        if not _succeeded(both):
            return
        job, tokens = _paths(_JOBS, both), ("", "")
        while True:
            both = await self._ended(both, tokens)
            yield both
            tokens = tuple(one.raw.get("pageToken", "") for one in both)
            if not _succeeded(both) or not all(tokens):
                break
        yield await self._ask("GET", job)

    async def _dry_insert(self, asked: Asked) -> AsyncIterator[Both]:
        job = _job(asked)
        job["configuration"]["dryRun"] = True
        yield await self._ask("POST", (_JOBS, _JOBS), job)

    async def _writes(self, asked: Asked) -> AsyncIterator[Both]:
        """Run each statement whatever became of the one before; how many rows changed shows too."""
        for text in asked.texts:
            async for both in self._query(_body(text)):
                yield both

    async def _ended(self, started: Both, tokens: tuple[str, ...] = ("", "")) -> Both:
        """Give a page of a job's rows once it is done in both worlds."""
        marks = [f"&pageToken={token}" if token else "" for token in tokens]
        wish = f"?maxResults={_PAGE_ROWS}&timeoutMs=10000"
        first, second = (
            f"{path}{wish}{mark}"
            for path, mark in zip(_paths(_QUERIES, started), marks, strict=True)
        )
        while True:
            both = await self._ask("GET", (first, second))
            if not _succeeded(both) or all(one.raw["jobComplete"] for one in both):
                return both

    async def _ask(
        self, method: str, paths: tuple[str, str], body: object = None, other: object = None
    ) -> Both:
        bodies = (body, body if other is None else other)
        first, second = await asyncio.gather(
            *(
                world.ask(self._session, method, path, each)
                for world, path, each in zip(self._worlds, paths, bodies, strict=True)
            )
        )
        return first, second


def same(both: Both) -> bool:
    """Tell whether the two worlds look alike."""
    return both[0].visible == both[1].visible


def _succeeded(both: Both) -> bool:
    return all(one.status == OK for one in both)


def _paths(home: str, both: Both) -> tuple[str, str]:
    first, second = (f"{home}/{one.raw['jobReference']['jobId']}" for one in both)
    return first, second


def _named(table: Mapping[str, str] | None) -> str:
    return "`{projectId}.{datasetId}.{tableId}`".format(**table) if table else ""


def _body(sql: str) -> dict[str, Any]:
    return {"query": sql, "timeoutMs": 10000, **_settings()}


def _job(asked: Asked) -> dict[str, Any]:
    return {
        "configuration": {"query": {"query": asked.texts[0], **_settings()}},
        "jobReference": {"projectId": PROJECT, "jobId": asked.name},
    }


def _settings() -> dict[str, Any]:
    parameters = [
        {
            "name": one.name,
            "parameterType": type_json(one.type),
            "parameterValue": {"value": str(one.value)},
        }
        for one in PARAMETERS
    ]
    return {
        "useLegacySql": False,
        "defaultDataset": {"projectId": PROJECT, "datasetId": DATASET},
        "parameterMode": "NAMED",
        "queryParameters": parameters,
    }
