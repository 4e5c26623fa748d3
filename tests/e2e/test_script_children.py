# ruff: noqa: E501 - scripts read best on few lines
"""The statements of a script as jobs of their own, through the real client and the gateway."""

from __future__ import annotations

from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import bigquery
from tests.e2e.test_first_light import leaks
from tests.support.stack import Stack


def children(client: Any, job: Any) -> list[Any]:
    """Give the statements that a script has run, the first one first."""
    return list(client.list_jobs(parent_job=job))[::-1]


def ran(client: Any, sql: str) -> tuple[Any, list[Any]]:
    job = client.query(sql)
    job.result()
    return job, children(client, job)


def test_each_statement_is_a_job_in_the_agents_words(
    stack: Stack, protected: dict[str, str]
) -> None:
    client = stack.client("reader")
    sql = (
        "-- é\nCREATE TEMP TABLE t AS SELECT id, ssn FROM shop.customers WHERE id < 3;\n"
        "SELECT ssn, phone\n  FROM shop.customers WHERE id = 1; SELECT DISTINCT ssn FROM t;"
    )
    job, found = ran(client, sql)
    assert (job.statement_type, job.num_child_jobs) == ("SCRIPT", 3)
    assert [child.statement_type for child in found] == [
        "CREATE_TABLE_AS_SELECT",
        "SELECT",
        "SELECT",
    ]
    for child in found:
        assert child.parent_job_id == job.job_id
        assert child.query in sql
        (frame,) = child.script_statistics.stack_frames
        assert frame.text == child.query
        assert child.script_statistics.evaluation_kind == "STATEMENT"
        assert (child.state, child.error_result) == ("DONE", None)
        again = client.get_job(child.job_id, location=child.location)
        assert (again.query, again.parent_job_id) == (child.query, job.job_id)
    frame = found[1].script_statistics.stack_frames[0]
    assert (frame.start_line, frame.start_column) == (3, 1)
    assert (frame.end_line, frame.end_column) == (4, 35)
    assert next(iter(found[1].result())).ssn == "XXX-XX-XXXX"
    assert [tuple(row) for row in found[2].result()] == [("XXX-XX-XXXX",)]
    assert [tuple(row) for row in found[0].result()] == []
    seen = "\n".join(each.text for each in client.seen)
    assert leaks(protected, seen.encode()) == set()
    upstream = [each["jobReference"]["jobId"] for each in stack.upstream_jobs()]
    assert not [each for each in upstream if each in seen]
    assert "keystile" not in "".join(
        each.text for each in client.seen if "X-Keystile" not in each.text
    )
    for name, content in stack.left_behind():
        assert leaks(protected, content) == set(), name


def test_rows_are_on_record_before_they_are_released(stack: Stack) -> None:
    client = stack.client("reader")
    job, found = ran(client, "SELECT ssn FROM shop.customers WHERE id < 4; SELECT 1 AS x")
    assert [step.statement for step in stack.steps(client.session)] == ["SCRIPT"]
    list(found[0].result(page_size=2))
    whole, part = stack.steps(client.session)
    assert (whole.request["job_id"], whole.state) == (job.job_id, "done")
    assert (part.sql, part.state) == ("SELECT ssn FROM shop.customers WHERE id < 4", "done")
    assert part.request["script"] == job.job_id
    assert part.table == (("XXX-XX-XXXX",),) * 3
    list(client.get_job(found[0].job_id).result())
    assert len(stack.steps(client.session)) == 2


def test_a_loop_runs_its_statement_again_and_again(stack: Stack) -> None:
    client = stack.client("reader")
    job, found = ran(
        client,
        "FOR c IN (SELECT id, ssn FROM shop.customers WHERE id < 4 ORDER BY id) DO"
        " SELECT c.id, c.ssn; END FOR; EXECUTE IMMEDIATE 'SELECT 9 AS id'",
    )
    # What the loop itself reads is no statement of the agent's.
    assert job.num_child_jobs == len(found) == 4
    assert [next(iter(child.result())).id for child in found] == [1, 2, 3, 9]
    assert [child.query for child in found] == ["SELECT c.id, c.ssn"] * 3 + ["SELECT 9 AS id"]
    page = client.list_jobs(parent_job=job, max_results=2, page_size=1)
    assert [each.job_id for each in page] == [each.job_id for each in found[:1:-1]]


