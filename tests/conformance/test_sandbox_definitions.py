"""DDL and routines: the real client against the real server process."""

# ruff: noqa: S608  # the names put into the SQL are the test's own

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from google.api_core.exceptions import BadRequest, Conflict, GoogleAPICallError, NotFound
from google.cloud import bigquery


def _ask(client: bigquery.Client, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in client.query_and_wait(sql)]


def _do(client: bigquery.Client, sql: str) -> tuple[str | None, str | None, str]:
    """Run DDL; give its kind, what it did, and what it did it to."""
    job = client.query(sql)
    assert list(job.result()) == []
    target = job.ddl_target_table or job.ddl_target_routine
    return job.statement_type, job.ddl_operation_performed, str(target)


def test_a_table_is_made_with_its_columns(client: bigquery.Client, lab: str) -> None:
    sql = (
        f"CREATE TABLE {lab}.t (a INT64 NOT NULL OPTIONS(description='the a'), "
        "r STRUCT<x STRING OPTIONS(description='the x'), y ARRAY<NUMERIC>>, "
        "l ARRAY<STRUCT<k INT64>>, d STRING DEFAULT CONCAT('x', 'y'), day DATE) "
        "PARTITION BY day CLUSTER BY a OPTIONS(description='a table', labels=[('team', 'ops')])"
    )
    assert _do(client, sql) == ("CREATE_TABLE", "CREATE", f"acme-shop.{lab}.t")
    table = client.get_table(f"{lab}.t")
    assert (table.description, table.labels, table.num_rows) == ("a table", {"team": "ops"}, 0)
    assert table.time_partitioning.field == "day"
    assert table.clustering_fields == ["a"]
    shape = [(field.name, field.field_type, field.mode) for field in table.schema]
    assert shape == [
        ("a", "INTEGER", "REQUIRED"),
        ("r", "RECORD", "NULLABLE"),
        ("l", "RECORD", "REPEATED"),
        ("d", "STRING", "NULLABLE"),
        ("day", "DATE", "NULLABLE"),
    ]
    assert table.schema[0].description == "the a"
    assert table.schema[1].fields[0].description == "the x"
    assert table.schema[1].fields[1].mode == "REPEATED"
    assert table.schema[3].default_value_expression == "CONCAT('x', 'y')"
    client.query_and_wait(f"CREATE TABLE {lab}.fine (time TIMESTAMP(12))")
    (time,) = client.get_table(f"{lab}.fine").schema
    assert time.to_api_repr()["timestampPrecision"] in {12, "12"}


def test_a_table_is_made_of_a_query(client: bigquery.Client, lab: str) -> None:
    sql = f"CREATE TABLE {lab}.t AS SELECT id, address.city, 1 AS one FROM shop.customers"
    job = client.query(sql)
    job.result()
    assert (job.statement_type, job.ddl_operation_performed) == ("CREATE_TABLE_AS_SELECT", "CREATE")
    assert str(job.destination) == f"acme-shop.{lab}.t"
    assert client.get_table(job.destination).num_rows == 200
    assert _ask(client, f"SELECT COUNT(DISTINCT id), SUM(one) FROM {lab}.t") == [(200, 200)]
    again = f"CREATE OR REPLACE TABLE {lab}.t (f FLOAT64) AS SELECT 1 AS f"
    assert _do(client, again)[1] == "REPLACE"
    assert _ask(client, f"SELECT * FROM {lab}.t") == [(1.0,)]
    assert _do(client, f"CREATE TABLE IF NOT EXISTS {lab}.t AS SELECT 2 AS f")[1] == "SKIP"
    assert _ask(client, f"SELECT * FROM {lab}.t") == [(1.0,)]
    with pytest.raises(Conflict, match=rf"Already Exists: Table acme-shop:{lab}\.t"):
        client.query(f"CREATE TABLE {lab}.t AS SELECT 2 AS f").result()


def test_a_view_is_made_and_replaced(client: bigquery.Client, lab: str) -> None:
    made = _do(client, f"CREATE VIEW {lab}.v AS (SELECT id, total FROM shop.orders)")
    assert made == ("CREATE_VIEW", "CREATE", f"acme-shop.{lab}.v")
    view = client.get_table(f"{lab}.v")
    assert (view.table_type, view.view_query) == ("VIEW", "SELECT id, total FROM shop.orders")
    assert [field.name for field in view.schema] == ["id", "total"]
    etag = view.etag
    assert _do(client, f"CREATE OR REPLACE VIEW {lab}.v (n) AS SELECT 7 AS x")[1] == "REPLACE"
    assert _ask(client, f"SELECT n FROM {lab}.v") == [(7,)]
    assert client.get_table(f"{lab}.v").etag != etag
    with pytest.raises(BadRequest, match="is currently a VIEW"):
        client.query(f"DROP TABLE {lab}.v").result()
    assert _do(client, f"DROP VIEW {lab}.v")[:2] == ("DROP_VIEW", "DROP")
    with pytest.raises(NotFound):
        client.get_table(f"{lab}.v")


