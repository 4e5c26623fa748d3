"""Scripts: the real client runs them on the real server process."""

# ruff: noqa: E501, ISC004, S608 - scripts read best on one line; their names are the test's own

from __future__ import annotations

from typing import Any

import pytest
from google.api_core.exceptions import BadRequest, GoogleAPICallError, NotFound
from google.cloud import bigquery

Rows = list[tuple[Any, ...]]


def _ask(client: bigquery.Client, sql: str, **options: Any) -> Rows:
    config = bigquery.QueryJobConfig(default_dataset="acme-shop.shop", **options)
    return [tuple(row.values()) for row in client.query_and_wait(sql, job_config=config)]


ANSWERS: dict[str, tuple[str, Rows]] = {
    "a variable": ("DECLARE x INT64 DEFAULT 1; SET x = x + 1; SELECT x", [(2,)]),
    "its type by its value": ("DECLARE x DEFAULT [1, 2]; SELECT ARRAY_LENGTH(x)", [(2,)]),
    "NULL at first": ("DECLARE x, y STRING; SELECT x IS NULL AND y IS NULL", [(True,)]),
    "a value cast to the variable's type": (
        "DECLARE x FLOAT64; SET x = 1; SELECT FORMAT('%t', x)",
        [("1.0",)],
    ),
    "several at once": ("DECLARE a, b INT64; SET (a, b) = (1, 2); SELECT a, b", [(1, 2)]),
    "a column goes before a variable": (
        "DECLARE name STRING DEFAULT 'mine'; SELECT name FROM (SELECT 'theirs' AS name)",
        [("theirs",)],
    ),
    "IF": (
        "DECLARE x INT64 DEFAULT 2; IF x = 1 THEN SELECT 'a'; ELSEIF x = 2 THEN SELECT 'b';"
        " ELSE SELECT 'c'; END IF",
        [("b",)],
    ),
    "NULL holds not": ("IF NULL THEN SELECT 1; ELSE SELECT 2; END IF", [(2,)]),
    "CASE of a value": (
        "CASE 2 WHEN 1 THEN SELECT 'a'; WHEN 2 THEN SELECT 'b'; ELSE SELECT 'c'; END CASE",
        [("b",)],
    ),
    "CASE of conditions": ("CASE WHEN FALSE THEN SELECT 1; ELSE SELECT 2; END CASE", [(2,)]),
    "WHILE with CONTINUE": (
        "DECLARE i INT64 DEFAULT 0; DECLARE s STRING DEFAULT ''; WHILE i < 4 DO SET i = i + 1;"
        " IF i = 2 THEN CONTINUE; END IF; SET s = s || CAST(i AS STRING); END WHILE; SELECT s",
        [("134",)],
    ),
    "REPEAT": (
        "DECLARE i INT64 DEFAULT 5; REPEAT SET i = i + 1; UNTIL i > 2 END REPEAT; SELECT i",
        [(6,)],
    ),
    "LOOP with BREAK": (
        "DECLARE i INT64 DEFAULT 0; LOOP SET i = i + 1; IF i = 3 THEN BREAK; END IF; END LOOP;"
        " SELECT i",
        [(3,)],
    ),
    "LEAVE of an outer loop": (
        "a: LOOP LOOP LEAVE a; END LOOP; END LOOP; SELECT 'out'",
        [("out",)],
    ),
    "LEAVE of a block": ("b: BEGIN LEAVE b; SELECT 1; END; SELECT 2", [(2,)]),
    "FOR": (
        "DECLARE s STRING DEFAULT ''; FOR r IN (SELECT * FROM UNNEST(['x', 'y']) AS v) DO"
        " SET s = s || r.v; END FOR; SELECT s",
        [("xy",)],
    ),
    "RETURN": ("SELECT 1; RETURN; SELECT 2", [(1,)]),
    "a handled error": (
        "BEGIN SELECT 1;\n SELECT 1 / 0; EXCEPTION WHEN ERROR THEN SELECT @@error.message; END",
        [("Query error: division by zero: 1 / 0 at [2:2]",)],
    ),
    "an error raised anew": (
        "BEGIN BEGIN RAISE USING MESSAGE = 'mine'; EXCEPTION WHEN ERROR THEN RAISE; END;"
        " EXCEPTION WHEN ERROR THEN SELECT @@error.message; END",
        [("Query error: mine at [1:13]",)],
    ),
    "no error any more": (
        "BEGIN SELECT 1 / 0; EXCEPTION WHEN ERROR THEN SELECT 1; END; SELECT @@error.message",
        [(None,)],
    ),
    "dynamic SQL": (
        "DECLARE x, y INT64; EXECUTE IMMEDIATE 'SELECT ' || '@a + 1, @b' INTO x, y"
        " USING 1 AS a, 5 AS b; SELECT x, y",
        [(2, 5)],
    ),
    "dynamic SQL by position": ("EXECUTE IMMEDIATE 'SELECT ? - ?' USING 5, 3", [(2,)]),
    "dynamic SQL with no row": (
        "DECLARE x INT64 DEFAULT 1; EXECUTE IMMEDIATE 'SELECT 1 FROM UNNEST([]) AS v' INTO x;"
        " SELECT x",
        [(None,)],
    ),
    "a temporary table": (
        "CREATE TEMP TABLE t AS SELECT 1 AS a; INSERT INTO t VALUES (2), (3);"
        " SELECT @@row_count, SUM(a) FROM t",
        [(2, 6)],
    ),
    "a temporary table before another": (
        "CREATE TEMP TABLE customers AS SELECT 'mine' AS a; SELECT * FROM customers",
        [("mine",)],
    ),
    "a temporary table by its dataset": (
        "CREATE TEMP TABLE t AS SELECT 1 AS a; SELECT * FROM _SESSION.t",
        [(1,)],
    ),
    "after a temporary table": (
        "CREATE TEMP TABLE customers AS SELECT 1 AS a; DROP TABLE customers;"
        " SELECT COUNT(*) FROM customers",
        [(200,)],
    ),
    "a transaction rolled back": (
        "CREATE TEMP TABLE t AS SELECT 1 AS a; BEGIN TRANSACTION; DELETE FROM t WHERE TRUE;"
        " CREATE TEMP TABLE u AS SELECT 1 AS a; ROLLBACK TRANSACTION;"
        " BEGIN SELECT * FROM u; EXCEPTION WHEN ERROR THEN SELECT COUNT(*) FROM t; END",
        [(1,)],
    ),
    "a transaction committed": (
        "CREATE TEMP TABLE t AS SELECT 1 AS a; BEGIN TRANSACTION; DELETE FROM t WHERE TRUE;"
        " COMMIT TRANSACTION; SELECT COUNT(*) FROM t",
        [(0,)],
    ),
    "a temporary function in a script": (
        "DECLARE x INT64 DEFAULT 4; CREATE TEMP FUNCTION f(v INT64) AS (v * 2); SELECT f(x)",
        [(8,)],
    ),
    "no query": ("DECLARE x INT64; SET x = 1", []),
    "statements as they are split": (
        "SELECT ';' AS a /* ; */; -- ;\nSELECT '''x;''' AS b;",
        [("x;",)],
    ),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_a_script_gives_the_result_of_its_last_query(client: bigquery.Client, case: str) -> None:
    sql, rows = ANSWERS[case]
    assert _ask(client, sql) == rows


FAILURES = {
    "an error that nothing handles": (
        "SELECT 1;\n SELECT nope",
        "Unrecognized name: nope at [2:9]",
    ),
    "in an expression": ("DECLARE x INT64;\nSET x = nope + 1", "nope at [2:9]"),
    "RAISE": ("RAISE USING MESSAGE = CONCAT('a', 'b')", "Query error: ab at [1:1]"),
    "ASSERT": ("ASSERT 1 > 2 AS 'the first is smaller'; SELECT 1", "the first is smaller"),
    "an unknown variable": ("DECLARE y INT64; SET x = 1", "Undeclared variable: x"),
    "a variable twice": ("DECLARE x INT64; BEGIN DECLARE X INT64; END", "redeclaration"),
    "a variable out of its block": ("BEGIN DECLARE x INT64; END; SELECT x", "Unrecognized name: x"),
    "a variable in dynamic SQL": ("DECLARE x INT64; EXECUTE IMMEDIATE 'SELECT x'", "name: x"),
    "a rollback of nothing": ("ROLLBACK TRANSACTION; SELECT 1", "no active transaction"),
    "no end": ("LOOP SET @@x = 1; END LOOP", "not supported by the sandbox"),
    "what only BigQuery can, though handled": (
        "BEGIN SELECT @@error.stack_trace; EXCEPTION WHEN ERROR THEN SELECT 1; END",
        "not supported by the sandbox",
    ),
    "a syntax error": ("SELECT 1; SELEC 2", "Syntax error"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_script_that_cannot_go_on_says_where(client: bigquery.Client, case: str) -> None:
    sql, words = FAILURES[case]
    with pytest.raises(BadRequest) as error:
        _ask(client, sql)
    assert words in str(error.value)


def test_a_loop_without_end_is_ended(client: bigquery.Client) -> None:
    config = bigquery.QueryJobConfig(job_timeout_ms=300)
    with pytest.raises(GoogleAPICallError, match="timed out"):
        client.query("LOOP SELECT 1; END LOOP", job_config=config).result()


def test_parameters_reach_every_statement(client: bigquery.Client) -> None:
    named = [bigquery.ScalarQueryParameter("p", "INT64", 7)]
    sql = "DECLARE x INT64 DEFAULT @p; SELECT x + @p"
    assert _ask(client, sql, query_parameters=named) == [(14,)]
    placed = [bigquery.ScalarQueryParameter(None, "INT64", each) for each in (1, 2, 3)]
    sql = "DECLARE x INT64 DEFAULT ?; SELECT x, ?, ?"
    assert _ask(client, sql, query_parameters=placed) == [(1, 2, 3)]


def test_a_script_is_a_job_of_jobs(client: bigquery.Client, lab: str) -> None:
    job = client.query(
        f"CREATE TABLE {lab}.t AS SELECT 1 AS a; INSERT INTO {lab}.t VALUES (2); SELECT a FROM {lab}.t"
    )
    assert [row.a for row in job.result()] == [1, 2]
    assert (job.statement_type, job.num_child_jobs) == ("SCRIPT", 3)
    children = list(client.list_jobs(parent_job=job))
    assert [child.statement_type for child in children] == [
        "SELECT",
        "INSERT",
        "CREATE_TABLE_AS_SELECT",
    ]
    assert {child.parent_job_id for child in children} == {job.job_id}
    assert [row.a for row in children[0].result()] == [1, 2]
    assert client.get_job(children[1].job_id).num_dml_affected_rows == 1
    assert children[0].job_id not in {each.job_id for each in client.list_jobs()}


def _where(job: bigquery.QueryJob) -> tuple[str, list[tuple[int, int, int, int, str]]]:
    statistics = job.script_statistics
    return statistics.evaluation_kind, [
        (f.start_line, f.start_column, f.end_line, f.end_column, f.text)
        for f in statistics.stack_frames
    ]


def test_each_job_of_a_script_tells_where_it_stands(client: bigquery.Client) -> None:
    sql = (
        "DECLARE n INT64 DEFAULT (SELECT MAX(id) FROM shop.tickets);\nSET n = n + 1;\n"
        "BEGIN SELECT\n  n; END;\nEXECUTE IMMEDIATE 'SELECT 1'"
    )
    job = client.query(sql)
    job.result()
    told = [_where(child) for child in client.list_jobs(parent_job=job)]
    assert told == [
        ("STATEMENT", [(1, 1, 1, 9, "SELECT 1"), (5, 1, 5, 29, "EXECUTE IMMEDIATE 'SELECT 1'")]),
        ("STATEMENT", [(3, 7, 4, 4, "SELECT\n  n")]),
        ("EXPRESSION", [(1, 25, 1, 59, "(SELECT MAX(id) FROM shop.tickets)")]),
    ]


def test_a_loop_over_rows_and_its_statements_are_jobs(client: bigquery.Client) -> None:
    sql = "FOR t IN (SELECT id FROM shop.tickets WHERE id < 3) DO SELECT t.id; END FOR"
    job = client.query(sql)
    job.result()
    children = list(client.list_jobs(parent_job=job))
    assert [child.script_statistics.evaluation_kind for child in children] == [
        "STATEMENT",
        "STATEMENT",
        "EXPRESSION",
    ]
    assert len(list(children[2].result())) == 2


def test_a_failed_statement_is_a_failed_job_of_its_own(client: bigquery.Client) -> None:
    job = client.query("SELECT 1; SELECT 1 / 0; SELECT 2")
    with pytest.raises(BadRequest):
        job.result()
    failed, first = client.list_jobs(parent_job=job.job_id)
    assert (first.error_result, failed.error_result["reason"]) == (None, "invalidQuery")


def test_a_dry_run_says_script_and_runs_nothing(client: bigquery.Client, lab: str) -> None:
    config = bigquery.QueryJobConfig(dry_run=True)
    job = client.query(f"CREATE TABLE {lab}.t AS SELECT 1 AS a; SELECT 1", job_config=config)
    assert (job.statement_type, job.schema) == ("SCRIPT", None)
    with pytest.raises(NotFound):
        client.get_table(f"{lab}.t")


def test_temporary_functions_and_a_query_are_a_query(client: bigquery.Client) -> None:
    sql = "CREATE TEMP FUNCTION f(x INT64) AS (x + 1); SELECT f(2) AS three"
    planned = client.query(sql, job_config=bigquery.QueryJobConfig(dry_run=True))
    assert planned.statement_type == "SELECT"
    assert [field.name for field in planned.schema or ()] == ["three"]
    job = client.query(sql)
    assert [row.three for row in job.result()] == [3]
    assert (job.statement_type, job.num_child_jobs) == ("SELECT", 0)


def test_what_is_temporary_is_gone_with_its_script(client: bigquery.Client) -> None:
    _ask(client, "CREATE TEMP TABLE gone AS SELECT 1 AS a; SELECT * FROM gone")
    with pytest.raises(NotFound):
        _ask(client, "SELECT * FROM gone")
    assert not [each for each in client.list_datasets() if each.dataset_id.startswith("_")]
