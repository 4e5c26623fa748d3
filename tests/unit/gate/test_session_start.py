from __future__ import annotations

from typing import Any

import pytest

from keystile.analysis.statement import Earlier
from keystile.gate.sessions import Left
from keystile.model.decision import Effect
from keystile.model.errors import InvalidQueryError, RecordingUnavailableError, RefusedError
from keystile.wire.into import into_of
from keystile.wire.job_resources import job_resource
from keystile.wire.responses import to_bytes

INTO = into_of("acme-shop", {"destinationTable": {"datasetId": "lab", "tableId": "kept"}})


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
