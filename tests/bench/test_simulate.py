"""The benchmark runs; how long anything takes is not asserted."""

from __future__ import annotations

from bench import simulate


async def test_it_measures_repeated_distinct_and_unlike_queries() -> None:
    figures = await simulate.measure(60)
    for name in simulate.SETS:
        found = figures[name]
        assert isinstance(found, dict)
        asked = 6 if name == "all_unlike" else 60
        assert (found["queries"], found["not_simulated"]) == (asked, 0)
        assert 0 < found["changed"] < asked
        assert found["decisions"] <= found["distinct_texts"] * 5
