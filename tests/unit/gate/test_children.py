from __future__ import annotations

from typing import Any

import msgspec
import pytest

from keystile.gate.statements import ScriptStatement
from keystile.model.errors import (
    InvalidQueryError,
    NotFoundError,
    RecordingUnavailableError,
    RefusedError,
)
from keystile.model.facts import Action
from keystile.model.schema import Field
from keystile.upstream.values import JobRef, ScriptJob
from keystile.wire.job_resources import job_resource
from keystile.wire.requests import JobsRequest, PageRequest
from keystile.wire.responses import JobView, RowsChanged
from keystile.wire.scripts import frame_at

NOW = PageRequest(timeout_ms=0)
SQL = "SELECT id FROM t; DELETE FROM t"
SELECT = ScriptStatement(
    "SELECT id FROM t",
    "SELECT id FROM (SELECT masked)",
    start=0,
    end=16,
    at=0,
    dynamic=False,
    statement="SELECT",
    actions=(Action.READ,),
    schema=(Field("id", "INT64"),),
)
DELETE = ScriptStatement(
    "DELETE FROM t",
    "DELETE FROM t",
    start=18,
    end=31,
    at=32,
    dynamic=False,
    statement="DELETE",
    actions=(Action.WRITE,),
)


def job(number: int, runs: str = SELECT.runs, **more: Any) -> ScriptJob:
    values: dict[str, Any] = {
        "job": JobRef("acme-shop", f"script_job_upstream_{number}", "US"),
        "done": True,
        "sql": runs,
        "statement": True,
        "statement_type": runs.partition(" ")[0],
        "created": 100.0 + number,
        "started": 200.0 + number,
        "ended": 300.0 + number,
    }
    return ScriptJob(**(values | more))


@pytest.fixture(autouse=True)
def script(bench: Any) -> None:
    bench.planner.statements = (SELECT, DELETE)
    bench.bigquery.of_script = [
        job(0),
        job(1, DELETE.runs, changed=RowsChanged(deleted=3)),
    ]


async def ran(bench: Any, replica: Any) -> JobView:
    view = await replica.query(bench.principal(), bench.request(SQL))
    return await replica.gate.job(bench.principal(), "acme-shop", view.job_id)


async def children(bench: Any, replica: Any, script: JobView, **more: Any) -> list[JobView]:
    """Give the statements of a script, the first one first."""
    asked = JobsRequest(parent=script.job_id, **more)
    listed = await replica.gate.jobs(bench.principal(), "acme-shop", asked)
    return list(listed.jobs)[::-1]


async def rows(bench: Any, replica: Any, child: JobView) -> Any:
    return await replica.gate.results(bench.principal(), "acme-shop", child.job_id, NOW)


async def test_statements_are_there_when_their_script_is_done(bench: Any, one: Any) -> None:
    whole = await ran(bench, one)
    select, delete = await children(bench, one, whole)
    assert (whole.children, whole.parent) == (2, "")
    assert [select.sql, delete.sql] == ["SELECT id FROM t", "DELETE FROM t"]
    assert {select.parent, delete.parent} == {whole.job_id}
    assert (select.started, select.ended, select.state) == (200.0, 300.0, "DONE")
    assert delete.changed == RowsChanged(deleted=3)
    assert bench.bigquery.listed == [(await bench.job(whole)).upstream_id]
    # A list without a parent has none of them.
    listed = await one.gate.jobs(bench.principal(), "acme-shop", JobsRequest())
    assert [each.job_id for each in listed.jobs] == [whole.job_id]


async def test_nothing_of_upstream_is_told(bench: Any, one: Any) -> None:
    for child in await children(bench, one, await ran(bench, one)):
        told = repr(job_resource((await rows(bench, one, child)).job))
        assert "upstream" not in told
        assert "keystile" not in told
        assert "masked" not in told


