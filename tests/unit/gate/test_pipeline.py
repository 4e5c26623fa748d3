from __future__ import annotations

from typing import Any

import pytest

from keystile.gate.jobs import JobState
from keystile.model.errors import RecordingUnavailableError


async def test_the_intent_is_on_record_before_bigquery_runs_anything(bench: Any, one: Any) -> None:
    seen: list[list[str]] = []
    bench.bigquery.before_start = lambda: seen.append(bench.kinds)
    await one.query(bench.principal(), bench.request())
    assert seen == [["intent"]]
    assert bench.bigquery.texts == [bench.rewritten]


async def test_without_a_recording_nothing_runs_and_no_job_is_made(bench: Any, one: Any) -> None:
    await one.log.close()
    with pytest.raises(RecordingUnavailableError):
        await one.gate.insert(bench.principal(), bench.request(job_id="j1"))
    assert bench.bigquery.started == []
    assert await one.jobs.claim(1e12, tuple(JobState)) == []


async def test_the_outcome_is_on_record_before_the_job_is_done(bench: Any, one: Any) -> None:
    view = await one.query(bench.principal(), bench.request())
    assert view.state == "DONE"
    assert bench.kinds == ["intent", "outcome"]
    assert bench.events[1].body["rows"] == bench.bigquery.rows_of


async def test_a_dry_run_is_recorded_and_makes_no_job(bench: Any, one: Any) -> None:
    view = await one.gate.insert(bench.principal(), bench.request(dry_run=True))
    assert view.done
    assert view.bytes_processed == 1000
    assert bench.kinds == ["intent"]
    assert bench.bigquery.started == []


async def test_a_dry_run_of_what_needs_approval_asks_nobody(bench: Any, one: Any) -> None:
    await bench.waiting(one, dry_run=True)
    assert await bench.approvals.list() == ()
