"""Holds recorded queries to the limits of another policy, one after the other as they were asked.

A query that would be over a limit takes nothing from any budget. What is not on record is said, and
never guessed: see `LimitReplay.notes`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from keystile.gate.budgets import least_billed
from keystile.gate.simulation import Simulated
from keystile.model.decision import Effect, Limits
from keystile.model.facts import Action
from keystile.policy.budget import Charge, Used, broken, day_of, month_of
from keystile.recording.query_events import IntentBody
from keystile.recording.results import Ended

_MINUTE = 60.0
_BYTES = frozenset({"bytes_per_query", "bytes_per_day", "bytes_per_month"})
_PERIODS = frozenset({"bytes_per_day", "bytes_per_month"})

_NOT_RUN = "it was refused then, so what it would have been billed is not on record"
_WAITS = "it would wait for people, and nobody knows until when"
_NO_END = "its end is not on record; it counts as a query that was billed nothing"

BEGINS = "what was spent before the first of these queries does not count"
AT_ONCE = "a query counts by what it was billed, not by what it may have been billed while it ran"
FAILED = "a query that did not end well counts as one that was billed nothing"


class OverLimit(msgspec.Struct, frozen=True, order=True):
    """A limit of a rule: its word, and whose queries count together under it."""

    rule: str
    word: str
    whose: str
    holder: str


class _Spent(NamedTuple):
    """What counts against one holder's limits: bytes by period, begins by time, ends to come."""

    periods: Counter[tuple[str, float]]
    begun: list[float]
    ends: list[float]


class LimitReplay:
    """Counts. `queries` would be over some limit; `over` says how often each limit is in the way.

    `limited` counts all that any limit is about, `unknown` those of them of which nothing is known,
    by reason, and `failed` those that did not end well, of which a recording has no bill.
    """

    def __init__(self) -> None:
        """Begin with nothing spent."""
        self.limited = 0
        self.queries = 0
        self.over: Counter[OverLimit] = Counter()
        self.unknown: Counter[str] = Counter()
        self.words: set[str] = set()
        self.failed = 0
        self._spent: dict[str, _Spent] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """Say in which way the counts are not exact."""
        begins = (BEGINS,) if self.words & _PERIODS else ()
        at_once = (AT_ONCE,) if self.words & _BYTES else ()
        return (*begins, *at_once, *((FAILED,) if self.words & _PERIODS and self.failed else ()))

    def add(self, one: Simulated, ended: Mapping[str, Ended]) -> None:
        """Count one more, the next in time; `ended` has the ends of jobs."""
        body, recorded = one.asked.body, one.asked.recorded
        if not one.limits or body is None or recorded is None or body.request.get("dry_run"):
            return
        self.limited += 1
        self.words.update(word for limits in one.limits for word in limits.amounts)
        if not isinstance(body, IntentBody):
            self.unknown[_NOT_RUN] += 1
            return
        if one.after and one.after.effect == Effect.REQUIRE_APPROVAL:
            self.unknown[_WAITS] += 1
            return
        end = ended.get(recorded.event.job)
        if end is None:
            self.unknown[_NO_END] += 1
        elif end.bytes_billed is None:
            self.failed += 1
        self._hold(one.limits, body, one.asked.at, end or Ended())

    def _hold(self, several: tuple[Limits, ...], body: IntentBody, at: float, end: Ended) -> None:
        found = {
            OverLimit(limits.rule, word, limits.whose, limits.holder)
            for limits in several
            for word in self._broken(limits, body, at, end)
        }
        self.over.update(found)
        self.queries += bool(found)
        # One with too many rows has run: it is reading on that is refused.
        if all(one.word == "rows_per_query" for one in found) and not _is_export(body):
            for limits in several:
                self._enter(limits, at, end)

    def _broken(self, limits: Limits, body: IntentBody, at: float, end: Ended) -> Iterator[str]:
        spent = self._of(limits)
        spent.begun[:] = [one for one in spent.begun if one > at - _MINUTE]
        spent.ends[:] = [one for one in spent.ends if one > at]
        used = Used(
            at,
            spent.periods["day", day_of(at, limits.time_zone)[0]],
            spent.periods["month", month_of(at, limits.time_zone)[0]],
            minute=tuple(spent.begun),
            running=len(spent.ends),
        )
        # BigQuery stops what is billed beyond its bound, though it was estimated to stay below.
        charge = max(least_billed(body.bytes_estimate or 0), end.bytes_billed or 0)
        yield from (one.word for one in broken(limits, used, Charge(charge, charge)))
        most = limits.rows_per_query
        if most is not None and (_is_export(body) or (end.total_rows or 0) > most):
            yield "rows_per_query"

    def _enter(self, limits: Limits, at: float, end: Ended) -> None:
        spent, billed = self._of(limits), end.bytes_billed or 0
        spent.periods["day", day_of(at, limits.time_zone)[0]] += billed
        spent.periods["month", month_of(at, limits.time_zone)[0]] += billed
        spent.begun.append(at)
        spent.ends.append(end.ended_at or at)

    def _of(self, limits: Limits) -> _Spent:
        return self._spent.setdefault(limits.account, _Spent(Counter(), [], []))


def _is_export(body: IntentBody) -> bool:
    return Action.EXPORT in body.actions
