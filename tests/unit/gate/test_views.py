from __future__ import annotations

from typing import Any

import msgspec
import pytest

from keystile.gate.jobs import JobOutcome, JobState
from keystile.gate.views import view_of
from keystile.model.decision import ColumnMask, RowFilter
from keystile.model.errors import RefusedError
from keystile.model.masks import PatternMask
from keystile.model.schema import ColumnRef, TableId
from keystile.wire.job_resources import job_resource, query_resource
from keystile.wire.responses import JobError, ResultsView, RowsChanged, to_bytes

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


def hiding(job: Any, **what: Any) -> Any:
    decision = msgspec.structs.replace(job.plan.decision, **what)
    plan = msgspec.structs.replace(job.plan, decision=decision)
    return msgspec.structs.replace(job, plan=plan)


def test_bytes_that_hidden_values_are_counted_in_are_not_shown(bench: Any) -> None:
    table = TableId("p", "d", "t")
    mask = ColumnMask(ColumnRef(table, ("ssn",)), "pii.ssn", PatternMask("XXX"))
    outcome = JobOutcome((), 3, 10, cache_hit=True, recorded_rows=3)
    done = bench.a_job(state=JobState.DONE, outcome=outcome)
    dry = bench.a_job(state=JobState.DONE, request=bench.request(dry_run=True))
    for job in (done, dry):
        assert view_of(job).bytes_processed
        assert view_of(hiding(job, masks=(mask,))).bytes_processed is None
        filters = (RowFilter(table, "own-rows", "x"),)
        assert view_of(hiding(job, row_filters=filters)).bytes_processed is None


def test_how_many_rows_changed_is_told_unless_rows_are_filtered_out(bench: Any) -> None:
    changed = RowsChanged(inserted=1, updated=2, deleted=3)
    outcome = JobOutcome((), 0, 10, cache_hit=False, recorded_rows=0, changed=changed)
    job = bench.a_job(state=JobState.DONE, outcome=outcome)
    assert view_of(job).changed == changed
    filters = (RowFilter(TableId("p", "d", "t"), "own-rows", "x"),)
    assert view_of(hiding(job, row_filters=filters)).changed is None


def test_a_dry_run_names_no_job_that_could_be_asked_for(bench: Any) -> None:
    request = bench.request(dry_run=True)
    assert view_of(bench.a_job(request=request)).job_id == ""
    named = msgspec.structs.replace(request, job_id="mine")
    assert view_of(bench.a_job(request=named)).job_id == "mine"


def test_an_error_is_shown(bench: Any) -> None:
    error = JobError.of(RefusedError("denied by `operator`: no"))
    view = view_of(bench.a_job(state=JobState.DONE, error=error))
    assert view.error == error
    assert msgspec.json.decode(to_bytes(job_resource(view)))["status"]["errorResult"] == {
        "reason": "accessDenied",
        "message": "denied by `operator`: no",
    }


def test_a_job_tells_where_its_result_goes_from_the_start(bench: Any) -> None:
    configuration = {**bench.into.configuration, "writeDisposition": "WRITE_APPEND"}
    into = msgspec.structs.replace(bench.into, configuration=configuration)
    for state in JobState:
        job = bench.a_job(state=state, request=bench.request(into=into))
        query: Any = job_resource(view_of(job))["configuration"]
        assert query["query"]["destinationTable"] == configuration["destinationTable"]
        assert query["query"]["writeDisposition"] == "WRITE_APPEND"