def test_columns_come_and_go(client: bigquery.Client, lab: str) -> None:
    client.query_and_wait(f"CREATE TABLE {lab}.t AS SELECT 1 AS a, 'x' AS b")
    etag = client.get_table(f"{lab}.t").etag
    sql = (
        f"ALTER TABLE {lab}.t ADD COLUMN c ARRAY<INT64>, ADD COLUMN IF NOT EXISTS a STRING, "
        "DROP COLUMN b"
    )
    assert _do(client, sql) == ("ALTER_TABLE", "ALTER", f"acme-shop.{lab}.t")
    assert client.get_table(f"{lab}.t").etag != etag
    assert _ask(client, f"SELECT * FROM {lab}.t") == [(1, [])]
    client.query_and_wait(f"ALTER TABLE {lab}.t RENAME COLUMN a TO z")
    assert _ask(client, f"SELECT z FROM {lab}.t") == [(1,)]
    with pytest.raises(BadRequest, match="Column not found: a"):
        client.query(f"ALTER TABLE {lab}.t DROP COLUMN a").result()
    with pytest.raises(NotFound, match=f"Table acme-shop:{lab}.nope was not found"):
        client.query(f"ALTER TABLE {lab}.nope DROP COLUMN a").result()


def test_options_are_set_and_taken_away(client: bigquery.Client, lab: str) -> None:
    client.query_and_wait(f"CREATE TABLE {lab}.t (a INT64)")
    client.query_and_wait(f"CREATE VIEW {lab}.v AS SELECT 1 AS a")
    client.query_and_wait(f"CREATE MATERIALIZED VIEW {lab}.m AS SELECT a FROM {lab}.t")
    for kind, name in (("TABLE", "t"), ("VIEW", "v"), ("MATERIALIZED VIEW", "m")):
        etag = client.get_table(f"{lab}.{name}").etag
        options = "description = 'd', friendly_name = 'f', labels = [('a', 'b')]"
        said = _do(client, f"ALTER {kind} {lab}.{name} SET OPTIONS ({options})")
        assert said[:2] == (f"ALTER_{kind.replace(' ', '_')}", "ALTER")
        got = client.get_table(f"{lab}.{name}")
        assert (got.description, got.friendly_name, got.labels) == ("d", "f", {"a": "b"})
        assert got.etag != etag
        none = "description = NULL, friendly_name = NULL, labels = NULL"
        client.query_and_wait(f"ALTER {kind} {lab}.{name} SET OPTIONS ({none})")
        got = client.get_table(f"{lab}.{name}")
        assert (got.description, got.friendly_name, got.labels) == (None, None, {})
    with pytest.raises(BadRequest, match="is currently a VIEW"):
        client.query(f"ALTER MATERIALIZED VIEW {lab}.v SET OPTIONS (description = 'd')").result()


def test_options_of_a_dataset_are_set_and_taken_away(client: bigquery.Client, lab: str) -> None:
    options = "description = 'd', default_table_expiration_days = 1.5, labels = [('a', 'b')]"
    client.query_and_wait(f"ALTER SCHEMA {lab} SET OPTIONS ({options})")
    got = client.get_dataset(lab)
    assert (got.description, got.default_table_expiration_ms) == ("d", 129_600_000)
    assert got.labels == {"a": "b"}
    none = "description = NULL, default_table_expiration_days = NULL"
    client.query_and_wait(f"ALTER SCHEMA {lab} SET OPTIONS ({none})")
    got = client.get_dataset(lab)
    assert (got.description, got.default_table_expiration_ms) == (None, None)
    assert got.labels == {"a": "b"}


