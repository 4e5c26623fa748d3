from __future__ import annotations

import asyncio
from typing import Any

import pytest

from keystile.gate.jobs import JobState
from keystile.gate.running import is_started, open_session, run_to_end
from keystile.model.errors import InvalidQueryError, RefusedError
from keystile.upstream.values import JobRef, UpstreamQuery

QUERY = UpstreamQuery(project="acme-shop", sql="SELECT 1")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keystile.gate.running._RETRY_SECONDS", 0.01)


@pytest.fixture
async def job(bench: Any, one: Any) -> Any:
    job = bench.a_job()
    await one.jobs.add(job)
    return job


async def test_a_job_that_takes_a_while_is_known_to_run(bench: Any, one: Any, job: Any) -> None:
    bench.bigquery.hold = True
    asyncio.get_running_loop().call_later(0.2, bench.bigquery.finish)
    status = await run_to_end(bench.bigquery, one.jobs, job, QUERY)
    assert status.done
    found = await one.jobs.get(job.id)
    assert found.state is JobState.RUNNING
    assert found.started_at is not None


async def test_an_outage_while_it_runs_is_waited_out(bench: Any, one: Any, job: Any) -> None:
    bench.bigquery.wait_fails = [bench.outage(), bench.outage()]
    assert (await run_to_end(bench.bigquery, one.jobs, job, QUERY)).done


async def test_an_outage_without_end_is_a_refusal(
    bench: Any, one: Any, job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keystile.gate.running._OUTAGE_SECONDS", 0.05)
    bench.bigquery.wait_fails = [bench.outage()] * 100
    with pytest.raises(RefusedError, match="cannot be reached"):
        await run_to_end(bench.bigquery, one.jobs, job, QUERY)


async def test_a_start_whose_answer_was_lost_is_found(bench: Any, one: Any, job: Any) -> None:
    bench.bigquery.start_fails = [bench.outage()]
    bench.bigquery.starts_anyway = True
    assert (await run_to_end(bench.bigquery, one.jobs, job, QUERY)).done
    assert bench.bigquery.started == [job.upstream_id]


async def test_a_start_that_never_arrived_is_a_refusal(bench: Any, one: Any, job: Any) -> None:
    bench.bigquery.start_fails = [bench.outage()]
    bench.bigquery.wait_fails = [bench.outage()]
    with pytest.raises(RefusedError, match="cannot be reached"):
        await run_to_end(bench.bigquery, one.jobs, job, QUERY)


async def test_bigquerys_own_refusal_to_start_passes_through(
    bench: Any, one: Any, job: Any
) -> None:
    bench.bigquery.start_fails = [InvalidQueryError("Unrecognized name: x")]
    with pytest.raises(InvalidQueryError):
        await run_to_end(bench.bigquery, one.jobs, job, QUERY)


async def test_bigquery_is_asked_until_it_answers(bench: Any, job: Any) -> None:
    reference = JobRef("acme-shop", job.upstream_id)
    bench.bigquery.wait_fails = [bench.outage()]
    assert not await is_started(bench.bigquery, reference)
    await bench.bigquery.start(QUERY, job.upstream_id)
    bench.bigquery.wait_fails = [bench.outage()]
    assert await is_started(bench.bigquery, reference)


async def test_a_session_is_begun_by_a_query_of_nothing(bench: Any) -> None:
    bench.bigquery.session = "theirs"
    found = await open_session(bench.bigquery, "acme-shop", "EU", {"keystile-agent": "a"})
    assert found == "theirs"
    (query,) = bench.bigquery.queries
    assert (query.sql, query.location, query.creates_session) == ("SELECT 1", "EU", True)
    assert bench.bigquery.started[0].startswith("keystile_session_")


async def test_a_session_that_does_not_begin_is_a_refusal(bench: Any) -> None:
    with pytest.raises(RefusedError, match="began no session"):
        await open_session(bench.bigquery, "acme-shop", "EU", {})
