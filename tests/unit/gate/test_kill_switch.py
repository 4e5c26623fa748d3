from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import pytest

from keystile.gate import kill_switch as module
from keystile.gate.jobs import JobState
from keystile.gate.kill_switch import KillSwitch
from keystile.gate.sessions import Left, QuerySessions
from keystile.identity.agents import Agents
from keystile.identity.disabling import Disablings, Target
from keystile.model.errors import (
    InvalidQueryError,
    NotFoundError,
    RecordingUnavailableError,
)

ISSUER, SUBJECT = "https://issuer.example", "sub-demo-agent"
ONE = Target("", ISSUER, SUBJECT)


class FakeUploads:
    """Remembers whose uploads were ended; `fails` is raised once."""

    def __init__(self) -> None:
        self.ended: list[set[str]] = []
        self.fails: Exception | None = None

    async def end_of(self, owners: Any, why: Exception) -> None:
        if self.fails:
            raise self.fails
        self.ended.append(set(owners))
        assert "was disabled by `operator`" in str(why)


@pytest.fixture
def uploads() -> FakeUploads:
    return FakeUploads()


def switch_of(bench: Any, one: Any, uploads: Any) -> KillSwitch:
    return KillSwitch(
        Disablings(bench.database),
        Agents(bench.database),
        "http://gw/issuer",
        one.jobs,
        one.duties,
        uploads,
        QuerySessions(bench.database),
        bench.bigquery,
        one.pipeline._recorder,
        one.metrics,
    )


@pytest.fixture
def switch(bench: Any, one: Any, uploads: FakeUploads) -> KillSwitch:
    return switch_of(bench, one, uploads)


async def disable(bench: Any, target: Target = ONE) -> Disablings:
    disablings = Disablings(bench.database)
    await disablings.disable(target, "operator", "cli")
    return disablings


async def turn(switch: KillSwitch, monkeypatch: pytest.MonkeyPatch, seconds: float = 0.0) -> int:
    """Do one round, some time later, and tell how many disablings it was about."""
    now = time.time() + seconds
    with monkeypatch.context() as later:
        later.setattr(module.time, "time", lambda: now)
        taken = await switch.take()
        for one in taken:
            await switch.see_to(one)
    return len(taken)


def told(bench: Any) -> list[Any]:
    return [event.body for event in bench.events if event.kind == "agent_disabled"]


