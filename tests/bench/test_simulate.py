"""The benchmark runs; how long anything takes is not asserted."""

from __future__ import annotations

from bench import simulate


async def test_it_measures_repeated_and_distinct_queries() -> None:
    figures = await simulate.measure(60)
    for name in ("repeated", "all_distinct"):
        found = figures[name]
        assert isinstance(found, dict)
        assert (found["queries"], found["not_simulated"]) == (60, 0)
        assert 0 < found["changed"] < 60
        assert found["decisions"] <= found["distinct_texts"] * 5