async def test_rows_of_a_statement_are_on_record_before_they_are_released(
    bench: Any, one: Any
) -> None:
    whole = await ran(bench, one)
    select, _ = await children(bench, one, whole)
    assert bench.kinds == ["intent", "outcome"]
    for _ in range(2):
        results = await rows(bench, one, select)
        assert len(results.rows) == len(bench.bigquery.rows_of)
        assert results.job.schema == SELECT.schema
    assert bench.kinds == ["intent", "outcome"] * 2
    intent, outcome = bench.events[2:]
    assert intent.job == outcome.job != bench.events[0].job
    assert intent.body["sql"] == "SELECT id FROM t"
    assert intent.body["rewritten_sql"] == SELECT.runs
    assert intent.body["request"]["script"] == whole.job_id
    assert outcome.body["rows"] == bench.bigquery.rows_of
    assert (outcome.body["started_at"], outcome.body["ended_at"]) == (200.0, 300.0)


async def test_rows_that_cannot_be_recorded_are_not_released(bench: Any, one: Any) -> None:
    select, _ = await children(bench, one, await ran(bench, one))
    await one.log.close()
    with pytest.raises(RecordingUnavailableError):
        await rows(bench, one, select)
    two = await bench.replica()
    assert len((await rows(bench, two, select)).rows) == 3
    assert bench.kinds == ["intent", "outcome"] * 2


async def test_another_replica_goes_on_where_the_first_has_died(bench: Any, one: Any) -> None:
    whole = await ran(bench, one)
    (select, _), two = await children(bench, one, whole), await bench.replica()
    await one.die()
    again, _ = await children(bench, two, whole)
    assert again == select
    assert len((await rows(bench, two, select)).rows) == 3


async def test_two_replicas_find_them_once(bench: Any, one: Any) -> None:
    bench.bigquery.list_fails = [bench.outage()]
    whole = await ran(bench, one)
    assert (whole.children, whole.error) == (0, None)
    script, two = await bench.job(whole), await bench.replica()
    await one.gate._children.find(script)
    await two.gate._children.find(script)
    assert len(await children(bench, two, whole)) == 2


async def test_an_outage_at_the_end_of_a_script_does_not_lose_its_statements(
    bench: Any, one: Any
) -> None:
    bench.bigquery.list_fails = [bench.outage(), bench.outage()]
    whole = await ran(bench, one)
    with pytest.raises(RefusedError, match="cannot be reached"):
        await children(bench, one, whole)
    assert len(await children(bench, one, whole)) == 2
    assert (await one.gate.job(bench.principal(), "acme-shop", whole.job_id)).children == 2


async def test_statements_that_still_run_are_found_later(bench: Any, one: Any) -> None:
    done = bench.bigquery.of_script
    bench.bigquery.of_script = [done[0], msgspec.structs.replace(done[1], done=False)]
    whole = await ran(bench, one)
    assert await children(bench, one, whole) == []
    bench.bigquery.of_script = done
    assert len(await children(bench, one, whole)) == 2


async def test_an_error_of_a_statement_is_on_record_before_anybody_hears_of_it(
    bench: Any, one: Any
) -> None:
    failed = job(1, error=InvalidQueryError("Query error: XXX-XX-XXXX"))
    bench.bigquery.of_script = [job(0), failed]
    whole = await ran(bench, one)
    _, child = await children(bench, one, whole)
    assert child.error.message == "Query error: XXX-XX-XXXX"
    assert [event.kind for event in bench.events] == ["intent", "intent", "outcome", "outcome"]
    told = [event.body["error"]["message"] for event in bench.events if event.body.get("error")]
    assert told == ["Query error: XXX-XX-XXXX"]


async def test_an_error_that_cannot_be_recorded_is_not_told(bench: Any, one: Any) -> None:
    bench.bigquery.list_fails = [bench.outage()]
    bench.bigquery.of_script = [job(0, error=InvalidQueryError("Query error: secret"))]
    whole = await ran(bench, one)
    await one.log.close()
    with pytest.raises(RecordingUnavailableError):
        await children(bench, one, whole)
    assert (await bench.job(whole)).children == 0


