from __future__ import annotations

from typing import Any

import pytest

from keystile.gate.by_statement import ByStatement
from keystile.gate.own_jobs import OwnJobs
from keystile.model.errors import InvalidQueryError, RefusedError
from keystile.wire.responses import JobFailedError

READ, MAKE = "SELECT * FROM `p`.`d`.`t`", "CREATE SCHEMA `p`.`d`"


@pytest.fixture
def statements(bench: Any, one: Any) -> ByStatement:
    return ByStatement(one.duties, OwnJobs(bench.database), bench.planned_policy)


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for people as briefly as a test can."""
    monkeypatch.setattr("keystile.gate.by_statement._WAIT_SECONDS", 0.05)


async def done(statements: ByStatement, bench: Any, sql: str, who: str = "demo-agent") -> Any:
    return await statements.done(bench.principal(who), bench.request(sql), f"asking `{sql}`")


@pytest.mark.parametrize("sql", [READ, MAKE])
async def test_each_request_is_a_job_of_its_own(
    bench: Any, statements: ByStatement, sql: str
) -> None:
    first, second = [await done(statements, bench, sql) for _ in range(2)]
    assert first.id != second.id
    assert len(bench.bigquery.started) == 2


@pytest.mark.usefixtures("hurry")
@pytest.mark.parametrize("sql", [READ, MAKE])
async def test_a_request_made_again_waits_for_the_job_that_runs(
    bench: Any, one: Any, statements: ByStatement, sql: str
) -> None:
    bench.planner.ask_people()
    for _ in range(3):
        with pytest.raises(RefusedError, match="waits for approval as job `by"):
            await done(statements, bench, sql)
    with pytest.raises(RefusedError, match="waits"):
        await done(statements, bench, sql, who="stranger")
    assert bench.kinds.count("approval_requested") == 2
    await bench.vote()
    await one.watch()
    assert len(bench.bigquery.started) == 2


@pytest.mark.usefixtures("hurry")
async def test_rows_that_came_when_the_client_had_left_are_given_and_nothing_is_made_twice(
    bench: Any, one: Any, statements: ByStatement
) -> None:
    bench.planner.ask_people()
    for sql in (READ, MAKE):
        with pytest.raises(RefusedError):
            await done(statements, bench, sql)
    await bench.vote()
    await one.watch()
    assert (await done(statements, bench, READ)).outcome
    # Made again it means another one: the first may have been dropped since.
    with pytest.raises(RefusedError, match="waits for approval"):
        await done(statements, bench, MAKE)


@pytest.mark.usefixtures("hurry")
async def test_rows_of_an_earlier_policy_are_not_given_for_a_new_request(
    bench: Any, one: Any, statements: ByStatement
) -> None:
    bench.planner.ask_people()
    with pytest.raises(RefusedError):
        await done(statements, bench, READ)
    await bench.vote()
    await one.watch()
    bench.planner.policy = "another"
    with pytest.raises(RefusedError, match="waits for approval"):
        await done(statements, bench, READ)


@pytest.mark.usefixtures("hurry")
async def test_another_request_with_the_same_text_is_another_job(
    bench: Any, one: Any, statements: ByStatement
) -> None:
    bench.planner.ask_people()
    with pytest.raises(RefusedError):
        await done(statements, bench, MAKE)
    elsewhere = bench.request(MAKE, location="EU")
    with pytest.raises(RefusedError):
        await statements.done(bench.principal(), elsewhere, "making")
    assert len(await one.jobs.pending()) == 2


async def test_what_bigquery_refuses_is_said(bench: Any, statements: ByStatement) -> None:
    bench.bigquery.error = InvalidQueryError("no such thing")
    with pytest.raises(JobFailedError) as failed:
        await done(statements, bench, MAKE)
    assert failed.value.error.message == "no such thing"
