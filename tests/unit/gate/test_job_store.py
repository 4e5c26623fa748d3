from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from keystile.gate.jobs import JobOutcome, JobState
from keystile.model.errors import DuplicateError, NotFoundError, RefusedError
from keystile.wire.responses import JobError

OUTCOME = JobOutcome((), 3, 10, cache_hit=True, recorded_rows=3)


async def test_a_job_comes_back_as_it_was(bench: Any, one: Any) -> None:
    job = bench.a_job()
    await one.jobs.add(job)
    assert await one.jobs.get(job.id) == job
    assert await one.jobs.owned(job.principal.key, "acme-shop", job.job_id) == job


async def test_the_name_at_bigquery_is_fixed_and_is_not_the_agents_word(bench: Any) -> None:
    job = bench.a_job(job_id="j1")
    assert job.upstream_id == f"keystile_{job.id}"
    assert bench.a_job(job_id="j1").upstream_id != job.upstream_id


async def test_a_job_id_is_unique_for_its_owner_and_project(bench: Any, one: Any) -> None:
    await one.jobs.add(bench.a_job(job_id="j1"))
    with pytest.raises(DuplicateError):
        await one.jobs.add(bench.a_job(job_id="j1"))
    await one.jobs.add(bench.a_job(job_id="j1", principal=bench.principal("stranger")))


async def test_an_unknown_job_is_not_found(bench: Any, one: Any) -> None:
    with pytest.raises(NotFoundError, match="Not found: Job acme-shop:j1"):
        await one.jobs.owned(bench.principal().key, "acme-shop", "j1")


async def test_done_is_final(bench: Any, one: Any) -> None:
    job = bench.a_job()
    await one.jobs.add(job)
    error = JobError.of(RefusedError("denied"))
    await one.jobs.finish(job, 5.0, error=error, outcome=None)
    await one.jobs.finish(job, 6.0, error=None, outcome=OUTCOME)
    await one.jobs.move(job, state=JobState.READY)
    found = await one.jobs.get(job.id)
    assert (found.state, found.error, found.outcome) == (JobState.DONE, error, None)
    assert found.ended_at == 5.0


async def test_only_a_pending_job_can_be_taken_and_only_once(bench: Any, one: Any) -> None:
    two = await bench.replica()
    job = bench.a_job(state=JobState.PENDING)
    await one.jobs.add(job)
    assert await one.jobs.take(job, job.created_at)
    assert not await two.jobs.take(job, job.created_at)
    assert (await one.jobs.get(job.id)).state is JobState.READY


async def test_a_free_job_is_claimed_once(bench: Any, one: Any) -> None:
    two = await bench.replica()
    job = bench.a_job(state=JobState.RUNNING)
    await one.jobs.add(job)
    later = job.created_at + bench.lease_seconds + 1
    assert await two.jobs.claim(job.created_at, (JobState.RUNNING,)) == []
    assert await two.jobs.claim(later, (JobState.PENDING,)) == []
    assert [found.id for found in await two.jobs.claim(later, (JobState.RUNNING,))] == [job.id]
    assert await one.jobs.claim(later, (JobState.RUNNING,)) == []


async def test_only_the_holder_renews_a_lease(bench: Any, one: Any) -> None:
    two = await bench.replica()
    job = bench.a_job(state=JobState.RUNNING)
    await one.jobs.add(job)
    later = job.created_at + bench.lease_seconds + 1
    await two.jobs.renew([job.id], later)
    assert len(await two.jobs.claim(later, (JobState.RUNNING,))) == 1


async def test_looking_for_free_jobs_kept_writers_waiting(one: Any, tmp_path: Path) -> None:
    """Each gateway looks every two seconds, and mostly there is nothing for it to write."""
    file = tmp_path / "keystile.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with asyncio.timeout(1):
            assert await one.jobs.claim(0.0, (JobState.READY, JobState.RUNNING)) == []
            await one.jobs.renew([], 0.0)
        other.execute("COMMIT")


async def test_the_width_of_the_record_is_kept(bench: Any, one: Any) -> None:
    job = bench.a_job()
    await one.jobs.add(job)
    await one.jobs.finish(job, 5.0, error=None, outcome=OUTCOME)
    wider = JobOutcome((), 9, 10, cache_hit=True, recorded_rows=9)
    await one.jobs.widen_record(job, wider)
    assert (await one.jobs.get(job.id)).outcome == wider