async def test_rows_of_other_columns_than_were_decided_on_are_withheld(
    bench: Any, one: Any
) -> None:
    other = msgspec.structs.replace(SELECT, schema=(Field("id", "STRING"),))
    bench.planner.statements = (other, DELETE)
    select, _ = await children(bench, one, await ran(bench, one))
    with pytest.raises(RefusedError, match="withheld"):
        await rows(bench, one, select)
    assert bench.kinds == ["intent", "outcome"]


async def test_rows_that_bigquery_keeps_no_more_are_absent_under_the_agents_name(
    bench: Any, one: Any
) -> None:
    select, _ = await children(bench, one, await ran(bench, one))
    bench.bigquery.jobs.clear()
    with pytest.raises(NotFoundError, match=select.job_id) as error:
        await rows(bench, one, select)
    assert "upstream" not in str(error.value)


async def test_the_result_of_an_unread_statement_has_no_name(bench: Any, one: Any) -> None:
    select, _ = await children(bench, one, await ran(bench, one))
    assert (select.destination, select.schema, select.total_rows) == (None, None, None)
    named = (await rows(bench, one, select)).job.destination
    (id_,) = {event.job for event in bench.events[2:]}
    assert named.table == f"anon{id_}"
    unread = msgspec.structs.replace((await bench.job(select)).outcome, unread=True)
    await one.jobs.widen_record(await bench.job(select), unread)
    assert await one.gate._results.job(bench.principal().key, named) is None


async def test_a_script_that_waits_or_was_denied_has_none(bench: Any, one: Any) -> None:
    view = await bench.waiting(one)
    assert await children(bench, one, view) == []
    await bench.vote(approve=False)
    await one.watch()
    assert await children(bench, one, view) == []
    assert bench.bigquery.listed == []


async def test_of_other_jobs_nothing_is_asked(bench: Any, one: Any) -> None:
    bench.planner.statements = ()
    whole = await ran(bench, one)
    assert await children(bench, one, whole) == []
    assert bench.bigquery.listed == []


async def test_another_agents_statements_are_absent(bench: Any, one: Any) -> None:
    whole = await ran(bench, one)
    child, _ = await children(bench, one, whole)
    stranger = bench.principal("stranger")
    for ask in (
        lambda: one.gate.jobs(stranger, "acme-shop", JobsRequest(parent=whole.job_id)),
        lambda: one.gate.job(stranger, "acme-shop", child.job_id),
        lambda: one.gate.results(stranger, "acme-shop", child.job_id, NOW),
        lambda: one.gate.cancel(stranger, "acme-shop", child.job_id),
    ):
        with pytest.raises(NotFoundError):
            await ask()


async def test_cancelling_a_statement_asks_bigquery_nothing(bench: Any, one: Any) -> None:
    child, _ = await children(bench, one, await ran(bench, one))
    assert (await one.gate.cancel(bench.principal(), "acme-shop", child.job_id)).done
    assert bench.bigquery.cancelled == []


async def test_pages_of_statements_follow_each_other_also_within_one_millisecond(
    bench: Any, one: Any
) -> None:
    bench.bigquery.of_script = [job(n, created=7.0) for n in range(12)]
    whole, token, found = await ran(bench, one), "", []
    while not found or token:
        asked = JobsRequest(parent=whole.job_id, max_results=5, page_token=token)
        listed = await one.gate.jobs(bench.principal(), "acme-shop", asked)
        found += [each.job_id for each in listed.jobs]
        token = listed.page_token
    assert [int(id_.rpartition("_")[2]) for id_ in found] == [*range(11, -1, -1)]


async def test_a_statement_that_is_not_recognised_is_left_out(bench: Any, one: Any) -> None:
    inside = frame_at((1, 1), SELECT.runs)
    bench.bigquery.of_script = [
        job(0, "SELECT something_else"),
        job(1, statement=False),
        job(2, frames=(msgspec.structs.replace(inside, procedure="p.d.r"),)),
        job(3),
    ]
    whole = await ran(bench, one)
    assert whole.children == 1
    (child,) = await children(bench, one, whole)
    assert child.started == 203.0