def test_things_are_dropped(client: bigquery.Client, lab: str) -> None:
    client.query_and_wait(f"CREATE TABLE `acme-shop.{lab}.t` (a INT64)")
    with pytest.raises(BadRequest, match="is still in use") as refused:
        client.query(f"DROP SCHEMA {lab}").result()
    assert refused.value.errors[0]["reason"] == "resourceInUse"
    assert _do(client, f"DROP TABLE `acme-shop.{lab}.t`")[:2] == ("DROP_TABLE", "DROP")
    assert _do(client, f"DROP TABLE IF EXISTS {lab}.t")[:2] == ("DROP_TABLE", "SKIP")
    with pytest.raises(NotFound, match=f"Not found: Table acme-shop:{lab}.t"):
        client.query(f"DROP TABLE {lab}.t").result()


def test_datasets_are_made(client: bigquery.Client, lab: str) -> None:
    job = client.query(f"CREATE SCHEMA {lab}_2 OPTIONS(description='made')")
    job.result()
    assert job.statement_type == "CREATE_SCHEMA"
    assert client.get_dataset(f"{lab}_2").description == "made"
    with pytest.raises(Conflict, match=f"Already Exists: Dataset acme-shop:{lab}_2"):
        client.query(f"CREATE SCHEMA {lab}_2").result()
    assert _do(client, f"CREATE SCHEMA IF NOT EXISTS {lab}_2")[1] == "SKIP"
    assert _do(client, f"DROP SCHEMA {lab}_2")[:2] == ("DROP_SCHEMA", "DROP")
    with pytest.raises(NotFound):
        client.get_dataset(f"{lab}_2")


def test_a_dataset_lies_where_its_statement_runs_and_not_in_the_us(
    client: bigquery.Client, lab: str
) -> None:
    options = "max_time_travel_hours = 48, default_rounding_mode = 'ROUND_HALF_EVEN'"
    eu = ", location = 'EU'"
    for name, more, place in (("tokyo", "", "asia-northeast1"), ("eu", eu, "EU")):
        sql = f"CREATE SCHEMA {lab}_{name} OPTIONS({options}{more})"
        client.query(sql, location="asia-northeast1").result()
        made = client.get_dataset(f"{lab}_{name}")
        client.delete_dataset(f"{lab}_{name}")
        assert (made.location, made.max_time_travel_hours) == (place, "48")
        assert made.default_rounding_mode == "ROUND_HALF_EVEN"


def test_a_sql_function_is_called(client: bigquery.Client, lab: str) -> None:
    sql = (
        f"CREATE FUNCTION {lab}.plus(x INT64, y ANY TYPE) "
        f"AS (x + y + (SELECT MIN(id) FROM shop.orders))"
    )
    assert _do(client, sql)[:2] == ("CREATE_FUNCTION", "CREATE")
    query = (
        f"SELECT {lab}.plus(1, 2), `acme-shop.{lab}.plus`(1, 0.5), `acme-shop`.{lab}.plus(NULL, 1)"
    )
    assert _ask(client, query) == [(4, 2.5, None)]
    job = client.query(query)
    job.result()
    assert [str(table) for table in job.referenced_tables] == ["acme-shop.shop.orders"]
    nested = (
        f"CREATE FUNCTION {lab}.twice(x INT64) RETURNS STRING AS (CAST({lab}.plus(x, x) AS STRING))"
    )
    client.query_and_wait(nested)
    assert _ask(client, f"SELECT {lab}.twice(id) FROM shop.orders WHERE id = 2") == [("5",)]
    routine = client.get_routine(f"{lab}.twice")
    assert (routine.type_, routine.language, routine.body) == (
        "SCALAR_FUNCTION",
        "SQL",
        f"CAST({lab}.plus(x, x) AS STRING)",
    )
    assert routine.arguments[0].name == "x"
    assert routine.arguments[0].data_type.type_kind == "INT64"
    assert routine.return_type.type_kind == "STRING"
    assert client.get_routine(f"{lab}.plus").arguments[1].kind == "ANY_TYPE"
    etag = routine.etag
    client.query_and_wait(f"CREATE OR REPLACE FUNCTION {lab}.twice(x INT64) AS (x * 2)")
    assert client.get_routine(f"{lab}.twice").etag != etag
    assert _ask(client, f"SELECT {lab}.twice(4)") == [(8,)]
    assert [each.routine_id for each in client.list_routines(lab)] == ["plus", "twice"]
    assert _do(client, f"DROP FUNCTION {lab}.twice")[:2] == ("DROP_FUNCTION", "DROP")
    with pytest.raises(NotFound, match=f"Not found: Routine acme-shop:{lab}.twice"):
        client.get_routine(f"{lab}.twice")
    with pytest.raises(BadRequest, match=f"Function not found: {lab}.twice"):
        client.query_and_wait(f"SELECT {lab}.twice(4)")


