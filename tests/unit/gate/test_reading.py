from __future__ import annotations

from typing import Any

import msgspec
import pytest

from keystile.model.errors import RecordingUnavailableError, RefusedError
from keystile.wire.requests import PageRequest
from keystile.wire.responses import ResultsView


@pytest.fixture
async def job(bench: Any, one: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A finished job of five rows, of which one came with its end."""
    monkeypatch.setattr("keystile.gate.outcomes._WITH_THE_END", 1)
    monkeypatch.setattr("keystile.gate.outcomes._ONE_PAGE_BYTES", 0)
    bench.bigquery.rows_of = [{"f": [{"v": str(number)}]} for number in range(5)]
    bench.bigquery.in_piece = 2
    return await one.gate.insert(bench.principal(), bench.request())


async def page(bench: Any, one: Any, job: Any, **asked: Any) -> ResultsView:
    found = PageRequest(timeout_ms=1000, **asked)
    view: ResultsView = await one.gate.results(bench.principal(), "acme-shop", job.job_id, found)
    return view


def numbers(view: ResultsView) -> list[int]:
    return [int(msgspec.json.decode(msgspec.json.encode(row))["f"][0]["v"]) for row in view.rows]


async def test_a_page_comes_in_pieces_each_on_record_before_it(
    bench: Any, one: Any, job: Any
) -> None:
    first = await page(bench, one, job)
    assert numbers(first) == [0]
    assert (bench.kinds, first.rest is None) == (["intent", "outcome"], False)
    seen = []
    async for piece in first.rest or ():
        assert bench.events[-1].body["start"] == numbers(piece)[0]
        seen.append(numbers(piece))
    assert seen == [[1, 2], [3, 4]]
    assert bench.bigquery.read == [0, 1]


async def test_the_last_piece_says_where_the_next_page_is(bench: Any, one: Any, job: Any) -> None:
    whole = await (await page(bench, one, job, max_results=4)).whole()
    assert numbers(whole) == [0, 1, 2, 3]
    next_page = await (await page(bench, one, job, page_token=whole.page_token)).whole()
    assert (numbers(next_page), next_page.page_token) == ([4], "")


async def test_what_was_read_once_is_not_recorded_again(bench: Any, one: Any, job: Any) -> None:
    for _ in range(2):
        await (await page(bench, one, job)).whole()
    assert bench.kinds == ["intent", "outcome", "page", "page"]


async def test_an_outage_in_the_middle_breaks_the_page_off(bench: Any, one: Any, job: Any) -> None:
    bench.bigquery.breaks = RefusedError("BigQuery cannot be reached")
    first = await page(bench, one, job)
    with pytest.raises(RefusedError):
        await first.whole()


async def test_a_piece_that_cannot_be_recorded_is_not_given(bench: Any, one: Any, job: Any) -> None:
    first = await page(bench, one, job)
    await one.log.close()
    with pytest.raises(RecordingUnavailableError):
        await anext(first.rest)  # type: ignore[arg-type]


@pytest.mark.parametrize(("start", "most"), [(5, 10), (9, 10), (0, 0)])
async def test_a_page_without_rows_asks_bigquery_nothing(
    bench: Any, one: Any, job: Any, start: int, most: int
) -> None:
    found = await page(bench, one, job, start_index=start, max_results=most)
    assert (found.rows, found.page_token, found.rest) == ((), "", None)
    assert bench.bigquery.read == [0]


async def test_a_page_of_what_is_kept_asks_bigquery_nothing(bench: Any, one: Any, job: Any) -> None:
    found = await page(bench, one, job, max_results=1)
    assert (numbers(found), found.rest is None, bool(found.page_token)) == ([0], True, True)
    assert bench.bigquery.read == [0]
