from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from keystile.gate.jobs import JobState
from keystile.model.errors import (
    DuplicateError,
    InvalidQueryError,
    RecordingUnavailableError,
    StoppedError,
)
from keystile.model.schema import Field
from keystile.upstream.values import UpstreamQuery


async def test_an_outcome_that_cannot_be_recorded_is_neither_released_nor_lost(bench: Any) -> None:
    bench.lease_seconds = 0.0
    one = await bench.replica()
    bench.bigquery.hold = True
    view = await one.gate.insert(bench.principal(), bench.request())
    await bench.bigquery.began.wait()
    await one.log.close()
    bench.bigquery.finish()
    with pytest.raises(RecordingUnavailableError):
        await one.settle()
    job = await bench.job(view)
    assert job.state is not JobState.DONE
    assert job.outcome is None
    assert one.pages.get(job, 0) == ()
    two = await bench.replica()
    await two.take_over()
    assert (await bench.job(view)).outcome is not None
    assert len(bench.bigquery.started) == 1
    assert bench.kinds == ["intent", "outcome"]


async def test_bigquerys_own_failure_is_the_jobs_end(bench: Any, one: Any) -> None:
    bench.bigquery.error = InvalidQueryError("Division by zero")
    view = await one.query(bench.principal(), bench.request())
    assert view.error is not None
    assert view.error.message == "Division by zero"
    assert bench.events[-1].body["state"] == "failed"


async def test_a_job_stopped_at_bigquery_is_recorded_as_cancelled(bench: Any, one: Any) -> None:
    bench.bigquery.error = StoppedError("User requested cancellation")
    await one.query(bench.principal(), bench.request())
    assert bench.events[-1].body["state"] == "cancelled"


async def test_a_fault_of_ours_ends_the_job_without_its_words(bench: Any, one: Any) -> None:
    bench.bigquery.rows_of = None  # makes `rows` fail as no error of ours
    view = await one.query(bench.principal(), bench.request())
    assert view.error is not None
    assert view.error.message.startswith("refused: internal fault in job")


async def test_a_result_with_other_columns_than_decided_on_is_withheld(
    bench: Any, one: Any
) -> None:
    bench.planner.schema = (Field("old", "INT64"),)
    view = await one.gate.insert(bench.principal(), bench.request())
    await one.settle()
    job = await bench.job(view)
    assert job.outcome is None
    assert "its result is withheld" in job.error.message
    assert bench.kinds == ["intent", "outcome"]
    assert "rows" not in bench.events[-1].body


async def test_a_result_is_written_once_it_is_there_and_agreed_on(bench: Any, one: Any) -> None:
    seen: list[list[str]] = []
    bench.bigquery.before_start = lambda: seen.append(bench.kinds)
    view = await one.query(bench.principal(), bench.request(into=bench.into))
    job = await bench.job(view)
    assert bench.bigquery.started == [job.upstream_id, f"{job.upstream_id}_into"]
    first, second = bench.bigquery.queries
    assert (first.sql, first.into) == (bench.rewritten, {})
    assert second.sql.startswith("SELECT * FROM `acme-shop`.`_hidden`.")
    assert second.into["destinationTable"] == bench.into.configuration["destinationTable"]
    assert seen == [["intent"], ["intent"]]
    assert (job.outcome.total_rows, job.error) == (3, None)


async def test_a_result_with_other_columns_was_written_before_it_was_withheld(
    bench: Any, one: Any
) -> None:
    bench.planner.schema = (Field("id", "STRING"),)
    view = await one.query(bench.principal(), bench.request(into=bench.into))
    assert "got other columns while it ran" in view.error.message
    assert len(bench.bigquery.started) == 1


async def test_a_result_that_cannot_be_written_fails_its_job(bench: Any, one: Any) -> None:
    bench.bigquery.write_fails = DuplicateError("Already Exists: Table acme-shop:lab.kept")
    view = await one.query(bench.principal(), bench.request(into=bench.into))
    assert view.error.reason == "duplicate"
    assert bench.events[-1].body["state"] == "failed"
    assert bench.bigquery.read == []


async def test_what_a_job_has_written_is_asked_for_anew(bench: Any, one: Any) -> None:
    job = bench.a_job(request=bench.request(into=bench.into))
    facts = msgspec.structs.replace(job.plan.facts, writes=(bench.into.table,))
    job = msgspec.structs.replace(job, plan=msgspec.structs.replace(job.plan, facts=facts))
    await one.jobs.add(job)
    await one.pipeline.carry(job, UpstreamQuery(project="acme-shop", sql=bench.rewritten))
    assert bench.bigquery.forgotten == [bench.into.table]


@pytest.mark.parametrize("disabled", [False, True])
async def test_a_job_that_is_cancelled_with_its_agent_says_so(
    bench: Any, one: Any, *, disabled: bool
) -> None:
    bench.bigquery.hold = True
    bench.bigquery.error = StoppedError("User requested cancellation")
    view = await one.gate.insert(bench.principal(), bench.request())
    await asyncio.wait_for(bench.bigquery.began.wait(), 5)
    bench.disabled = disabled
    bench.bigquery.finish()
    await one.settle()
    ended = await bench.job(view)
    more = ": the agent `demo-agent` is disabled" if disabled else ""
    assert ended.error.message == f"User requested cancellation{more}"
    assert (bench.events[-1].body["state"], bench.events[-1].job) == ("cancelled", ended.id)
