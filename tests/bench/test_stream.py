"""Large results and uploads pass through in bounded memory; how long that takes is not asserted."""

from __future__ import annotations

from bench.stream import measure

MEGABYTES = 80
MOST_GROWTH = 50


LOADS = ("result", "upload_multipart")


async def test_large_results_and_uploads_pass_through_in_bounded_memory() -> None:
    figures = await measure(MEGABYTES * 1_000_000, row=1000, pairs=2, only=LOADS)
    assert figures.keys() == {"small", *LOADS}
    for name in LOADS:
        assert figures[name]["mb"] >= MEGABYTES - 2, name
        assert figures[name]["growth_mb"] < MOST_GROWTH, name