def test_what_expressions_read_is_not_shown(stack: Stack) -> None:
    client = stack.client("support")
    sql = (
        "DECLARE s STRING DEFAULT (SELECT MAX(ssn) FROM shop.customers);\n"
        "IF (SELECT COUNT(*) FROM shop.customers WHERE ssn = s) = 1 THEN"
        " EXECUTE IMMEDIATE 'SELECT body FROM shop.tickets WHERE id = 2' INTO s; SELECT 'one' AS x; END IF"
    )
    job = client.query(sql)
    (request,) = stack.waiting(client.session)
    assert children(client, job) == []
    stack.approve(request.id)
    assert [row.x for row in job.result()] == ["one"]
    (child,) = children(client, job)
    assert (child.query, [row.x for row in child.result()]) == ("SELECT 'one' AS x", ["one"])


def test_a_denied_script_has_no_statements(stack: Stack) -> None:
    client = stack.client("support")
    job = client.query("SELECT 1; SELECT ssn FROM shop.customers")
    (request,) = stack.waiting(client.session)
    words = ("--as", "operator", "--comment", "ask for less")
    assert stack.run("approvals", "deny", request.id, *words).returncode == 0
    with pytest.raises(exceptions.Forbidden):
        job.result()
    assert children(client, job) == []


def test_a_failed_statement_and_those_before_it(stack: Stack, protected: dict[str, str]) -> None:
    client = stack.client("reader")
    job = client.query("SELECT 1 AS x;\nSELECT CAST(ssn AS INT64) FROM shop.customers; SELECT 2")
    with pytest.raises(exceptions.BadRequest):
        job.result()
    first, failed = children(client, job)
    assert [row.x for row in first.result()] == [1]
    with pytest.raises(exceptions.BadRequest, match="XXX-XX-XXXX"):
        failed.result()
    steps = {step.sql: step for step in stack.steps(client.session)}
    assert "XXX-XX-XXXX" in steps["SELECT CAST(ssn AS INT64) FROM shop.customers"].error.message
    seen = "\n".join(each.text for each in client.seen)
    assert leaks(protected, seen.encode()) == set()


def test_another_agents_statements_are_absent(stack: Stack) -> None:
    job, (child, _) = ran(stack.client("reader"), "SELECT 1; SELECT 2")
    other = stack.client("support")
    for absent in (
        lambda: list(other.list_jobs(parent_job=job.job_id)),
        lambda: other.get_job(child.job_id),
        lambda: other.cancel_job(child.job_id),
    ):
        with pytest.raises(exceptions.NotFound):
            absent()
    assert child.job_id not in {each.job_id for each in stack.client("reader").list_jobs()}


def test_statements_that_write_say_how_much(stack: Stack) -> None:
    client = stack.client("reader")
    _, found = ran(client, "CREATE TEMP TABLE t (a INT64); INSERT INTO t VALUES (1), (2); SELECT 1")
    assert [child.num_dml_affected_rows for child in found] == [None, 2, None]


def test_cancelling_a_statement_that_has_ended_changes_nothing(stack: Stack) -> None:
    client = stack.client("reader")
    job, (child, _) = ran(client, "SELECT 1; SELECT 2")
    assert client.cancel_job(child.job_id).state == "DONE"
    assert client.get_job(job.job_id).error_result is None


def test_a_dry_run_has_no_statements(stack: Stack) -> None:
    config = bigquery.QueryJobConfig(dry_run=True)
    job = stack.client("reader").query("SELECT 1; SELECT 2", job_config=config)
    assert job.num_child_jobs == 0
