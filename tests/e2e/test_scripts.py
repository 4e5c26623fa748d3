# ruff: noqa: E501, ISC004, S608 - scripts read best on few lines, and are no injections here
"""Scripts of several statements, through the real client, the gateway and a BigQuery."""

from __future__ import annotations

from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import bigquery
from tests.e2e.test_first_light import leaks
from tests.support.stack import Stack

# What each gives to an agent that sees masks: the result of its last query.
SCRIPTS: dict[str, tuple[str, list[tuple[Any, ...]]]] = {
    "a variable": (
        "DECLARE s STRING DEFAULT (SELECT MAX(ssn) FROM shop.customers); SELECT s, REVERSE(s)",
        [("XXX-XX-XXXX", "XXXX-XX-XXX")],
    ),
    "a temporary table": (
        "CREATE TEMP TABLE t AS SELECT id, ssn, phone FROM shop.customers WHERE id < 3;"
        " INSERT INTO t SELECT id, ssn, phone FROM shop.customers WHERE id = 3;"
        " SELECT ssn, COUNT(*) FROM t GROUP BY ssn",
        [("XXX-XX-XXXX", 3)],
    ),
    "a loop": (
        "DECLARE found ARRAY<STRING> DEFAULT [];"
        " FOR c IN (SELECT id, ssn FROM shop.customers WHERE id < 4 ORDER BY id) DO"
        "   SET found = ARRAY_CONCAT(found, [c.ssn]);"
        " END FOR; SELECT ARRAY_TO_STRING(found, ',')",
        [("XXX-XX-XXXX,XXX-XX-XXXX,XXX-XX-XXXX",)],
    ),
    "a search by loop": (
        "DECLARE i INT64 DEFAULT 0;"
        " WHILE i < 9 AND NOT EXISTS ("
        "   SELECT 1 FROM shop.customers WHERE id = 2 AND STARTS_WITH(ssn, CAST(i AS STRING))) DO"
        "   SET i = i + 1;"
        " END WHILE; SELECT i",
        [(9,)],
    ),
    "an error's text": (
        "BEGIN SELECT ERROR(ssn) FROM shop.customers WHERE id = 2;"
        " EXCEPTION WHEN ERROR THEN SELECT SUBSTR(@@error.message, 1, 24); END",
        [("Query error: XXX-XX-XXXX",)],
    ),
    "a count of rows": (
        "CREATE TEMP TABLE t (id INT64);"
        " INSERT INTO t SELECT id FROM shop.customers WHERE ssn LIKE '9%'; SELECT @@row_count AS n",
        [(0,)],
    ),
    "dynamic SQL": (
        "DECLARE s STRING;"
        " EXECUTE IMMEDIATE 'SELECT body FROM shop.tickets WHERE id = @id' INTO s USING 2 AS id;"
        " SELECT s",
        [("",)],
    ),
    "a branch": (
        "IF (SELECT MAX(ssn) FROM shop.customers) LIKE '9%' THEN SELECT 'nine';"
        " ELSE SELECT 'other'; END IF",
        [("other",)],
    ),
    "a name of its own": (
        "CREATE TEMP TABLE mine AS SELECT * FROM shop.customers;"
        " CREATE OR REPLACE TEMP TABLE mine AS SELECT ssn AS a FROM mine; SELECT DISTINCT a FROM mine",
        [("XXX-XX-XXXX",)],
    ),
    "no query at all": ("DECLARE x INT64; SET x = 1", []),
}


@pytest.mark.parametrize("case", SCRIPTS)
def test_a_script_sees_masks_in_every_statement(
    stack: Stack, protected: dict[str, str], case: str
) -> None:
    sql, rows = SCRIPTS[case]
    client = stack.client("reader")
    job = client.query(sql)
    assert [tuple(row) for row in job.result()] == rows
    assert job.statement_type == "SCRIPT"
    assert [tuple(row) for row in client.query_and_wait(sql)] == rows
    seen = "\n".join(each.text for each in client.seen)
    assert leaks(protected, seen.encode()) == set()
    (step, _) = [one for one in stack.steps(client.session) if "script" not in one.request]
    assert step.state == "done"
    assert leaks(protected, repr(step).encode()) == set()
    for name, content in stack.left_behind():
        assert leaks(protected, content) == set(), name