async def test_running_jobs_are_cancelled_at_bigquery_and_it_is_on_record(
    bench: Any, one: Any, switch: KillSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.bigquery.hold = True
    job = await one.gate.insert(bench.principal(), bench.request())
    other = await one.gate.insert(bench.principal("other"), bench.request())
    await asyncio.wait_for(bench.bigquery.began.wait(), 5)
    await asyncio.sleep(0.05)
    ours = (await bench.job(job)).id
    await disable(bench)
    assert await turn(switch, monkeypatch) == 1
    assert bench.bigquery.cancelled == [f"keystile_{ours}"]
    assert other.job_id not in str(bench.bigquery.cancelled)
    (body,) = told(bench)
    assert (body["issuer"], body["subject"], body["name"]) == (ISSUER, SUBJECT, "")
    assert (body["person"], body["via"], body["jobs"]) == ("operator", "cli", [ours])
    # As long as it runs it is asked again, and told once.
    assert await turn(switch, monkeypatch, 3) == 1
    assert len(bench.bigquery.cancelled) == 2
    assert len(told(bench)) == 1


async def test_by_name_the_jobs_of_all_who_are_called_so_are_stopped(
    bench: Any, one: Any, switch: KillSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.bigquery.hold = True
    await Agents(bench.database).saw(bench.principal(), own=False)
    await one.gate.insert(bench.principal(), bench.request())
    await asyncio.wait_for(bench.bigquery.began.wait(), 5)
    await disable(bench, Target("demo-agent"))
    await turn(switch, monkeypatch)
    assert bench.bigquery.cancelled == bench.bigquery.started


async def test_what_it_does_for_people_is_stopped_too(
    bench: Any, one: Any, switch: KillSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.bigquery.hold = True
    for person in ("ana", "ben"):
        acting = msgspec.structs.replace(bench.principal(), on_behalf_of=person)
        await one.gate.insert(acting, bench.request())
    await asyncio.wait_for(bench.bigquery.began.wait(), 5)
    await asyncio.sleep(0.05)
    assert len(bench.bigquery.started) == 2
    await disable(bench)
    await turn(switch, monkeypatch)
    assert sorted(bench.bigquery.cancelled) == sorted(bench.bigquery.started)


async def test_what_waits_for_people_ends_and_says_why(
    bench: Any, one: Any, switch: KillSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await bench.waiting(one)
    await disable(bench)
    await turn(switch, monkeypatch)
    ended = await bench.job(job)
    assert ended.state is JobState.DONE
    assert "was disabled by `operator`" in ended.error.message
    assert ended.error.http_status == 403
    (request,) = await bench.approvals.list()
    assert request.state == "cancelled"
    assert bench.bigquery.started == []
    assert sorted(bench.kinds) == sorted(
        ["intent", "approval_requested", "agent_disabled", "approval_decided", "outcome"]
    )


async def test_while_bigquery_is_away_a_job_stays_to_be_stopped(
    bench: Any, one: Any, switch: KillSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that has ended here for an outage may run on at BigQuery."""
    bench.bigquery.hold = True
    view = await one.gate.insert(bench.principal(), bench.request())
    await asyncio.wait_for(bench.bigquery.began.wait(), 5)
    disablings = await disable(bench)
    cancel = bench.bigquery.cancel

    async def away(_job: Any) -> None:
        raise bench.outage()

    bench.bigquery.cancel = away
    await turn(switch, monkeypatch)
    job = await bench.job(view)
    assert (await disablings.get(ONE)).jobs == {job.id: False}
    await one.die()
    await one.jobs.finish(job, time.time(), error=None, outcome=None)
    assert await turn(switch, monkeypatch, 1000) == 1
    assert len(await disablings.open()) == 1
    bench.bigquery.cancel = cancel
    await turn(switch, monkeypatch, 2000)
    assert bench.bigquery.cancelled == [f"keystile_{job.id}"]
    assert await disablings.open() == ()


async def test_another_replica_goes_on_where_one_hangs(
    bench: Any, switch: KillSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = switch_of(bench, await bench.replica(), FakeUploads())
    await disable(bench)
    assert len(await switch.take()) == 1
    assert await turn(two, monkeypatch) == 0
    assert await turn(two, monkeypatch, 3) == 1


async def test_what_slips_in_after_it_is_stopped_and_told_too(
    bench: Any, one: Any, switch: KillSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.bigquery.hold = True
    disablings = await disable(bench)
    await turn(switch, monkeypatch)
    view = await one.gate.insert(bench.principal(), bench.request())
    await asyncio.wait_for(bench.bigquery.began.wait(), 5)
    await turn(switch, monkeypatch, 60)
    assert bench.bigquery.cancelled == bench.bigquery.started
    assert [body["jobs"] for body in told(bench)] == [[], [(await bench.job(view)).id]]
    bench.bigquery.finish()
    await one.settle()
    await turn(switch, monkeypatch, 63)
    assert len(await disablings.open()) == 1
    await turn(switch, monkeypatch, 200)
    assert await disablings.open() == ()


async def test_a_job_that_is_not_sent_yet_stays_to_be_stopped(
    bench: Any, one: Any, switch: KillSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = bench.a_job()
    await one.jobs.add(job)
    disablings = await disable(bench)
    await turn(switch, monkeypatch, 1000)
    assert (await disablings.get(ONE)).jobs == {job.id: False}
    assert len(await disablings.open()) == 1


async def test_jobs_are_stopped_even_if_that_cannot_be_recorded(
    bench: Any, one: Any, switch: KillSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.bigquery.hold = True
    await one.gate.insert(bench.principal(), bench.request())
    await asyncio.wait_for(bench.bigquery.began.wait(), 5)
    await disable(bench)

    async def full(_event: Any) -> None:
        raise RecordingUnavailableError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(one.pipeline._recorder, "record", full)
        await turn(switch, monkeypatch)
    assert bench.bigquery.cancelled == bench.bigquery.started
    assert told(bench) == []
    await turn(switch, monkeypatch, 3)
    assert len(told(bench)) == 1


async def test_uploads_and_sessions_end_and_others_sessions_stay(
    bench: Any, switch: KillSwitch, uploads: FakeUploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions, kept = QuerySessions(bench.database), []
    for name in ("demo-agent", "other"):
        who = bench.principal(name)
        new = await sessions.of(who, bench.request(creates_session=True))
        assert new
        new = msgspec.structs.replace(
            new, upstream=f"ab-{name}==", location="EU", account=bench.bigquery.account
        )
        request = bench.request(session=new.id, creates_session=True)
        job = bench.a_job(principal=who, request=request)
        async with bench.database.begin() as connection:
            await sessions.take(connection, new, job, Left())
        await sessions.ended(job, well=True)
        kept.append(new.id)
    disablings = await disable(bench)
    uploads.fails = bench.outage()
    await turn(switch, monkeypatch, 1000)
    assert len(await disablings.open()) == 1
    uploads.fails = None
    await turn(switch, monkeypatch, 2000)
    assert uploads.ended == [{f"{ISSUER}|{SUBJECT}"}]
    assert bench.bigquery.texts == ["CALL BQ.ABORT_SESSION('ab-demo-agent==')"]
    assert bench.bigquery.queries[0].location == "EU"
    assert await sessions.of(bench.principal("other"), bench.request(session=kept[1]))
    with pytest.raises(NotFoundError, match="Not found: Session"):
        await sessions.of(bench.principal(), bench.request(session=kept[0]))


async def test_a_session_that_bigquery_could_not_be_told_to_end_is_known_until_it_was(
    bench: Any, switch: KillSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions, who = QuerySessions(bench.database), bench.principal()
    new = await sessions.of(who, bench.request(creates_session=True))
    assert new
    new = msgspec.structs.replace(new, upstream="ab==", account=bench.bigquery.account)
    job = bench.a_job(principal=who, request=bench.request(session=new.id, creates_session=True))
    async with bench.database.begin() as connection:
        await sessions.take(connection, new, job, Left())
    await sessions.ended(job, well=True)
    disablings = await disable(bench)
    bench.bigquery.start_fails = [bench.outage()]
    await turn(switch, monkeypatch, 1000)
    assert len(await disablings.open()) == 1
    assert bench.bigquery.texts == []
    # That BigQuery does not know it, or will not end it, is no reason to try for ever.
    bench.bigquery.start_fails = [InvalidQueryError("Session not found")]
    await turn(switch, monkeypatch, 2000)
    assert await sessions.of_agents([f"{ISSUER}|{SUBJECT}"]) == []


async def test_it_runs_by_itself(bench: Any, one: Any, switch: KillSwitch) -> None:
    job = await bench.waiting(one)
    running = asyncio.ensure_future(switch.run())
    await disable(bench)
    for _ in range(100):
        if (await bench.job(job)).state is JobState.DONE:
            break
        await asyncio.sleep(0.05)
    else:
        pytest.fail("not stopped")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
