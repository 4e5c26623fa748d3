"""Taking over what a dead replica left."""

from __future__ import annotations

from typing import Any

import pytest

from keystile.gate.jobs import JobState
from keystile.model.decision import Effect
from keystile.model.schema import Field


async def left_behind(bench: Any, replica: Any, view: Any) -> Any:
    """The job as a replica leaves it that died just after taking it out of waiting."""
    job = await bench.job(view)
    assert await replica.jobs.take(job, 0.0)
    await replica.die()
    return await bench.replica()


async def test_a_denied_job_whose_replica_died_before_ending_it_never_runs(
    bench: Any, one: Any
) -> None:
    view = await bench.waiting(one)
    await bench.vote(approve=False, comment="ask for less")
    two = await left_behind(bench, one, view)
    await two.take_over()
    await two.watch()
    assert bench.bigquery.started == []
    job = await bench.job(view)
    assert job.error is not None
    assert "denied by `operator`: ask for less" in job.error.message


async def test_an_undecided_job_whose_replica_died_while_it_took_it_still_waits(
    bench: Any, one: Any
) -> None:
    view = await bench.waiting(one)
    two = await left_behind(bench, one, view)
    await two.take_over()
    await two.watch()
    assert bench.bigquery.started == []
    assert (await bench.job(view)).state is JobState.PENDING
    await bench.vote()
    await two.watch()
    assert (await bench.job(view)).outcome is not None


async def test_a_withdrawn_job_whose_replica_died_before_ending_it_never_runs(
    bench: Any, one: Any
) -> None:
    view = await bench.waiting(one)
    await one.vigil.withdraw(await bench.job(view))
    two = await left_behind(bench, one, view)
    await two.take_over()
    await two.watch()
    assert bench.bigquery.started == []
    job = await bench.job(view)
    assert job.error is not None
    assert job.error.reason == "stopped"


async def test_an_approved_job_whose_replica_died_before_its_release_runs_once(
    bench: Any, one: Any
) -> None:
    view = await bench.waiting(one)
    await bench.vote()
    two = await left_behind(bench, one, view)
    await two.take_over()
    await two.watch()
    assert len(bench.bigquery.started) == 1
    assert (await bench.job(view)).outcome is not None


async def test_a_running_job_is_taken_over_and_not_started_again(bench: Any) -> None:
    bench.lease_seconds = 0.0
    bench.bigquery.hold = True
    one = await bench.replica()
    view = await one.gate.insert(bench.principal(), bench.request())
    await bench.bigquery.began.wait()
    await one.die()
    two = await bench.replica()
    bench.bigquery.finish()
    await two.take_over()
    assert len(bench.bigquery.started) == 1
    assert (await bench.job(view)).outcome is not None
    assert bench.kinds == ["intent", "outcome"]


async def test_a_job_that_never_reached_bigquery_is_planned_again_and_started(bench: Any) -> None:
    bench.lease_seconds = 0.0
    one = await bench.replica()
    job, _query = await one.pipeline.accept(bench.principal(), bench.request())
    await one.die()
    two = await bench.replica()
    await two.take_over()
    assert bench.bigquery.started == [job.upstream_id]
    assert (await two.jobs.get(job.id)).outcome is not None


async def test_a_job_planned_again_at_the_take_over_ends_by_its_new_plan(bench: Any) -> None:
    """Held against the plan of before, its right result would be withheld."""
    bench.lease_seconds = 0.0
    right, bench.planner.schema = bench.planner.schema, (Field("old", "INT64"),)
    one = await bench.replica()
    job, _query = await one.pipeline.accept(bench.principal(), bench.request())
    await one.die()
    bench.planner.schema, bench.planner.policy = right, "p2"
    two = await bench.replica()
    await two.take_over()
    ended = await two.jobs.get(job.id)
    assert ended.error is None
    assert ended.outcome is not None


async def test_a_taken_over_job_that_now_needs_approval_waits_for_it(bench: Any) -> None:
    bench.lease_seconds = 0.0
    one = await bench.replica()
    job, _query = await one.pipeline.accept(bench.principal(), bench.request())
    await one.die()
    bench.planner.policy = "p2"
    bench.planner.ask_people()
    two = await bench.replica()
    await two.take_over()
    assert bench.bigquery.started == []
    assert (await two.jobs.get(job.id)).state is JobState.PENDING
    assert len(await bench.approvals.list()) == 1


async def test_a_taken_over_job_that_policy_now_denies_ends_so(bench: Any) -> None:
    bench.lease_seconds = 0.0
    one = await bench.replica()
    job, _query = await one.pipeline.accept(bench.principal(), bench.request())
    await one.die()
    bench.planner.effect = Effect.DENY
    two = await bench.replica()
    await two.take_over()
    assert bench.bigquery.started == []
    error = (await two.jobs.get(job.id)).error
    assert error is not None
    assert "refused by policy" in error.message


async def test_an_outage_at_the_take_over_does_not_fail_a_running_job(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keystile.gate.running._RETRY_SECONDS", 0.01)
    bench.lease_seconds = 0.0
    one = await bench.replica()
    job, query = await one.pipeline.accept(bench.principal(), bench.request())
    await bench.bigquery.start(query, job.upstream_id)
    await one.die()
    bench.bigquery.wait_fails = [bench.outage(), bench.outage()]
    two = await bench.replica()
    await two.take_over()
    assert (await two.jobs.get(job.id)).outcome is not None


async def test_a_write_that_was_cut_off_is_found_and_not_begun_twice(bench: Any) -> None:
    bench.lease_seconds = 0.0
    one = await bench.replica()
    job, query = await one.pipeline.accept(bench.principal(), bench.request(into=bench.into))
    await bench.bigquery.start(query, job.upstream_id)
    bench.bigquery.hold = True
    bench.bigquery.began.clear()
    one.duties.carry(job, None)
    await bench.bigquery.began.wait()
    assert len(bench.bigquery.started) == 2
    await one.die()
    two = await bench.replica()
    bench.bigquery.finish()
    await two.take_over()
    assert len(bench.bigquery.started) == 2
    assert (await two.jobs.get(job.id)).outcome is not None
    assert bench.kinds == ["intent", "outcome"]
