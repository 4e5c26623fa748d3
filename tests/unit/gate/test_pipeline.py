from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from keystile.analysis.statement import Earlier
from keystile.gate.jobs import JobState
from keystile.gate.sessions import Left
from keystile.model.decision import Effect
from keystile.model.errors import (
    DuplicateError,
    InvalidQueryError,
    KeystileError,
    OverloadedError,
    PolicyUnreadableError,
    RecordingUnavailableError,
    RefusedError,
    StoppedError,
    StoreUnavailableError,
)
from keystile.model.schema import Field
from keystile.upstream.values import UpstreamQuery
from keystile.wire.into import into_of
from keystile.wire.responses import job_resource, to_bytes

INTO = into_of("acme-shop", {"destinationTable": {"datasetId": "lab", "tableId": "kept"}})


async def test_a_refusal_is_on_record_before_it_is_raised(bench: Any, one: Any) -> None:
    bench.planner.effect = Effect.DENY
    with pytest.raises(RefusedError, match=r"raw numbers need a steward \(rule `raw-ssn`\)"):
        await one.gate.insert(bench.principal(), bench.request("DROP TABLE shop.customers"))
    (event,) = bench.events
    assert event.kind == "refused"
    assert event.body["sql"] == "DROP TABLE shop.customers"
    assert event.body["decision"]["effect"] == "deny"
    assert bench.bigquery.started == []


async def test_a_refusal_before_any_decision_is_on_record_too(bench: Any, one: Any) -> None:
    bench.planner.decide_fails = InvalidQueryError("Syntax error: Unexpected end at [1:7]")
    with pytest.raises(InvalidQueryError):
        await one.query(bench.principal(), bench.request("SELECT"))
    (event,) = bench.events
    assert event.body["message"] == "Syntax error: Unexpected end at [1:7]"
    assert "decision" not in event.body


async def test_an_overload_is_not_recorded_as_a_refusal(bench: Any, one: Any) -> None:
    bench.planner.decide_fails = OverloadedError("too many queries wait")
    with pytest.raises(OverloadedError):
        await one.gate.insert(bench.principal(), bench.request())
    assert bench.events == []


async def test_a_refusal_that_cannot_be_recorded_says_so(bench: Any, one: Any) -> None:
    await one.log.close()
    bench.planner.effect = Effect.DENY
    with pytest.raises(RecordingUnavailableError):
        await one.gate.insert(bench.principal(), bench.request())


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


@pytest.mark.parametrize("opened", [True, False])
async def test_a_query_that_nobody_could_be_asked_about_never_runs(
    bench: Any, one: Any, *, opened: bool
) -> None:
    really_open = bench.approvals.open

    async def open_and_break(**fields: Any) -> Any:
        request = await really_open(**fields) if opened else None
        await one.log.close()
        if not opened:
            raise RecordingUnavailableError("the store is out too")
        return request

    bench.approvals.open = open_and_break
    with pytest.raises(RecordingUnavailableError):
        await bench.waiting(one, job_id="j1")
    bench.approvals.open = really_open
    two = await bench.replica()
    await two.watch()
    asked = [request.state for request in await bench.approvals.list()]
    assert asked == (["cancelled"] if opened else [])
    assert bench.bigquery.started == []
    job = await two.jobs.owned(bench.principal().key, "acme-shop", "j1")
    assert job.state is JobState.DONE
    assert job.error is not None


async def test_the_outcome_is_on_record_before_the_job_is_done(bench: Any, one: Any) -> None:
    view = await one.query(bench.principal(), bench.request())
    assert view.state == "DONE"
    assert bench.kinds == ["intent", "outcome"]
    assert bench.events[1].body["rows"] == bench.bigquery.rows_of


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


@pytest.mark.parametrize(
    "passing",
    [OverloadedError("too many"), StoreUnavailableError("locked"), RecordingUnavailableError("x")],
    ids=lambda error: type(error).__name__,
)
async def test_what_passes_by_itself_costs_no_approval(bench: Any, passing: KeystileError) -> None:
    bench.lease_seconds = 0.0
    one = await bench.replica()
    view = await bench.waiting(one)
    await bench.vote()
    bench.planner.plan_fails = passing
    with pytest.raises(type(passing)):
        await one.watch()
    assert (await bench.job(view)).state is not JobState.DONE
    bench.planner.plan_fails = None
    await one.take_over()
    await one.watch()
    assert (await bench.job(view)).outcome is not None
    assert len(bench.bigquery.started) == 1


