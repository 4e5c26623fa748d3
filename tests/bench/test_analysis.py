"""The benchmark runs; how long anything takes is not asserted."""

from __future__ import annotations

import pytest

from bench import analysis, sets


async def test_it_measures_every_query_of_both_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis, "queries", lambda name: sets.queries(name)[:2])
    figures = await analysis.measure(rounds=1)
    for name in ("reports", "adversarial"):
        found = figures[name]
        assert isinstance(found, dict)
        assert (found["queries"], found["refused"]) == (2, 0)
        assert found["proved_p50_ms"] >= found["analysis_p50_ms"] > found["cached_p50_ms"] > 0
