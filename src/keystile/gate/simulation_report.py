"""Counts what would change, and keeps as much of it as is to be listed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from secrets import token_bytes
from typing import NamedTuple

import msgspec

from keystile.analysis.remembered import RememberingAnalyst
from keystile.config.settings import EngineLimits
from keystile.gate.basis import Catalogue
from keystile.gate.detector_replay import DetectorReplay, differs
from keystile.gate.limit_replay import LimitReplay
from keystile.gate.recorded_catalogue import RecordedSchemas
from keystile.gate.simulation import Simulated, Simulator
from keystile.googlesql.task import TaskRunner
from keystile.masking.keyed import always
from keystile.masking.rewrite import Rewriter
from keystile.policy.policy import Policy
from keystile.policy.ruling import Change, Kind
from keystile.recording.asked import AskedQueries, AskedQuery, Wanted

_ANALYSES_KEPT = 1 << 13


class ChangedQuery(msgspec.Struct, frozen=True):
    """A query that would be treated otherwise. `at` is in UTC epoch seconds.

    `query` is the gateway's id of its job, or the place of its record where it never was one. `sql`
    is its first line without literals. `others` are objects whose schemas were not recorded with
    it: they are those of the newest recording, or of now.
    """

    at: float
    session: str
    query: str
    sql: str
    others: tuple[str, ...] = ()


class ChangedGroup(msgspec.Struct):
    """Queries of one agent that would change in the same way; `queries` are those listed."""

    agent: str
    change: Change
    count: int = 0
    queries: list[ChangedQuery] = []


class Report:
    """What a simulation found. Counts are of all queries; at most `limit` of them are listed."""

    def __init__(self, limit: int, first_line: Callable[[str], str]) -> None:
        """`first_line` says a query in a line that shows no value."""
        self._limit = limit
        self._first_line = first_line
        self._groups: dict[tuple[str, Change], ChangedGroup] = {}
        self.read = 0
        self.kinds: Counter[Kind] = Counter()
        self.not_simulated: Counter[str] = Counter()
        self.listed = 0

    def add(self, found: Iterable[Simulated]) -> None:
        """Count some more."""
        for one in found:
            self.read += 1
            if one.why:
                self.not_simulated[one.why] += 1
            elif one.change is not None:
                self.kinds[one.change.kind] += 1
                self._list(one, one.change)

    @property
    def changed(self) -> int:
        """How many would change."""
        return self.kinds.total()

    @property
    def simulated(self) -> int:
        """How many were decided on again."""
        return self.read - self.not_simulated.total()

    @property
    def groups(self) -> list[ChangedGroup]:
        """Give what is listed: kind by kind, in each the largest group first."""
        order = list(Kind)
        return sorted(
            self._groups.values(),
            key=lambda one: (order.index(one.change.kind), -one.count, one.agent),
        )

    def _line(self, one: Simulated) -> str:
        body = one.asked.body
        if body is None or body.request.get("transfer"):
            return f"{body.statement.lower() if body else ''} job".strip()
        return self._first_line(body.sql)

    def _list(self, one: Simulated, change: Change) -> None:
        assert one.asked.recorded is not None  # noqa: S101 - it was decided on
        recorded, event = one.asked.recorded, one.asked.recorded.event
        group = self._groups.get((event.agent, change))
        if group is None:
            if self.listed >= self._limit:
                return
            group = self._groups[event.agent, change] = ChangedGroup(event.agent, change)
        group.count += 1
        if self.listed < self._limit:
            self.listed += 1
            group.queries.append(
                ChangedQuery(
                    event.at,
                    event.session,
                    event.job or f"{recorded.chain}/{recorded.seq}",
                    self._line(one),
                    one.others,
                )
            )


class Outcome(NamedTuple):
    """What came out.

    `distinct` is how many rulings it took. `changed_since` names the tables and routines that are
    now otherwise than on record; None where BigQuery could not be asked. `limits` says what would
    be over limits, `detectors` what would be found in rows.
    """

    report: Report
    distinct: int
    changed_since: tuple[str, ...] | None
    limits: LimitReplay
    detectors: DetectorReplay


async def simulate(  # noqa: PLR0913, PLR0917 - what is read, what decides, and what is made of it
    queries: AskedQueries,
    wanted: Wanted,
    policy: Policy,
    runner: TaskRunner,
    limits: EngineLimits,
    now: Catalogue | None,
    report: Report,
    progress: Callable[[int], None],
) -> Outcome:
    """Decide on all wanted queries under `policy`, and have `report` add up what would change.

    `runner` has the `limits`; `now` is BigQuery, if it can be asked; `progress` is told how many
    are done.
    """
    schemas = RecordedSchemas(now)
    async for body in queries.schemas(wanted):
        schemas.add(body)
    analyst = RememberingAnalyst(runner, limits.max_sql_bytes, _ANALYSES_KEPT)
    # No value is ever masked with the key.
    rewriter = Rewriter(runner, always(token_bytes(32)))
    simulator = Simulator(policy, analyst, rewriter, schemas, 2 * limits.workers)
    limits_replay, detectors = LimitReplay(), DetectorReplay(queries.results)

    async def replay(found: list[Simulated]) -> None:
        """Hold queries to limits, and look through their rows, where the policy has any."""
        again = [one for one in found if one.limits or differs(one)]
        ended = await queries.results.ended(_jobs(again)) if again else {}
        for one in again:
            limits_replay.add(one, ended)
            await detectors.add(one, ended)

    done = 0
    async for batch in _ahead(queries.batches(wanted)):
        found = await simulator.simulate(batch)
        report.add(found)
        await replay(found)
        done += len(batch)
        progress(done)
    changed = await schemas.changed(simulator.objects)
    return Outcome(report, simulator.decided, changed, limits_replay, detectors)


def _jobs(found: Iterable[Simulated]) -> list[str]:
    events = (one.asked.recorded.event for one in found if one.asked.recorded)
    return [event.job for event in events if event.job]


async def _ahead(batches: AsyncIterator[list[AskedQuery]]) -> AsyncIterator[list[AskedQuery]]:
    """Read the next batch while one is decided on, and no more than that."""
    reading = asyncio.ensure_future(anext(batches, None))
    try:
        while (batch := await reading) is not None:
            reading = asyncio.ensure_future(anext(batches, None))
            yield batch
    finally:
        reading.cancel()