async def test_a_policy_that_cannot_be_read_here_costs_no_approval(bench: Any) -> None:
    bench.lease_seconds = 0.0
    one = await bench.replica()
    view = await bench.waiting(one)
    await bench.vote()
    bench.planner.decide_fails = PolicyUnreadableError("version 3 cannot be read")
    with pytest.raises(PolicyUnreadableError):
        await one.watch()
    before = bench.kinds
    assert "refused" not in before
    with pytest.raises(PolicyUnreadableError):
        await one.query(bench.principal(), bench.request())
    assert bench.kinds == [*before, "refused"]
    bench.planner.decide_fails = None
    await one.take_over()
    await one.watch()
    assert (await bench.job(view)).outcome is not None
    assert len(bench.bigquery.started) == 1


async def test_a_locked_store_does_not_fail_what_bigquery_runs(bench: Any) -> None:
    bench.lease_seconds = 0.0
    one = await bench.replica()
    real, locked = one.jobs.move, [StoreUnavailableError("locked")]

    async def move(*given: Any, **more: Any) -> None:
        if locked:
            raise locked.pop()
        await real(*given, **more)

    one.jobs.move = move
    bench.bigquery.hold = True
    view = await one.gate.insert(bench.principal(), bench.request())
    asyncio.get_running_loop().call_later(0.2, bench.bigquery.finish)
    with pytest.raises(StoreUnavailableError):
        await one.settle()
    await one.take_over()
    assert (await bench.job(view)).outcome is not None
    assert len(bench.bigquery.started) == 1


async def test_an_outage_after_its_end_does_not_fail_what_has_run(
    bench: Any, one: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keystile.gate.running._RETRY_SECONDS", 0.01)
    real, outages = bench.bigquery.rows, [bench.outage(), bench.outage()]

    async def rows(*given: Any, **asked: Any) -> Any:
        if outages:
            raise outages.pop()
        return await real(*given, **asked)

    bench.bigquery.rows = rows
    view = await one.query(bench.principal(), bench.request())
    assert view.error is None
    assert bench.kinds == ["intent", "outcome"]


async def test_a_dry_run_is_recorded_and_makes_no_job(bench: Any, one: Any) -> None:
    view = await one.gate.insert(bench.principal(), bench.request(dry_run=True))
    assert view.done
    assert view.bytes_processed == 1000
    assert bench.kinds == ["intent"]
    assert bench.bigquery.started == []


async def test_a_dry_run_of_what_needs_approval_asks_nobody(bench: Any, one: Any) -> None:
    await bench.waiting(one, dry_run=True)
    assert await bench.approvals.list() == ()


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


# Taking over what a dead replica left.


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


async def test_what_a_job_has_written_is_asked_for_anew(bench: Any, one: Any) -> None:
    job = bench.a_job(request=bench.request(into=bench.into))
    facts = msgspec.structs.replace(job.plan.facts, writes=(bench.into.table,))
    job = msgspec.structs.replace(job, plan=msgspec.structs.replace(job.plan, facts=facts))
    await one.jobs.add(job)
    await one.pipeline.carry(job, UpstreamQuery(project="acme-shop", sql=bench.rewritten))
    assert bench.bigquery.forgotten == [bench.into.table]


async def in_session(bench: Any, one: Any, **more: Any) -> Any:
    bench.bigquery.session = "theirs"
    return await one.query(bench.principal(), bench.request(**more))


async def test_a_session_is_begun_once_and_goes_on(bench: Any, one: Any) -> None:
    text = Earlier("made\n;\n", "sent\n;\n")
    bench.planner.left = Left(text)
    first = await in_session(bench, one, creates_session=True)
    assert first.session
    assert "theirs" not in to_bytes(job_resource(first)).decode()
    bench.planner.left = Left()
    second = await in_session(bench, one, session=first.session)
    assert second.session == first.session
    began, _, again = bench.planner.sessions[0], *bench.planner.sessions[-2:]
    assert (began.upstream, again.upstream, again.texts) == ("theirs", "theirs", (text,))
    begun = [job for job in bench.bigquery.started if job.startswith("keystile_session_")]
    assert len(begun) == 1
    asked = [event.body["request"] for event in bench.events if event.kind == "intent"]
    assert [one["session"] for one in asked] == [first.session] * 2


async def test_a_refused_query_begins_no_session(bench: Any, one: Any) -> None:
    bench.planner.effect = Effect.DENY
    with pytest.raises(RefusedError):
        await in_session(bench, one, creates_session=True)
    assert (bench.bigquery.started, bench.kinds) == ([], ["refused"])


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"creates_session": True, "dry_run": True}, "begins no session"),
        ({"creates_session": True, "into": INTO}, "exclude each other"),
    ],
)
async def test_what_no_session_does_is_refused(
    bench: Any, one: Any, more: dict[str, Any], said: str
) -> None:
    with pytest.raises(RefusedError, match=said):
        await in_session(bench, one, **more)
    assert (bench.bigquery.started, bench.kinds) == ([], ["refused"])


