from __future__ import annotations

from typing import Any

import msgspec
import pytest

from keystile.gate.jobs import JobOutcome, JobState
from keystile.gate.views import view_of
from keystile.model.errors import RefusedError
from keystile.wire.responses import JobError, ResultsView, job_resource, query_resource, to_bytes

STATES = {
    JobState.PENDING: "PENDING",
    JobState.READY: "RUNNING",
    JobState.RUNNING: "RUNNING",
    JobState.DONE: "DONE",
}


@pytest.mark.parametrize("state", JobState)
def test_a_view_has_the_agents_text_and_never_the_rewritten_one(bench: Any, state: Any) -> None:
    outcome = JobOutcome((), 3, 10, cache_hit=True, recorded_rows=3)
    view = view_of(bench.a_job(state=state, outcome=outcome))
    assert view.state == STATES[state]
    assert view.sql == bench.request().sql
    for resource in (job_resource(view), query_resource(ResultsView(view))):
        text = to_bytes(resource).decode()
        assert bench.rewritten not in text
        assert "REPLACE" not in text
        assert "keystile_" not in text


def test_bytes_rows_and_schema_come_with_the_outcome(bench: Any) -> None:
    waiting = view_of(bench.a_job(state=JobState.PENDING))
    assert (waiting.bytes_processed, waiting.total_rows, waiting.schema) == (None, None, None)
    outcome = JobOutcome((), 3, 10, cache_hit=True, recorded_rows=3)
    done = view_of(bench.a_job(state=JobState.DONE, outcome=outcome))
    assert (done.bytes_processed, done.total_rows, done.schema) == (10, 3, ())


def test_a_dry_run_tells_its_estimate_and_schema(bench: Any) -> None:
    job = bench.a_job(state=JobState.DONE, request=bench.request(dry_run=True))
    view = view_of(job)
    assert (view.bytes_processed, view.schema) == (1000, job.plan.schema)
    assert view.ended == job.created_at


def test_an_error_is_shown(bench: Any) -> None:
    error = JobError.of(RefusedError("denied by `operator`: no"))
    view = view_of(bench.a_job(state=JobState.DONE, error=error))
    assert view.error == error
    assert msgspec.json.decode(to_bytes(job_resource(view)))["status"]["errorResult"] == {
        "reason": "accessDenied",
        "message": "denied by `operator`: no",
    }
