from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from keystile.model.errors import DuplicateError
from keystile.model.schema import Field, TableId
from keystile.wire.job_resources import (
    job_list_resource,
    job_resource,
    query_resource,
    results_resource,
    table_data_resource,
)
from keystile.wire.responses import JobError, JobView, ResultsView, RowsChanged, to_bytes

_JOB = JobView(
    project="p",
    job_id="j",
    location="US",
    owner="agent",
    state="DONE",
    sql="select 1 as x",
    created=1.5,
    started=2.0,
    ended=3.0,
    statement="SELECT",
    bytes_processed=8,
    total_rows=1,
    schema=(Field("x", "INT64"),),
    destination=TableId("p", "_d", "anon"),
)
_ROW = msgspec.Raw(b'{"f":[{"v":"1"}]}')


def test_a_finished_job_says_what_it_did() -> None:
    job = json.loads(to_bytes(job_resource(_JOB)))
    assert job["id"] == "p:US.j"
    assert job["jobReference"] == {"projectId": "p", "jobId": "j", "location": "US"}
    assert job["status"] == {"state": "DONE"}
    assert job["statistics"]["creationTime"] == "1500"
    assert job["statistics"]["query"]["statementType"] == "SELECT"
    assert job["statistics"]["query"]["schema"]["fields"][0]["type"] == "INTEGER"
    assert job["configuration"]["query"]["destinationTable"]["tableId"] == "anon"
    assert job["configuration"]["query"]["useLegacySql"] is False


def test_bytes_that_are_not_shown_are_absent_and_of_a_dry_run_no_more_than_a_lower_bound() -> None:
    hidden = msgspec.structs.replace(_JOB, bytes_processed=None)
    for resource in (job_resource(hidden), query_resource(ResultsView(hidden))):
        assert b"Bytes" not in to_bytes(resource)
    dry = msgspec.structs.replace(hidden, dry_run=True)
    statistics = json.loads(to_bytes(job_resource(dry)))["statistics"]
    assert statistics["totalBytesProcessed"] == "0"
    assert statistics["query"]["totalBytesProcessedAccuracy"] == "LOWER_BOUND"
    assert json.loads(to_bytes(query_resource(ResultsView(dry))))["totalBytesProcessed"] == "0"


def test_a_statement_that_writes_says_how_many_rows_it_changed_and_gives_none() -> None:
    changed = RowsChanged(inserted=1, updated=2, deleted=3)
    job = msgspec.structs.replace(_JOB, changed=changed, total_rows=None)
    stats = {"insertedRowCount": "1", "deletedRowCount": "3", "updatedRowCount": "2"}
    query = json.loads(to_bytes(job_resource(job)))["statistics"]["query"]
    assert (query["numDmlAffectedRows"], query["dmlStats"]) == ("6", stats)
    answer = json.loads(to_bytes(query_resource(ResultsView(job))))
    assert (answer["numDmlAffectedRows"], answer["dmlStats"]) == ("6", stats)
    page = json.loads(to_bytes(results_resource(ResultsView(job))))
    assert page["numDmlAffectedRows"] == "6"
    assert "totalRows" not in page


def test_a_failed_job_says_why() -> None:
    failed = msgspec.structs.replace(_JOB, error=JobError.of(DuplicateError("already there")))
    status = job_resource(failed)["status"]
    problem = {"reason": "duplicate", "message": "already there"}
    assert status == {"state": "DONE", "errorResult": problem, "errors": [problem]}
    listed = json.loads(to_bytes(job_list_resource([failed], "next")))
    assert listed["jobs"][0]["state"] == "DONE"
    assert listed["nextPageToken"] == "next"


def test_rows_pass_through_untouched() -> None:
    for shape in (query_resource, results_resource):
        answer = json.loads(to_bytes(shape(ResultsView(_JOB, (_ROW,), "more"))))
        assert answer["rows"] == [{"f": [{"v": "1"}]}]
        assert answer["totalRows"] == "1"
        assert answer["pageToken"] == "more"
        assert answer["jobComplete"] is True
    table = json.loads(to_bytes(table_data_resource([_ROW], 4, "", "v1")))
    assert (table["totalRows"], table["rows"]) == ("4", [{"f": [{"v": "1"}]}])
    assert "pageToken" not in table


@pytest.mark.parametrize(
    ("changes", "rows", "token"),
    [
        ({"optional": False}, (_ROW,), ""),
        ({"total_rows": 2}, (_ROW,), "more"),
        ({"total_rows": 1}, (), ""),
        ({"state": "RUNNING"}, (_ROW,), ""),
        ({"statement": "CREATE_TABLE", "total_rows": 0}, (), ""),
        ({"error": JobError.of(DuplicateError("no")), "total_rows": 0}, (), ""),
        ({"dry_run": True, "total_rows": 0}, (), ""),
    ],
)
def test_a_client_that_may_need_the_job_is_told_of_it(
    changes: dict[str, Any], rows: tuple[Any, ...], token: str
) -> None:
    wanted = {"statement": "SELECT", "total_rows": 1, "optional": True} | changes
    job = msgspec.structs.replace(_JOB, **wanted)
    answer = query_resource(ResultsView(job, rows, token))
    assert "jobReference" in answer
    assert "queryId" not in answer


@pytest.mark.parametrize("rows", [(_ROW,), ()])
def test_a_client_that_can_do_without_a_job_gets_the_rows_alone(rows: tuple[Any, ...]) -> None:
    job = msgspec.structs.replace(_JOB, statement="SELECT", optional=True, total_rows=len(rows))
    answer = query_resource(ResultsView(job, rows))
    assert "jobReference" not in answer
    assert answer["queryId"] == _JOB.job_id
    # Its results were asked for by the job's id, which it has then.
    assert "jobReference" in results_resource(ResultsView(job, rows))


def test_a_waiting_job_has_no_rows_and_no_schema() -> None:
    waiting = msgspec.structs.replace(_JOB, state="PENDING")
    for shape in (query_resource, results_resource):
        answer = shape(ResultsView(waiting, (_ROW,)))
        assert answer["jobComplete"] is False
        assert not {"rows", "schema", "totalRows"} & answer.keys()


def test_a_dry_run_has_a_schema_and_no_job_id() -> None:
    dry = msgspec.structs.replace(_JOB, dry_run=True, job_id="")
    answer = query_resource(ResultsView(dry))
    assert answer["jobReference"] == {"projectId": "p", "location": "US"}
    assert "totalRows" not in answer
    assert answer["totalBytesProcessed"] == "8"
