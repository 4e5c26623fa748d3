"""Compares what a simulation says of limits and detectors with what enforcing the draft did."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from keystile.gate.detector_replay import DetectorReplay, Found
from keystile.gate.limit_replay import LimitReplay
from keystile.gate.simulation import Simulated
from keystile.model.errors import BytesBilledError, LimitError, RateLimitError
from keystile.recording.asked import AskedQueries, AskedQuery, Wanted
from keystile.recording.query_events import RefusedBody
from keystile.recording.results import Ended, JobResults

_KEPT_BACK = "keeps this result back"
_BROKEN = re.compile(r"`(\w+)` of rule `([\w-]+)`")


class Seen(NamedTuple):
    """What limits and detectors did to one query.

    `over` are limits as word and rule, `found` how many values of an entity were masked in a column
    of the result, and `kept_back` that it was not given at all. `bound` tells that BigQuery refused
    it for what it would be billed, without saying for which limit.
    """

    over: frozenset[tuple[str, str]] = frozenset()
    found: tuple[tuple[str, str, int], ...] = ()
    kept_back: bool = False
    bound: bool = False


class Replayed(NamedTuple):
    """What was simulated: by job id, and how many of which nothing is known, by reason."""

    seen: dict[str, Seen]
    unknown: Counter[str]


def job_id(asked: AskedQuery) -> str:
    """Give the id that the agent gave its job."""
    return str(asked.body.request.get("job_id")) if asked.body else ""


async def replayed(recordings: Path, simulated: Iterable[Simulated]) -> Replayed:
    """Hold recorded queries to limits and look through their rows, one after the other."""
    queries = [one for one in simulated if not one.why]
    results = JobResults(recordings)
    limits, detectors = LimitReplay(), DetectorReplay(results)
    ended = await results.ended([job for one in queries if (job := _job(one.asked))])
    found: dict[str, Seen] = {}
    unknown: Counter[str] = Counter()
    for one in queries:
        over, values = limits.over.copy(), _values(detectors)
        unclear = limits.unknown + detectors.unknown
        limits.add(one, ended)
        await detectors.add(one, ended)
        if missing := limits.unknown + detectors.unknown - unclear:
            unknown += missing
            continue
        more = _values(detectors) - values
        found[job_id(one.asked)] = Seen(
            frozenset((each.word, each.rule) for each in limits.over - over),
            tuple(
                sorted(
                    (entity, column, count)
                    for (kind, entity, column), count in more.items()
                    if kind is Found.MASKED
                )
            ),
            any(kind is Found.KEPT_BACK for kind, _, _ in more),
        )
    return Replayed(found, unknown)


def _values(detectors: DetectorReplay) -> Counter[tuple[Found, str, str]]:
    counts: Counter[tuple[Found, str, str]] = Counter()
    for one, count in detectors.found.items():
        counts[one.kind, one.entity, one.column] += count.values
    return counts


def _job(asked: AskedQuery) -> str:
    return asked.recorded.event.job if asked.recorded else ""


async def enforced(recordings: Path, until: float) -> dict[str, Seen]:
    """Say what a gateway with the draft did, by job id."""
    queries, results = AskedQueries(recordings), JobResults(recordings)
    found: dict[str, Seen] = {}
    async for batch in queries.batches(Wanted(0, until)):
        ended = await results.ended([job for asked in batch if (job := _job(asked))])
        for asked in batch:
            before = found.get(job_id(asked), Seen())
            found[job_id(asked)] = await _done(asked, before, ended.get(_job(asked)), results)
    return found


async def _done(asked: AskedQuery, before: Seen, end: Ended | None, results: JobResults) -> Seen:
    if isinstance(asked.body, RefusedBody):  # reading on is refused after the query itself was not
        is_limit = asked.body.reason in {LimitError.reason, RateLimitError.reason}
        over = _BROKEN.finditer(asked.body.message) if is_limit else ()
        return before._replace(over=before.over | {(one[1], one[2]) for one in over})
    error = end.error if end else None
    counts: Counter[tuple[str, str]] = Counter()
    for page in await results.released(_job(asked)) if end else ():
        for one in page.found:
            counts[one.entity, one.column] += one.count
    return before._replace(
        found=tuple(sorted((*key, count) for key, count in counts.items())),
        kept_back=error is not None and _KEPT_BACK in error.message,
        bound=error is not None and error.reason == BytesBilledError.reason,
    )


def differences(where: str, said: Seen, done: Seen) -> Iterator[str]:
    """Say what was enforced otherwise than simulated.

    A refusal before the query ran names no limit of rows, which it never came to.
    """
    if bool(said.over) != bool(done.over or done.bound) or not done.over <= said.over:
        yield f"{where}: limits: simulated {sorted(said.over)}, enforced {sorted(done.over)}"
    if done.over or done.bound:
        return  # nothing was given
    if said.kept_back != done.kept_back:
        yield f"{where}: kept back: simulated {said.kept_back}, enforced {done.kept_back}"
    elif said.found != done.found and not done.kept_back:
        yield f"{where}: values: simulated {said.found}, enforced {done.found}"
