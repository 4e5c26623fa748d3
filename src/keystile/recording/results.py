"""What came of recorded jobs: how each ended, and the rows that were released."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from keystile.model.errors import RefusedError
from keystile.recording import index
from keystile.recording.query_events import ErrorBody, FindingBody
from keystile.recording.reader import read_line

_AT_ONCE = 500

# Says what the partial index says, so that SQLite uses that.
_OF_JOBS = """
SELECT job, kind, chain, seq, segment, start, end FROM events
WHERE kind IN ('outcome', 'page') AND job IN ({}) ORDER BY at, chain, seq
"""


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a job ended; the fields are those of `OutcomeBody`."""

    state: str = ""
    error: ErrorBody | None = None
    total_rows: int | None = None
    bytes_billed: int | None = None
    ended_at: float | None = None


class Released(msgspec.Struct, frozen=True, kw_only=True):
    """Rows as they were given, from index `start` of the result on, and what was `found` there.

    `schema` stands with the first ones of a job alone.
    """

    start: int = 0
    schema: tuple[dict[str, Any], ...] = ()
    rows: tuple[msgspec.Raw, ...] = ()
    found: tuple[FindingBody, ...] = ()


class _EndedEvent(msgspec.Struct):
    body: Ended


class _ReleasedEvent(msgspec.Struct):
    body: Released


_ended = msgspec.json.Decoder(_EndedEvent).decode
_released = msgspec.json.Decoder(_ReleasedEvent).decode


class JobResults:
    """Reads a recording folder. What is gone or was altered is left out."""

    def __init__(self, folder: Path) -> None:
        """Read `folder`."""
        self._folder = folder

    async def ended(self, jobs: Sequence[str]) -> dict[str, Ended]:
        """Say how jobs ended, by the gateway's own ids: those whose ends are on record."""
        return await asyncio.to_thread(self._all_ended, jobs)

    async def released(self, job: str) -> list[Released]:
        """Give the rows that were released of a job, each once, in the order of their indexes."""
        return await asyncio.to_thread(self._all_released, job)

    def _all_ended(self, jobs: Sequence[str]) -> dict[str, Ended]:
        found: dict[str, Ended] = {}
        for job, kind, event in self._events(jobs):
            if kind == "outcome":
                with suppress(msgspec.ValidationError):
                    found[job] = _ended(event).body
        return found

    def _all_released(self, job: str) -> list[Released]:
        found = []
        for _, _, event in self._events([job]):
            with suppress(msgspec.ValidationError):
                found.append(_released(event).body)
        return [*_once(sorted(found, key=lambda one: one.start))]

    def _events(self, jobs: Sequence[str]) -> Iterator[tuple[str, str, msgspec.Raw]]:
        with index.opened(self._folder) as connection:
            for at in range(0, len(jobs), _AT_ONCE):
                some = jobs[at : at + _AT_ONCE]
                query = _OF_JOBS.format(", ".join("?" * len(some)))
                for job, kind, chain, seq, *place in connection.execute(query, some).fetchall():
                    with suppress(RefusedError):
                        line = read_line(self._folder, chain, seq, (place[0], place[1], place[2]))
                        yield job, kind, line.event


def _once(found: Iterable[Released]) -> Iterator[Released]:
    """Leave out pages of rows that are there already: clients read some again."""
    end = 0
    for one in found:
        if one.start >= end:
            end = one.start + len(one.rows)
            yield one
