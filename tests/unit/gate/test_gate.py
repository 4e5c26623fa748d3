from __future__ import annotations

import asyncio
from typing import Any

import pytest

from keystile.gate.jobs import JobState
from keystile.model.errors import (
    DuplicateError,
    InvalidQueryError,
    InvalidRequestError,
    KeystileError,
    NotFoundError,
    RecordingUnavailableError,
    RefusedError,
)
from keystile.model.schema import Field
from keystile.wire.requests import PageRequest
from keystile.wire.responses import JobError

NOW = PageRequest(timeout_ms=0)


async def done(bench: Any, replica: Any, **more: Any) -> Any:
    view = await replica.query(bench.principal(), bench.request(**more))
    assert view.state == "DONE"
    return view


async def test_another_principals_job_is_not_found_in_the_words_of_an_absent_one(
    bench: Any, one: Any
) -> None:
    view = await done(bench, one)
    stranger = bench.principal("stranger")
    for ask in (
        lambda id_: one.gate.job(stranger, "acme-shop", id_),
        lambda id_: one.gate.results(stranger, "acme-shop", id_, NOW),
        lambda id_: one.gate.cancel(stranger, "acme-shop", id_),
    ):
        said = []
        for id_ in (view.job_id, "absent"):
            with pytest.raises(NotFoundError) as error:
                await ask(id_)
            said.append(str(error.value).replace(id_, "ID"))
        assert said[0] == said[1]


async def test_the_display_name_alone_owns_nothing(bench: Any, one: Any) -> None:
    view = await done(bench, one)
    namesake = bench.principal()
    namesake = type(namesake)("https://other.example", "x", namesake.agent, namesake.session)
    with pytest.raises(NotFoundError):
        await one.gate.job(namesake, "acme-shop", view.job_id)


async def test_a_job_of_another_project_is_not_found(bench: Any, one: Any) -> None:
    view = await done(bench, one)
    with pytest.raises(NotFoundError):
        await one.gate.job(bench.principal(), "other-project", view.job_id)


async def test_a_job_id_is_used_once_by_its_owner(bench: Any, one: Any) -> None:
    await done(bench, one, job_id="j1")
    with pytest.raises(DuplicateError, match="Already Exists: Job acme-shop:j1"):
        await one.gate.insert(bench.principal(), bench.request(job_id="j1"))
    assert bench.kinds == ["intent", "outcome"]
    assert len(bench.bigquery.started) == 1
    await one.gate.insert(bench.principal("stranger"), bench.request(job_id="j1"))


async def test_two_inserts_of_one_job_id_at_the_same_time_make_one_job(
    bench: Any, one: Any
) -> None:
    asked = [one.gate.insert(bench.principal(), bench.request(job_id="j1")) for _ in range(5)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(answer, DuplicateError) for answer in answers) == 4
    await one.settle()
    assert len(bench.bigquery.started) == 1


async def test_a_repeated_request_id_gives_the_same_job(bench: Any, one: Any) -> None:
    first = await done(bench, one, request_id="r1")
    again = await done(bench, one, request_id="r1")
    assert again.job_id == first.job_id
    assert len(bench.bigquery.started) == 1


async def test_a_request_repeated_while_it_is_being_planned_runs_once(bench: Any, one: Any) -> None:
    two = await bench.replica()
    asked = [
        replica.query(bench.principal(), bench.request(request_id="r1"))
        for replica in (one, two, one)
    ]
    answers = await asyncio.gather(*asked)
    assert len({answer.job_id for answer in answers}) == 1
    assert len(bench.bigquery.started) == 1
    assert [answer.error for answer in answers] == [None] * 3
    # Each intent on record has its end there too.
    intents = [event.job for event in bench.events if event.kind == "intent"]
    assert sorted(intents) == sorted(e.job for e in bench.events if e.kind == "outcome")


async def test_a_request_id_is_its_owners_own_and_ends_after_15_minutes(
    bench: Any, one: Any
) -> None:
    first = await done(bench, one, request_id="r1")
    job = await bench.job(first)
    key, project = job.principal.key, "acme-shop"
    assert await one.jobs.by_request(key, project, "r1", job.created_at + 899) is not None
    assert await one.jobs.by_request(key, project, "r1", job.created_at + 901) is None
    other = await one.query(bench.principal("stranger"), bench.request(request_id="r1"))
    assert other.job_id != first.job_id


