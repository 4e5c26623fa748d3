from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import pytest

from keystile.approvals.machine import ApprovalState
from keystile.gate.jobs import JobState
from keystile.model.errors import RefusedError


async def test_an_approved_job_runs_once_with_the_approved_text(bench: Any, one: Any) -> None:
    view = await bench.waiting(one)
    assert view.state == "PENDING"
    await one.watch()
    assert bench.bigquery.started == []
    await bench.vote()
    await one.watch()
    await one.watch()
    assert bench.bigquery.texts == [bench.rewritten]
    assert (await bench.job(view)).outcome is not None
    assert bench.kinds == ["intent", "approval_requested", "approval_decided", "outcome"]
    (vote,) = bench.events[2].body["votes"]
    assert (vote["person"], vote["comment"], vote["via"]) == ("operator", "ticket 7", "cli")


async def test_a_denial_is_the_jobs_end_in_the_approvers_words(bench: Any, one: Any) -> None:
    view = await bench.waiting(one)
    await bench.vote(approve=False, comment="ask for less")
    await one.watch()
    job = await bench.job(view)
    assert job.error.reason == "accessDenied"
    assert "denied by `operator`: ask for less (rule `raw-ssn`, request `" in job.error.message
    assert bench.events[-1].body["state"] == "denied"
    assert bench.bigquery.started == []


async def test_a_request_that_nobody_answers_expires(bench: Any, one: Any) -> None:
    bench.planner.ask_people(msgspec.structs.replace(bench.demand, expires_seconds=0))
    view = await one.gate.insert(bench.principal(), bench.request())
    await one.watch()
    job = await bench.job(view)
    assert "nobody approved the query in time" in job.error.message
    assert bench.events[-1].body["state"] == "expired"
    assert bench.bigquery.started == []


async def test_every_demand_must_be_met(bench: Any, one: Any) -> None:
    second = msgspec.structs.replace(bench.demand, rule="second-rule")
    bench.planner.ask_people(bench.demand, second)
    view = await one.gate.insert(bench.principal(), bench.request())
    first, other = await bench.approvals.list()
    for request in (first, other):
        await one.watch()
        assert (await bench.job(view)).state is JobState.PENDING
        await bench.vote_on(request.id)
    await one.watch()
    assert (await bench.job(view)).outcome is not None


@pytest.mark.parametrize("change", ["column", "policy"])
async def test_a_change_between_approval_and_release_asks_again(
    bench: Any, one: Any, change: str
) -> None:
    view = await bench.waiting(one)
    await bench.vote()
    setattr(bench.planner, change, "changed")
    await one.watch()
    assert bench.bigquery.started == []
    assert (await bench.job(view)).state is JobState.PENDING
    old, new = await bench.approvals.for_job((await bench.job(view)).id)
    assert (old.state, new.state) == ("approved", "pending")
    assert old.digest != new.digest
    await bench.vote()
    await one.watch()
    assert len(bench.bigquery.started) == 1


async def test_the_query_of_an_agent_that_was_disabled_since_does_not_run(
    bench: Any, one: Any
) -> None:
    view = await bench.waiting(one)
    await bench.vote()
    bench.disabled = True
    await one.watch()
    assert bench.bigquery.started == []
    assert "is disabled" in (await bench.job(view)).error.message


async def test_an_agent_whose_groups_changed_since_is_asked_about_again(
    bench: Any, one: Any
) -> None:
    view = await bench.waiting(one)
    await bench.vote()
    bench.groups = ("others",)
    await one.watch()
    assert bench.bigquery.started == []
    (asked,) = await bench.approvals.list(ApprovalState.PENDING)
    assert asked.principal.groups == ("others",)
    await bench.vote()
    await one.watch()
    assert (await bench.job(view)).outcome is not None


async def test_a_query_that_outgrew_what_was_approved_does_not_run(bench: Any, one: Any) -> None:
    view = await bench.waiting(one)
    await bench.vote()
    bench.planner.bytes = 200 << 20
    await one.watch()
    assert bench.bigquery.started == []
    message = (await bench.job(view)).error.message
    assert "would read far more bytes by now than were approved" in message
    assert not any(digit in message for digit in "0123456789")


