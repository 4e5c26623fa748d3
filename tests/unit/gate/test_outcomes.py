from __future__ import annotations

import asyncio
from typing import Any

import pytest

from keystile.gate.outcomes import Outcomes
from keystile.gate.pages import PageCache
from keystile.gate.recorder import Recorder
from keystile.gate.second_net import SecondNet
from keystile.masking.keyed import always
from keystile.model.errors import RecordingUnavailableError
from keystile.upstream.values import JobStatus


@pytest.fixture
def outcomes(bench: Any, one: Any) -> Outcomes:
    return Outcomes(
        bench.bigquery,
        Recorder(one.log, one.metrics),
        PageCache(),
        SecondNet(always(bytes(32)), one.metrics),
    )


@pytest.fixture
def job(bench: Any) -> Any:
    found = bench.a_job()
    ended = bench.bigquery.jobs[found.upstream_id] = asyncio.Event()
    ended.set()
    return found


@pytest.mark.parametrize("first", [2, 3])
async def test_the_first_rows_are_on_record_and_kept(
    bench: Any, outcomes: Outcomes, job: Any, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    monkeypatch.setattr("keystile.gate.outcomes.FIRST_PAGE_ROWS", first)
    monkeypatch.setattr("keystile.gate.outcomes._WITH_THE_END", first)
    outcome = await outcomes.recorded(job, JobStatus(done=True, total_rows=3, bytes_processed=7))
    assert (outcome.recorded_rows, outcome.on_one_page) == (first, first == 3)
    assert (outcome.total_rows, outcome.bytes_processed, outcome.unread) == (3, 7, False)
    (event,) = bench.events
    assert (event.kind, event.job) == ("outcome", job.id)
    assert event.body["rows"] == bench.bigquery.rows_of[:first]
    assert len(outcomes.pages.get(job, 0)) == first


async def test_nothing_is_kept_that_is_not_on_record(
    one: Any, outcomes: Outcomes, job: Any
) -> None:
    await one.log.close()
    with pytest.raises(RecordingUnavailableError):
        await outcomes.recorded(job, JobStatus(done=True, total_rows=3))
    assert outcomes.pages.get(job, 0) == ()


async def test_a_result_that_has_its_place_on_one_page_is_recorded_whole(
    bench: Any, outcomes: Outcomes, job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keystile.gate.outcomes._WITH_THE_END", 1)
    outcome = await outcomes.recorded(job, JobStatus(done=True, total_rows=3))
    assert (outcome.recorded_rows, outcome.on_one_page) == (3, True)
    assert bench.events[0].body["rows"] == bench.bigquery.rows_of


async def test_of_a_large_result_little_is_waited_for(
    bench: Any, outcomes: Outcomes, job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keystile.gate.outcomes._WITH_THE_END", 1)
    monkeypatch.setattr("keystile.gate.outcomes._ONE_PAGE_BYTES", 40)
    outcome = await outcomes.recorded(job, JobStatus(done=True, total_rows=3))
    assert (outcome.recorded_rows, outcome.on_one_page) == (1, False)
    assert bench.bigquery.read == [0]