REFUSED = {
    "a statement that policy denies": (
        "SELECT 1;\nSELECT 2;\nDROP TABLE shop.customers",
        exceptions.Forbidden,
        "no-schema-changes",
    ),
    "a text that is made when it runs": (
        "DECLARE t STRING DEFAULT 'customers';\nEXECUTE IMMEDIATE 'SELECT * FROM shop.' || t",
        exceptions.Forbidden,
        r"EXECUTE IMMEDIATE .* \[?2:19",
    ),
    "a procedure": ("SELECT 1;\n  CALL shop.p()", exceptions.Forbidden, "2:3"),
    "an unknown column": (
        "SELECT 1;\nSELECT sn FROM shop.customers",
        exceptions.BadRequest,
        r"sn.* \[2:8\]",
    ),
    "a table on some ways only": (
        "IF RAND() < 2 THEN\n  CREATE TEMP TABLE t AS SELECT 1 AS a;\nEND IF;\nSELECT a FROM t",
        exceptions.Forbidden,
        "4:15",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_script_with_a_refused_statement_is_refused_as_a_whole(stack: Stack, case: str) -> None:
    sql, kind, words = REFUSED[case]
    before = len(stack.upstream_jobs())
    with pytest.raises(kind, match=words):
        stack.client("reader").query_and_wait(sql)
    assert len(stack.upstream_jobs()) == before


def test_a_failing_script_says_where_and_not_what(stack: Stack, protected: dict[str, str]) -> None:
    client = stack.client("reader")
    with pytest.raises(exceptions.BadRequest, match="XXX-XX-XXXX") as error:
        client.query_and_wait("SELECT 1;\nSELECT CAST(ssn AS INT64) FROM shop.customers")
    assert leaks(protected, str(error.value).encode()) == set()


def test_a_dry_run_of_a_script_says_that_it_is_one(stack: Stack) -> None:
    config = bigquery.QueryJobConfig(dry_run=True)
    job = stack.client("reader").query("SELECT 1; SELECT 2", job_config=config)
    assert job.statement_type == "SCRIPT"


def test_what_bigquery_calls_the_statements_of_a_script_means_nothing_to_agents(
    stack: Stack,
) -> None:
    client = stack.client("reader")
    job = client.query("CREATE TEMP TABLE t AS SELECT 1 AS a; SELECT a FROM t")
    job.result()
    (parent,) = [
        each for each in stack.upstream_jobs() if each["statistics"].get("numChildJobs") == "2"
    ][:1]
    children = stack.upstream(f"jobs?parentJobId={parent['jobReference']['jobId']}").json()["jobs"]
    for child in children:
        with pytest.raises(exceptions.NotFound):
            client.get_job(child["jobReference"]["jobId"])


def test_whoever_approves_a_script_sees_all_of_it(
    stack: Stack, customers: list[dict[str, Any]]
) -> None:
    client = stack.client("support")
    filler = "\n".join(f"-- line {n} of what nobody reads" for n in range(200))
    sql = (
        f"DECLARE n INT64 DEFAULT 1;\n{filler}\n"
        "CREATE TEMP TABLE t AS SELECT ssn FROM shop.customers WHERE id = n;\nSELECT ssn FROM t"
    )
    job = client.query(sql)
    (request,) = stack.waiting(client.session)
    shown = stack.json("approvals", "show", request.id)
    assert shown["summary"]["sql"] == sql
    printed = stack.run("approvals", "show", request.id).stdout
    assert all(f"-- line {n} of what nobody reads" in printed for n in range(200))
    assert "CREATE TEMP TABLE t AS SELECT ssn" in printed
    stack.approve(request.id)
    assert [tuple(row) for row in job.result()] == [(customers[0]["ssn"],)]
    (step,) = stack.steps(client.session)
    assert step.sql == sql
