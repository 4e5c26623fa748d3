"""Non-interference: random queries, masked, show the same in worlds that differ in secrets.

`python -m prove.leaks` runs as many cases as wanted.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import pytest
from prove.generate import PARAMETERS, Generator
from prove.leaks import new_court, try_cases
from prove.trial import Court, Outcome

from keystile.analysis.resolve import Scan
from keystile.masking import task
from keystile.masking.splice import ProtectedTable, spliced


@pytest.fixture(scope="module")
def court() -> Court:
    return new_court()


async def test_random_queries_tell_nothing(court: Court) -> None:
    tally = await try_cases(court, 100, seed=2026)

    assert tally.leaks == []
    assert tally.outcomes[Outcome.REFUSED] == 0, tally.reasons
    assert tally.outcomes[Outcome.SAME] > 85, tally.reasons
    assert tally.errors < 30


def _forgets_the_last(
    sql: str, tree: Any, scans: Iterable[Scan], protected: Iterable[ProtectedTable]
) -> str:
    """Miss the last reference, as a splicer would that does not look into every subquery."""
    every = list(scans)
    return spliced(sql, tree, every[:-1] if len(every) > 1 else every, protected)


async def test_a_planted_bug_is_found(court: Court, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "spliced", _forgets_the_last)
    monkeypatch.setattr(task, "prove", lambda *_: None)

    tally = await try_cases(court, 40, seed=2026)

    assert tally.leaks, "the proof would not have found a splicer that forgets"


async def test_the_proof_refuses_what_a_planted_bug_lets_through(
    court: Court, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task, "spliced", _forgets_the_last)

    tally = await try_cases(court, 40, seed=2026)

    assert tally.leaks == []
    assert tally.outcomes[Outcome.REFUSED] > 0


def test_the_same_seed_gives_the_same_queries() -> None:
    streams = [Generator(random.Random(5)) for _ in range(2)]  # noqa: S311 - reproducible

    for _ in range(20):
        assert streams[0].query() == streams[1].query()


async def test_attacks_are_among_the_queries(court: Court) -> None:
    generator = Generator(random.Random(2026))  # noqa: S311 - reproducible

    attacks = sum(court.reveals_unmasked(generator.query(), PARAMETERS) for _ in range(40))

    assert attacks > 10
