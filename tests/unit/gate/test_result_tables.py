from __future__ import annotations

from typing import Any

import msgspec

from keystile.gate.jobs import JobOutcome
from keystile.gate.own_jobs import OwnJobs
from keystile.gate.result_tables import ResultTables, result_table
from keystile.model.schema import TableId

OUTCOME = JobOutcome((), 3, 10, cache_hit=False, recorded_rows=3)


async def test_a_result_is_found_by_its_owner_alone(bench: Any, one: Any) -> None:
    results = ResultTables(OwnJobs(bench.database))
    job = bench.a_job()
    await one.jobs.add(job)
    owner, table = job.principal.key, result_table(job)
    assert await results.job(owner, table) is None  # it has no result yet
    await one.jobs.finish(job, 9.0, error=None, outcome=OUTCOME)
    found = await results.job(owner, table)
    assert found
    assert found.id == job.id
    assert await results.job(bench.principal("stranger").key, table) is None


async def test_a_name_that_is_not_exactly_that_of_the_result_names_nothing(
    bench: Any, one: Any
) -> None:
    results = ResultTables(OwnJobs(bench.database))
    job = bench.a_job()
    await one.jobs.add(job)
    await one.jobs.finish(job, 9.0, error=None, outcome=OUTCOME)
    table = result_table(job)
    for changed in (
        {"project": "other"},
        {"dataset": "shop"},
        {"dataset": result_table(bench.a_job(principal=bench.principal("other"))).dataset},
        {"table": job.id},
        {"table": f"{table.table}x"},
        {"table": "anon"},
    ):
        named: TableId = msgspec.structs.replace(table, **changed)  # type: ignore[arg-type]
        assert await results.job(job.principal.key, named) is None


def test_names_look_like_bigquerys_and_differ(bench: Any) -> None:
    one, two = bench.a_job(), bench.a_job()
    assert result_table(one).dataset == result_table(two).dataset
    assert result_table(one).table != result_table(two).table
    assert result_table(one).dataset.startswith("_")
