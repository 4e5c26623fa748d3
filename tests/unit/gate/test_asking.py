from __future__ import annotations

from typing import Any

import pytest

from keystile.gate.jobs import JobState
from keystile.model.errors import RecordingUnavailableError


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
