from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.gate.jobs import JobState
from keystile.gate.own_jobs import OwnJobs, _read
from keystile.model.errors import InvalidRequestError
from keystile.wire.requests import JobsRequest


@pytest.fixture
def own(bench: Any) -> OwnJobs:
    return OwnJobs(bench.database)


async def ids(own: OwnJobs, bench: Any, **asked: Any) -> list[str]:
    found, _ = await own.page(bench.principal().key, "acme-shop", JobsRequest(**asked))
    return [job.job_id for job in found]


async def test_only_jobs_of_the_owner_and_the_project_are_listed(
    bench: Any, one: Any, own: OwnJobs
) -> None:
    await one.jobs.add(bench.a_job(job_id="mine"))
    other = bench.a_job(job_id="others", principal=bench.principal("stranger"))
    await one.jobs.add(other)
    assert await ids(own, bench) == ["mine"]
    assert await own.page(bench.principal().key, "other", JobsRequest()) == ((), "")
    assert await own.by_id(bench.principal().key, other.id) is None
    assert await own.newest(bench.principal().key, "acme-shop", "others") is None
    stranger = bench.principal("stranger").key
    assert await own.by_id(stranger, other.id) == other
    assert await own.newest(stranger, "acme-shop", "oth") == other


async def test_pages_follow_each_other_newest_first_and_none_is_lost(
    bench: Any, one: Any, own: OwnJobs
) -> None:
    for number in range(5):
        # Two of one moment lie on two pages.
        await one.jobs.add(bench.a_job(job_id=f"j{number}", created_at=float(number // 2)))
    found: list[str] = []
    token = ""
    for size in (2, 2, 1):
        asked = JobsRequest(page_token=token, max_results=2)
        jobs, token = await own.page(bench.principal().key, "acme-shop", asked)
        assert len(jobs) == size
        found += [job.job_id for job in jobs]
    assert token == ""
    assert found[0] == "j4"
    assert sorted(found) == [f"j{number}" for number in range(5)]


async def test_jobs_are_chosen_by_state_and_time(bench: Any, one: Any, own: OwnJobs) -> None:
    for state in JobState:
        await one.jobs.add(bench.a_job(job_id=state.value, state=state, created_at=5.0))
    await one.jobs.add(bench.a_job(job_id="later", state=JobState.DONE, created_at=7.0009))
    assert await ids(own, bench, state="pending") == ["pending"]
    assert sorted(await ids(own, bench, state="running")) == ["ready", "running"]
    assert await ids(own, bench, state="done") == ["later", "done"]
    assert await ids(own, bench, created_from=7000) == ["later"]
    assert await ids(own, bench, created_from=7001) == []
    assert await ids(own, bench, created_from=5001, created_until=7000) == ["later"]
    assert len(await ids(own, bench, created_until=6999)) == 4


async def test_a_page_has_a_bound(bench: Any, one: Any, own: OwnJobs) -> None:
    for number in range(51):
        await one.jobs.add(bench.a_job(job_id=f"j{number}"))
    assert len(await ids(own, bench)) == 50
    assert len(await ids(own, bench, max_results=1 << 40)) == 51


@given(st.text())
def test_no_text_breaks_the_reading_of_a_token(token: str) -> None:
    with pytest.raises(InvalidRequestError):
        _read(token)
