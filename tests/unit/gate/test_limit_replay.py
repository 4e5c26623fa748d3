from __future__ import annotations

from typing import Any

import pytest

from keystile.gate.limit_replay import AT_ONCE, BEGINS, FAILED, LimitReplay
from keystile.gate.simulation import Simulated
from keystile.model.decision import Limits
from keystile.policy.ruling import Ruling
from keystile.recording.asked import AskedQuery
from keystile.recording.events import Event, EventKind
from keystile.recording.query_events import IntentBody, RefusedBody
from keystile.recording.reader import Recorded
from keystile.recording.results import Ended

MB = 1 << 20
DAY = 86_400.0
START = 1_768_435_200.0  # a midnight in UTC


def query(at: float, limits: Limits, **more: Any) -> Simulated:
    body = IntentBody(**{"bytes_estimate": 10 * MB, "actions": ("read",), **more})
    recorded = Recorded("c", 1, Event(EventKind.INTENT, START + at, job=f"j{at}"))
    asked = AskedQuery(START + at, recorded, body)
    allowed = Ruling("allow")
    return Simulated(asked, allowed, allowed, limits=(limits,))


def replayed(limits: Limits, *asked: tuple[float, Ended]) -> LimitReplay:
    found = LimitReplay()
    for at, ended in asked:
        one = query(at, limits)
        found.add(one, {one.asked.recorded.event.job: ended} if one.asked.recorded else {})
    return found


def limits(**amounts: int) -> Limits:
    return Limits("cap", "agent", "bot", **amounts)


def billed(size: int, seconds: float = 1, rows: int = 0, at: float = 0) -> Ended:
    return Ended(state="done", bytes_billed=size, total_rows=rows, ended_at=START + at + seconds)


def test_a_day_is_full_where_what_ran_before_has_filled_it_and_empty_on_the_next() -> None:
    asked = [(float(at), billed(10 * MB)) for at in (1, 2, 3, 4)]
    found = replayed(limits(bytes_per_day=25 * MB), *asked, (DAY + 1, billed(10 * MB)))
    assert found.queries == 2
    [(over, count)] = found.over.items()
    assert (over.rule, over.word, over.whose, over.holder) == (
        "cap",
        "bytes_per_day",
        "agent",
        "bot",
    )
    assert (count, found.limited) == (2, 5)
    assert found.notes == (BEGINS, AT_ONCE)


def test_what_is_over_a_limit_takes_nothing_from_the_budget() -> None:
    asked = [(1.0, billed(20 * MB)), (2.0, billed(20 * MB)), (3.0, billed(10 * MB))]
    assert replayed(limits(bytes_per_day=30 * MB), *asked).queries == 1


@pytest.mark.parametrize(("size", "over"), [(10 * MB, 0), (31 * MB, 1)])
def test_what_was_billed_more_than_it_was_estimated_counts_by_that(size: int, over: int) -> None:
    found = replayed(limits(bytes_per_query=30 * MB), (1.0, billed(size)))
    assert (found.queries, found.notes) == (over, (AT_ONCE,))


def test_queries_of_a_minute_and_those_that_run_at_once_are_counted_by_their_times() -> None:
    some = [(float(at), billed(0, at=at)) for at in (0, 10, 20, 61)]
    assert replayed(limits(queries_per_minute=2), *some).queries == 1
    long = [(float(at), billed(0, seconds=15, at=at)) for at in (0, 10, 20)]
    found = replayed(limits(concurrent_queries=1), *long)
    assert (found.queries, found.notes) == (1, ())


def test_that_a_failed_query_is_on_record_without_a_bill_is_told() -> None:
    failed = Ended(state="failed", ended_at=START + 2)
    found = replayed(limits(bytes_per_day=15 * MB), (1.0, failed), (3.0, billed(10 * MB)))
    assert (found.queries, found.notes) == (0, (BEGINS, AT_ONCE, FAILED))
    one = replayed(limits(bytes_per_query=15 * MB), (1.0, failed))
    assert one.notes == (AT_ONCE,)


def test_too_many_rows_are_over_the_limit_and_have_run() -> None:
    both = limits(rows_per_query=5, bytes_per_day=15 * MB)
    found = replayed(both, (1.0, billed(10 * MB, rows=6)), (2.0, billed(10 * MB, rows=5)))
    assert {one.word: count for one, count in found.over.items()} == {
        "rows_per_query": 1,
        "bytes_per_day": 1,
    }
    export = query(1, limits(rows_per_query=5), actions=("read", "export"))
    found.add(export, {})
    assert found.queries == 3


def test_what_is_not_on_record_is_told_and_not_guessed() -> None:
    found, cap = LimitReplay(), limits(bytes_per_query=1)
    refused = query(1, cap)
    found.add(refused._replace(asked=refused.asked._replace(body=RefusedBody())), {})
    found.add(query(2, cap)._replace(after=Ruling("require_approval")), {})
    found.add(query(3, limits(queries_per_minute=9)), {})
    found.add(query(4, cap, request={"dry_run": True}), {})
    assert (found.limited, found.queries, found.unknown.total()) == (3, 0, 3)
    assert any("refused then" in why for why in found.unknown)
    assert any("wait for people" in why for why in found.unknown)
    assert any("its end" in why for why in found.unknown)