async def test_one_job_that_cannot_be_attended_keeps_no_other_waiting(
    bench: Any, one: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = await bench.waiting(one, job_id="stuck")
    view = await bench.waiting(one, job_id="after")
    stuck_id = (await bench.job(stuck)).id
    for request in await bench.approvals.list():
        await bench.vote_on(request.id)
    look = one.duties._vigil.look

    async def failing(job: Any) -> Any:
        if job.id == stuck_id:
            raise RefusedError("not this one")
        return await look(job)

    monkeypatch.setattr(one.duties._vigil, "look", failing)
    await one.watch()
    assert (await bench.job(view)).outcome is not None
    assert (await bench.job(stuck)).state is JobState.PENDING


async def test_two_replicas_release_a_job_once(bench: Any, one: Any) -> None:
    two = await bench.replica()
    views = [await bench.waiting(one) for _ in range(4)]
    await bench.vote()
    await asyncio.gather(one.watch(), two.watch(), one.watch(), two.watch())
    assert len(bench.bigquery.started) == len(set(bench.bigquery.started)) == 4
    for view in views:
        assert (await bench.job(view)).outcome is not None
    assert bench.kinds.count("outcome") == 4


async def test_a_job_that_died_before_people_were_asked_is_asked_for(bench: Any, one: Any) -> None:
    bench.planner.ask_people()

    async def killed(_job: Any) -> None:
        raise asyncio.CancelledError

    one.vigil.ask = killed
    with pytest.raises(asyncio.CancelledError):
        await one.gate.insert(bench.principal(), bench.request())
    assert await bench.approvals.list() == ()
    two = await bench.replica()
    await two.watch()
    assert len(await bench.approvals.list()) == 1


async def test_a_live_replicas_job_is_not_taken_over(bench: Any, one: Any) -> None:
    bench.bigquery.hold = True
    await one.gate.insert(bench.principal(), bench.request())
    await bench.bigquery.began.wait()
    two = await bench.replica()
    await two.duties._keep_and_take()
    assert two.duties._carried == {}


async def test_a_replica_that_stops_leaves_its_jobs_to_the_next_one_at_once(
    bench: Any, one: Any
) -> None:
    bench.bigquery.hold = True
    view = await one.gate.insert(bench.principal(), bench.request())
    await bench.bigquery.began.wait()
    await one.duties.stop()
    bench.bigquery.finish()
    two = await bench.replica()
    await two.duties._keep_and_take()
    await two.settle()
    assert (await bench.job(view)).outcome is not None
    assert len(bench.bigquery.started) == 1


async def test_leases_are_renewed_until_the_job_ends(bench: Any, one: Any) -> None:
    bench.bigquery.hold = True
    view = await one.gate.insert(bench.principal(), bench.request())
    await bench.bigquery.began.wait()
    later = (await bench.job(view)).created_at + 16
    two = await bench.replica()
    await one.jobs.renew(list(one.duties._carried), later)
    taken = (JobState.READY, JobState.RUNNING)
    assert await two.jobs.claim(later + 10, taken) == []
    assert len(await two.jobs.claim(later + 16, taken)) == 1


async def test_a_decision_that_cannot_be_recorded_is_carried_out_later(bench: Any) -> None:
    bench.lease_seconds = 0.0
    one = await bench.replica()
    view = await bench.waiting(one)
    await bench.vote(approve=False, comment="no")
    await one.log.close()
    await one.watch()
    assert (await bench.job(view)).error is None
    two = await bench.replica()
    await two.take_over()
    await two.watch()
    assert bench.bigquery.started == []
    assert "denied by" in (await bench.job(view)).error.message


async def test_the_watch_survives_any_fault(
    bench: Any, one: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keystile.gate.duties._TICK_SECONDS", 0.01)
    faults = [ValueError("boom"), bench.outage()]
    real = one.jobs.pending

    async def pending() -> Any:
        if faults:
            raise faults.pop()
        return await real()

    one.jobs.pending = pending
    view = await bench.waiting(one)
    await bench.vote()
    running = asyncio.ensure_future(one.duties.run())
    job = await one.duties.wait(await bench.job(view), 5)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert faults == []
    assert job.outcome is not None


async def test_waiting_ends_as_soon_as_this_replica_ends_the_job(bench: Any, one: Any) -> None:
    bench.bigquery.hold = True
    view = await one.gate.insert(bench.principal(), bench.request())
    await bench.bigquery.began.wait()
    started = time.monotonic()
    asyncio.get_running_loop().call_later(0.05, bench.bigquery.finish)
    job = await one.duties.wait(await bench.job(view), 10)
    assert job.state is JobState.DONE
    assert time.monotonic() - started < 0.4
