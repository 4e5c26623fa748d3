from __future__ import annotations

import pytest

from keystile.cli.replayed import replayed_json, show_replayed
from keystile.gate.detector_replay import Detected, DetectedCount, DetectorReplay, Found
from keystile.gate.limit_replay import AT_ONCE, BEGINS, LimitReplay, OverLimit
from keystile.recording.results import JobResults

DETECTORS = (
    "detectors: 4 queries would have values treated otherwise, of 9 whose detectors would be others"
)


@pytest.fixture
def found() -> tuple[LimitReplay, DetectorReplay]:
    limits, detectors = LimitReplay(), DetectorReplay(JobResults.__new__(JobResults))
    limits.limited, limits.queries, limits.words = 40, 3, {"bytes_per_day"}
    limits.over[OverLimit("cap", "bytes_per_day", "agent", "etl")] = 3
    limits.unknown["its end is lost"] = 1
    detectors.looked, detectors.queries = 9, 4
    column = Detected(Found.MASKED, "ssn", "body", ("p.d.t.body",))
    detectors.found[column] = DetectedCount(4, 12, ["a", "b", "c", "d"])
    detectors.unknown["its rows were kept back"] = 2
    return limits, detectors


def test_each_sum_is_told_with_what_makes_it_up(
    found: tuple[LimitReplay, DetectorReplay], capsys: pytest.CaptureFixture[str]
) -> None:
    show_replayed(*found)
    assert capsys.readouterr().out.splitlines() == [
        "limits: 3 queries would be over the limit, of 40 that limits are about",
        "  bytes_per_day of rule cap for agent etl: 3 queries",
        "  not known of 1: its end is lost",
        f"  not exact: {BEGINS}",
        f"  not exact: {AT_ONCE}",
        DETECTORS,
        "  newly masked: 12 ssn in column body (p.d.t.body), 4 queries: a, b, c, …",
        "  not known of 2: its rows were kept back",
    ]


def test_a_policy_without_any_is_told_nothing_of(capsys: pytest.CaptureFixture[str]) -> None:
    show_replayed(LimitReplay(), DetectorReplay(JobResults.__new__(JobResults)))
    assert not capsys.readouterr().out


def test_json_has_the_same(found: tuple[LimitReplay, DetectorReplay]) -> None:
    told = replayed_json(*found)
    assert told["limits"]["over"] == 3
    assert told["limits"]["by"] == [
        {"rule": "cap", "word": "bytes_per_day", "whose": "agent", "holder": "etl", "queries": 3}
    ]
    [one] = told["detectors"]["found"]
    assert (one["kind"], one["values"], one["columns"]) == ("newly masked", 12, ("p.d.t.body",))
