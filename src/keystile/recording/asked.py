"""Every recorded decision in the order of time, and the schemas that these rest on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from keystile.model.errors import RefusedError
from keystile.recording import index
from keystile.recording.events import EventKind
from keystile.recording.own_events import SchemaBody
from keystile.recording.query_events import IntentBody, RefusedBody
from keystile.recording.reader import Recorded, read_record
from keystile.recording.results import JobResults

_AT_ONCE = 1024
_After = tuple[float, str, int]
_DAY_SECONDS = 24 * 60 * 60

# Each says what the partial index of its kind says, so that SQLite uses that.
_ASKED = """
SELECT at, chain, seq, segment, start, end FROM events
WHERE kind IN ('intent', 'refused') AND (at, chain, seq) > (?, ?, ?) AND at < ?
AND (agent = ? OR ? = '') ORDER BY at, chain, seq LIMIT ?
"""
_COUNT = """
SELECT COUNT(*) FROM events
WHERE kind IN ('intent', 'refused') AND at >= ? AND at < ? AND (agent = ? OR ? = '')
"""
_SCHEMAS = """
SELECT at, chain, seq, segment, start, end FROM events
WHERE kind = 'schema' AND (at, chain, seq) > (?, ?, ?) AND at < ? ORDER BY at, chain, seq LIMIT ?
"""


class Wanted(NamedTuple):
    """Which decisions: of one agent or all, since `since` and before `until`, UTC epoch seconds."""

    since: float
    until: float
    agent: str = ""


class AskedQuery(NamedTuple):
    """A recorded intent or refusal; `body` is None where its record is gone or was altered."""

    at: float
    recorded: Recorded | None
    body: IntentBody | RefusedBody | None


class AskedQueries:
    """Reads a recording folder, some records at a time."""

    def __init__(self, folder: Path) -> None:
        """Read `folder`, which may not exist yet."""
        self._folder = folder
        self.results = JobResults(folder)
        """What came of them."""

    async def count(self, wanted: Wanted) -> int:
        """Tell how many there are."""
        return await asyncio.to_thread(self._count, wanted)

    async def batches(self, wanted: Wanted) -> AsyncIterator[list[AskedQuery]]:
        """Give all of them, oldest first, a bounded number at a time."""
        place: _After = (wanted.since, "", 0)
        while found := await asyncio.to_thread(self._batch, wanted, place):
            rows, place = found
            yield rows

    async def schemas(self, wanted: Wanted) -> AsyncIterator[SchemaBody]:
        """Give the schemas that decisions of this time rest on, oldest first, some of them often.

        Each is on record on the day of the decision. Those that are gone or altered are left out.
        """
        place: _After = (wanted.since - _DAY_SECONDS, "", 0)
        while found := await asyncio.to_thread(self._some_schemas, wanted, place):
            bodies, place = found
            for body in bodies:
                yield body

    def _count(self, wanted: Wanted) -> int:
        values = (wanted.since, wanted.until, wanted.agent, wanted.agent)
        with index.opened(self._folder) as connection:
            (count,) = connection.execute(_COUNT, values).fetchone()
        return int(count)

    def _batch(self, wanted: Wanted, after: _After) -> tuple[list[AskedQuery], _After] | None:
        values = (*after, wanted.until, wanted.agent, wanted.agent, _AT_ONCE)
        with index.opened(self._folder) as connection:
            rows = connection.execute(_ASKED, values).fetchall()
        return ([self._asked(*row) for row in rows], rows[-1][:3]) if rows else None

    def _asked(self, at: float, chain: str, seq: int, *place: Any) -> AskedQuery:
        try:
            recorded = read_record(self._folder, chain, seq, place)
            body: IntentBody | RefusedBody
            if recorded.event.kind is EventKind.INTENT:
                body = msgspec.convert(recorded.event.body, IntentBody)
            else:
                body = msgspec.convert(recorded.event.body, RefusedBody)
        except (RefusedError, msgspec.ValidationError):
            return AskedQuery(at, None, None)
        return AskedQuery(at, recorded, body)

    def _some_schemas(
        self, wanted: Wanted, after: _After
    ) -> tuple[list[SchemaBody], _After] | None:
        with index.opened(self._folder) as connection:
            rows = connection.execute(_SCHEMAS, (*after, wanted.until, _AT_ONCE)).fetchall()
        found = []
        for _, chain, seq, *place in rows:
            with suppress(RefusedError, msgspec.ValidationError):
                event = read_record(self._folder, chain, seq, tuple(place)).event
                found.append(msgspec.convert(event.body, SchemaBody))
        return (found, rows[-1][:3]) if rows else None