def test_keys_are_told_of_and_dropped(client: bigquery.Client, lab: str) -> None:
    client.query_and_wait(
        f"CREATE TABLE {lab}.there (x INT64, y INT64, PRIMARY KEY (y) NOT ENFORCED)"
    )
    client.query_and_wait(f"CREATE TABLE {lab}.here (a INT64)")
    altered = f"ALTER TABLE {lab}.here"
    named = f"ADD CONSTRAINT `to` FOREIGN KEY (a) REFERENCES {lab}.there(y) NOT ENFORCED"
    assert _do(client, f"{altered} {named}, ADD PRIMARY KEY (a) NOT ENFORCED")[0] == "ALTER_TABLE"
    keys = client.get_table(f"{lab}.here").table_constraints
    (key,) = keys.foreign_keys
    assert (keys.primary_key.columns, key.name) == (["a"], "to")
    assert str(key.referenced_table) == f"acme-shop.{lab}.there"
    column = key.column_references[0]
    assert (column.referencing_column, column.referenced_column) == ("a", "y")
    there = client.get_table(f"{lab}.there").table_constraints
    assert there.primary_key.columns == ["y"]
    for again in (named, "ADD PRIMARY KEY (a) NOT ENFORCED"):
        with pytest.raises(Conflict):
            client.query_and_wait(f"{altered} {again}")
    for enforced in ("ADD PRIMARY KEY (a)", f"ADD FOREIGN KEY (a) REFERENCES {lab}.there(y)"):
        with pytest.raises(BadRequest, match="NOT ENFORCED"):
            client.query_and_wait(f"{altered} {enforced}")
    client.query_and_wait(f"{altered} DROP CONSTRAINT `to`, DROP PRIMARY KEY")
    assert client.get_table(f"{lab}.here").table_constraints is None
    for gone in ("CONSTRAINT `to`", "PRIMARY KEY"):
        with pytest.raises(BadRequest):
            client.query_and_wait(f"{altered} DROP {gone}")
        lenient = gone.replace("CONSTRAINT", "CONSTRAINT IF EXISTS").replace("KEY", "KEY IF EXISTS")
        client.query_and_wait(f"{altered} DROP {lenient}")


def test_a_function_may_be_one_to_mask_by(client: bigquery.Client, lab: str) -> None:
    option = "OPTIONS (data_governance_type = 'DATA_MASKING')"
    client.query_and_wait(f"CREATE FUNCTION {lab}.hidden(x STRING) AS ('x') {option}")
    assert client.get_routine(f"{lab}.hidden").data_governance_type == "DATA_MASKING"


def test_an_aggregate_function_is_called(client: bigquery.Client, lab: str) -> None:
    client.query_and_wait(f"CREATE AGGREGATE FUNCTION {lab}.spread(x INT64) AS (MAX(x) - MIN(x))")
    assert _ask(client, f"SELECT {lab}.spread(id) FROM shop.orders") == [(999,)]
    assert client.get_routine(f"{lab}.spread").type_ == "AGGREGATE_FUNCTION"


def test_a_table_function_is_called(client: bigquery.Client, lab: str) -> None:
    sql = (
        f"CREATE TABLE FUNCTION {lab}.since(day DATE) AS "
        "SELECT id, deliver_by FROM shop.orders WHERE deliver_by >= day"
    )
    assert _do(client, sql)[:2] == ("CREATE_TABLE_FUNCTION", "CREATE")
    expected = _ask(client, "SELECT COUNT(*) FROM shop.orders WHERE deliver_by >= '2025-06-01'")
    query = f"SELECT COUNT(deliver_by) FROM {lab}.since(DATE '2025-06-01')"
    assert _ask(client, query) == expected
    config = bigquery.QueryJobConfig(dry_run=True)
    dry = client.query(
        f"SELECT * FROM {lab}.since(CURRENT_DATE()) JOIN shop.orders USING (id)", config
    )
    assert {str(table) for table in dry.referenced_tables} == {"acme-shop.shop.orders"}
    declared = (
        f"CREATE TABLE FUNCTION {lab}.named(x INT64) RETURNS TABLE<n INT64, day DATE> AS "
        f"SELECT id AS n, deliver_by AS day FROM {lab}.since(DATE '2000-01-01') WHERE id = x"
    )
    client.query_and_wait(declared)
    assert _ask(client, f"SELECT n FROM {lab}.named(3)") == [(3,)]
    routine = client.get_routine(f"{lab}.named")
    assert routine.type_ == "TABLE_VALUED_FUNCTION"
    assert [(c.name, c.type.type_kind) for c in routine.return_table_type.columns] == [
        ("n", "INT64"),
        ("day", "DATE"),
    ]
    assert _do(client, f"DROP TABLE FUNCTION {lab}.named")[:2] == ("DROP_TABLE_FUNCTION", "DROP")