async def test_query_gives_a_running_job_when_its_time_is_over(bench: Any, one: Any) -> None:
    bench.bigquery.hold = True
    view = await one.query(bench.principal(), bench.request(timeout_ms=50))
    assert view.state == "RUNNING"
    results = await one.gate.results(bench.principal(), "acme-shop", view.job_id, NOW)
    assert not results.job.done
    assert results.rows == ()
    bench.bigquery.finish()
    await one.settle()
    assert (await one.gate.job(bench.principal(), "acme-shop", view.job_id)).done


async def test_pages_follow_each_other_and_each_is_on_record(
    bench: Any, one: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keystile.gate.outcomes.FIRST_PAGE_ROWS", 2)
    monkeypatch.setattr("keystile.gate.outcomes._WITH_THE_END", 2)
    view = await done(bench, one)
    principal, token, got = bench.principal(), "", []
    recorded = [["outcome"], ["outcome", "page"]]
    for kinds in recorded:
        page = PageRequest(page_token=token, max_results=2)
        results = await one.gate.results(principal, "acme-shop", view.job_id, page)
        got += [bytes(row) for row in results.rows]
        token = results.page_token
        assert bench.kinds[1:] == kinds
    assert token == ""
    assert len(got) == 3
    assert bench.events[-1].body["start"] == 2


async def test_a_page_read_again_is_not_recorded_again(
    bench: Any, one: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keystile.gate.outcomes.FIRST_PAGE_ROWS", 1)
    monkeypatch.setattr("keystile.gate.outcomes._WITH_THE_END", 1)
    view = await done(bench, one)
    for _ in range(2):
        page = PageRequest(start_index=1)
        await one.gate.results(bench.principal(), "acme-shop", view.job_id, page)
    assert bench.kinds == ["intent", "outcome", "page"]


async def test_rows_that_cannot_be_recorded_are_not_released(
    bench: Any, one: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keystile.gate.outcomes.FIRST_PAGE_ROWS", 1)
    monkeypatch.setattr("keystile.gate.outcomes._WITH_THE_END", 1)
    view = await done(bench, one)
    await one.log.close()
    page = PageRequest(start_index=1)
    with pytest.raises(RecordingUnavailableError):
        await one.gate.results(bench.principal(), "acme-shop", view.job_id, page)


async def test_a_page_token_of_another_job_is_refused(
    bench: Any, one: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keystile.gate.reading.FIRST_PAGE_ROWS", 1)
    tokens = []
    for _ in range(2):
        view = await done(bench, one)
        results = await one.gate.results(bench.principal(), "acme-shop", view.job_id, NOW)
        tokens.append((view.job_id, results.page_token))
    (first, _), (_, foreign) = tokens
    page = PageRequest(page_token=foreign)
    with pytest.raises(InvalidRequestError, match="belongs to another job"):
        await one.gate.results(bench.principal(), "acme-shop", first, page)


async def test_the_first_page_is_not_fetched_twice(bench: Any, one: Any) -> None:
    view = await done(bench, one)
    page = PageRequest(use_int64_timestamp=True)
    results = await one.gate.results(bench.principal(), "acme-shop", view.job_id, page)
    assert len(results.rows) == 3
    assert bench.bigquery.read == [0]


async def test_a_page_with_times_is_fetched_again_for_who_wants_them_written_otherwise(
    bench: Any, one: Any
) -> None:
    schema = (Field("at", "STRUCT", fields=(Field("seen", "TIMESTAMP"),)),)
    bench.bigquery.schema = bench.planner.schema = schema
    view = await done(bench, one, use_int64_timestamp=True)
    read = len(bench.bigquery.read)
    other = PageRequest(use_int64_timestamp=False)
    await one.gate.results(bench.principal(), "acme-shop", view.job_id, other)
    assert bench.bigquery.read == [*[0] * read, 0]


async def test_who_waits_here_for_a_job_gets_what_was_stored(bench: Any, one: Any) -> None:
    view = await done(bench, one)
    assert view == await one.gate.job(bench.principal(), "acme-shop", view.job_id)


async def test_an_agent_cannot_flood_the_people_who_approve(
    bench: Any, one: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keystile.gate.admission._MOST_WAITING", 2)
    first, _ = [await bench.waiting(one) for _ in range(2)]
    with pytest.raises(RefusedError, match="2 of your queries wait for approval already"):
        await bench.waiting(one)
    assert len(await bench.approvals.list()) == 2
    assert bench.kinds[-1] == "refused"
    await one.gate.insert(bench.principal("stranger"), bench.request())
    await one.gate.cancel(bench.principal(), "acme-shop", first.job_id)
    await bench.waiting(one)


async def test_cancelling_what_waits_ends_it_and_its_requests(bench: Any, one: Any) -> None:
    view = await bench.waiting(one)
    cancelled = await one.gate.cancel(bench.principal(), "acme-shop", view.job_id)
    assert cancelled.state == "DONE"
    assert cancelled.error.reason == "stopped"
    assert [request.state for request in await bench.approvals.list()] == ["cancelled"]
    assert bench.kinds[-2:] == ["approval_decided", "outcome"]
    await one.watch()
    assert bench.bigquery.started == []


async def test_cancelling_what_runs_asks_bigquery(bench: Any, one: Any) -> None:
    bench.bigquery.hold = True
    view = await one.gate.insert(bench.principal(), bench.request())
    await bench.bigquery.began.wait()
    await one.gate.cancel(bench.principal(), "acme-shop", view.job_id)
    assert bench.bigquery.cancelled == bench.bigquery.started


async def test_cancelling_what_is_not_sent_yet_is_no_error(bench: Any, one: Any) -> None:
    job, _query = await one.pipeline.accept(bench.principal(), bench.request())
    view = await one.gate.cancel(bench.principal(), "acme-shop", job.job_id)
    assert view.state == "RUNNING"


async def test_cancelling_what_is_done_changes_nothing(bench: Any, one: Any) -> None:
    view = await done(bench, one)
    again = await one.gate.cancel(bench.principal(), "acme-shop", view.job_id)
    assert again.error is None
    assert (await bench.job(view)).state is JobState.DONE


async def test_cancelling_stops_the_writing_of_a_result_too(bench: Any, one: Any) -> None:
    request = bench.request(into=bench.into)
    job, query = await one.pipeline.accept(bench.principal(), request)
    await bench.bigquery.start(query, job.upstream_id)
    bench.bigquery.hold = True
    bench.bigquery.began.clear()
    one.duties.carry(job, None)
    await bench.bigquery.began.wait()
    assert len(bench.bigquery.started) == 2
    await one.gate.cancel(bench.principal(), "acme-shop", job.job_id)
    assert bench.bigquery.cancelled == bench.bigquery.started
    bench.bigquery.finish()
    await one.settle()


@pytest.mark.parametrize(
    "wrong", [NotFoundError("Not found: Table t"), InvalidQueryError("Unrecognized name: x")]
)
async def test_a_wrong_query_fails_where_its_rows_are_asked_for_and_not_where_it_is_sent(
    bench: Any, one: Any, wrong: KeystileError
) -> None:
    bench.planner.decide_fails = wrong
    view = await one.gate.insert(bench.principal(), bench.request(job_id="j1"))
    assert (view.state, view.job_id) == ("DONE", "j1")
    assert view.error == JobError.of(wrong)
    assert view.statement == ""
    assert await one.gate.job(bench.principal(), "acme-shop", "j1") == view
    results = await one.gate.results(bench.principal(), "acme-shop", "j1", NOW)
    assert (results.job, [*results.rows]) == (view, [])
    with pytest.raises(NotFoundError, match="Job acme-shop:j1"):
        await one.gate.job(bench.principal("stranger"), "acme-shop", "j1")
    with pytest.raises(DuplicateError):
        await one.gate.insert(bench.principal(), bench.request(job_id="j1"))


async def test_a_wrong_query_does_not_run_later_when_it_would_be_right(
    bench: Any, one: Any
) -> None:
    bench.planner.decide_fails = NotFoundError("Not found: Table t")
    await one.gate.insert(bench.principal(), bench.request(job_id="j1"))
    bench.planner.decide_fails = None
    bench.lease_seconds = 0.0
    await one.take_over()
    view = await one.gate.job(bench.principal(), "acme-shop", "j1")
    assert (view.state, view.error is None) == ("DONE", False)
    assert not bench.bigquery.jobs


async def test_what_makes_no_job_of_a_wrong_query_says_so_at_once(bench: Any, one: Any) -> None:
    principal = bench.principal()
    bench.planner.decide_fails = NotFoundError("Not found: Table t")
    with pytest.raises(NotFoundError, match="Table t"):
        await one.gate.insert(principal, bench.request(dry_run=True))
    with pytest.raises(NotFoundError, match="Table t"):
        await one.query(principal, bench.request())
    bench.planner.decide_fails = RefusedError("refused by policy")
    with pytest.raises(RefusedError, match="by policy"):
        await one.gate.insert(principal, bench.request(job_id="j1"))
    with pytest.raises(NotFoundError):
        await one.gate.job(principal, "acme-shop", "j1")
