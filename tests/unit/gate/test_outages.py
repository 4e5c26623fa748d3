from __future__ import annotations

import asyncio
from typing import Any

import pytest

from keystile.gate.jobs import JobState
from keystile.model.errors import (
    KeystileError,
    OverloadedError,
    PolicyUnreadableError,
    RecordingUnavailableError,
    StoreUnavailableError,
)


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