def test_functions_in_other_languages_are_kept_and_not_run(
    client: bigquery.Client, lab: str
) -> None:
    client.query_and_wait(
        f"CREATE FUNCTION {lab}.js(x FLOAT64) RETURNS STRING LANGUAGE js AS r'''return `${{x}}`;'''"
    )
    client.query_and_wait(
        f"CREATE FUNCTION {lab}.far(x INT64) RETURNS INT64 REMOTE WITH CONNECTION "
        "`acme-shop.us.out` OPTIONS(endpoint='https://far.example.com')"
    )
    kept = client.get_routine(f"{lab}.js")
    assert (kept.language, kept.body) == ("JAVASCRIPT", "return `${x}`;")
    far = client.get_routine(f"{lab}.far").to_api_repr()
    assert far["remoteFunctionOptions"] == {
        "endpoint": "https://far.example.com",
        "connection": "acme-shop.us.out",
    }
    for call in (f"{lab}.js(1)", f"{lab}.far(1)"):
        dry = client.query(f"SELECT {call} AS y", bigquery.QueryJobConfig(dry_run=True))
        assert dry.schema[0].name == "y"
        with pytest.raises(BadRequest, match="not supported by the sandbox: running the function"):
            client.query_and_wait(f"SELECT {call}")


def test_a_table_keeps_how_it_is_partitioned(client: bigquery.Client, lab: str) -> None:
    client.query_and_wait(f"CREATE TABLE {lab}.d (a INT64) PARTITION BY _PARTITIONDATE")
    table = client.get_table(f"{lab}.d")
    assert (table.time_partitioning.type_, table.time_partitioning.field) == ("DAY", None)
    client.query_and_wait(f"INSERT {lab}.d (a) VALUES (1)")
    client.query_and_wait(f"INSERT {lab}.d (_PARTITIONTIME, a) VALUES (TIMESTAMP '2026-01-02', 2)")
    rows = _ask(client, f"SELECT _PARTITIONDATE, d.* FROM {lab}.d AS d ORDER BY a")
    assert rows[0][0] >= dt.date(2026, 1, 3)
    assert rows[1] == (dt.date(2026, 1, 2), 2)
    assert _ask(client, f"SELECT * FROM {lab}.d WHERE a = 2") == [(2,)]
    client.query_and_wait(
        f"CREATE TABLE {lab}.h (t TIMESTAMP) PARTITION BY TIMESTAMP_TRUNC(t, HOUR)"
    )
    hourly = client.get_table(f"{lab}.h").time_partitioning
    assert (hourly.type_, hourly.field) == ("HOUR", "t")


_REFUSED: list[tuple[str, type[GoogleAPICallError], str]] = [
    ("CREATE TABLE nope.t (a INT64)", NotFound, "Dataset acme-shop:nope was not found"),
    ("CREATE VIEW {lab}.v AS SELECT * FROM t", BadRequest, "must be qualified with a dataset"),
    ("CREATE VIEW {lab}.v AS SELECT 1", BadRequest, "columns must be named, but column 1 has no"),
    ("CREATE TEMP TABLE t (a INT64)", BadRequest, "requires a script or session"),
    ("CREATE TEMP FUNCTION f() AS (1)", BadRequest, "must be followed by an actual query"),
    ("CREATE FUNCTION {lab}.f() AS (nope)", BadRequest, "Unrecognized name: nope"),
    (
        "CREATE TABLE {lab}.t (a INT64) PARTITION BY a * 2",
        BadRequest,
        "PARTITION BY expression mus",
    ),
    ("CREATE TABLE {lab}.t (a INT64, a STRING)", BadRequest, "[Dd]uplicate column name"),
    ("ALTER TABLE shop.orders ADD COLUMN z INT64 NOT NULL", BadRequest, "Cannot add required"),
    ("DROP VIEW shop.customers", BadRequest, "is currently a TABLE"),
]


@pytest.mark.parametrize(("sql", "error", "text"), _REFUSED)
def test_wrong_definitions_are_refused(
    client: bigquery.Client, lab: str, sql: str, error: type[GoogleAPICallError], text: str
) -> None:
    with pytest.raises(error, match=text):
        client.query(sql.format(lab=lab)).result()
    assert list(client.list_tables(lab)) == []