async def test_what_people_would_unlock_waits_in_no_session(bench: Any, one: Any) -> None:
    first = await in_session(bench, one, creates_session=True)
    bench.planner.ask_people()
    for more in ({"creates_session": True}, {"session": first.session}):
        with pytest.raises(RefusedError, match="for which a session does not wait"):
            await in_session(bench, one, **more)
    assert not await bench.approvals.list()


async def test_a_second_job_waits_for_the_first_ones_end(bench: Any, one: Any) -> None:
    first = await in_session(bench, one, creates_session=True)
    bench.bigquery.hold = True
    await one.gate.insert(bench.principal(), bench.request(session=first.session))
    with pytest.raises(RefusedError, match="another job runs in this session"):
        await one.gate.insert(bench.principal(), bench.request(session=first.session))
    assert bench.kinds[-1] == "refused"
    bench.bigquery.finish()
    await one.settle()
    await in_session(bench, one, session=first.session)


async def test_a_job_id_that_is_taken_gives_the_session_back(bench: Any, one: Any) -> None:
    first = await in_session(bench, one, creates_session=True, job_id="j1")
    await one.log.close()
    with pytest.raises(RecordingUnavailableError):
        await in_session(bench, one, session=first.session)
    two = await bench.replica()
    await in_session(bench, two, session=first.session)


async def test_two_jobs_that_come_to_a_session_at_once_are_one_after_the_other(
    bench: Any, one: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await in_session(bench, one, creates_session=True)
    sessions = one.pipeline._sessions
    refuse_busy = sessions.refuse_busy

    async def overtaken(session: Any, job: Any) -> None:
        await refuse_busy(session, job)
        monkeypatch.setattr(sessions, "refuse_busy", refuse_busy)
        await in_session(bench, one, session=first.session)

    monkeypatch.setattr(sessions, "refuse_busy", overtaken)
    with pytest.raises(RefusedError, match="another job runs in this session"):
        await in_session(bench, one, session=first.session, job_id="late")
    ended = bench.events[-1]
    assert (ended.kind, ended.body["state"]) == ("outcome", "failed")
    await one.jobs.refuse_duplicate(bench.principal().key, "acme-shop", "late")  # there is none


async def test_a_failure_half_way_ends_the_session(bench: Any, one: Any) -> None:
    bench.planner.left = Left(Earlier("made", "sent"), several=True)
    first = await in_session(bench, one, creates_session=True)
    bench.bigquery.error = InvalidQueryError("Division by zero")
    assert (await in_session(bench, one, session=first.session)).error is not None
    bench.bigquery.error = None
    with pytest.raises(RefusedError, match="it is not known what is there"):
        await in_session(bench, one, session=first.session)


async def test_a_job_of_a_session_was_planned_anew_on_other_tables(bench: Any) -> None:
    bench.lease_seconds = 0.0
    one = await bench.replica()
    bench.bigquery.session = "theirs"
    job, _query = await one.pipeline.accept(bench.principal(), bench.request(creates_session=True))
    await one.die()
    bench.planner.column = "other"
    two = await bench.replica()
    await two.take_over()
    found = await two.jobs.get(job.id)
    assert "what the query reads has changed" in found.error.message
    assert job.upstream_id not in bench.bigquery.started


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
