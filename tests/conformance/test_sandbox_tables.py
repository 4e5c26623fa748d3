"""Kinds of tables, and what INFORMATION_SCHEMA tells of them: the real client, the real server."""

# ruff: noqa: S608  # the names put into the SQL are the test's own

from __future__ import annotations

from typing import Any

import pytest
from google.api_core.exceptions import BadRequest, NotFound
from google.cloud import bigquery

_DRY = bigquery.QueryJobConfig(dry_run=True)


def _ask(client: bigquery.Client, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in client.query_and_wait(sql)]


def test_a_wildcard_is_all_tables_of_a_prefix(client: bigquery.Client, lab: str) -> None:
    client.query_and_wait(f"CREATE TABLE {lab}.log_1 AS SELECT 1 AS a, 'x' AS old")
    client.query_and_wait(f"CREATE TABLE {lab}.log_2 AS SELECT 2.5 AS fresh, 2 AS a")
    client.query_and_wait(f"CREATE TABLE {lab}.other AS SELECT 3 AS a")
    rows = _ask(client, f"SELECT *, _TABLE_SUFFIX FROM `{lab}.log_*` ORDER BY a")
    assert rows == [(None, 1, "1"), (2.5, 2, "2")]
    named = f"SELECT a FROM `acme-shop.{lab}.log_*` AS l WHERE l._TABLE_SUFFIX BETWEEN '2' AND '3'"
    assert _ask(client, named) == [(2,)]
    with pytest.raises(BadRequest, match="Unrecognized name: old"):
        client.query_and_wait(f"SELECT old FROM `{lab}.log_*`")
    with pytest.raises(NotFound, match="does not match any table"):
        client.query_and_wait(f"SELECT * FROM `{lab}.zzz_*`")
    client.query_and_wait(f"CREATE VIEW {lab}.log_view AS SELECT 1 AS a")
    with pytest.raises(BadRequest, match="Views cannot be queried through prefix"):
        client.query_and_wait(f"SELECT * FROM `{lab}.log_*`")


def test_a_wildcard_refuses_columns_of_other_types(client: bigquery.Client, lab: str) -> None:
    client.query_and_wait(f"CREATE TABLE {lab}.log_1 AS SELECT 'x' AS a")
    client.query_and_wait(f"CREATE TABLE {lab}.log_2 AS SELECT 2 AS a")
    with pytest.raises(BadRequest, match="Cannot read field 'a' of type STRING as INT64"):
        client.query_and_wait(f"SELECT * FROM `{lab}.log_*`")


def test_a_table_is_read_as_it_was(client: bigquery.Client, lab: str) -> None:
    client.query_and_wait(f"CREATE TABLE {lab}.t AS SELECT 1 AS a")
    (before,) = _ask(client, "SELECT UNIX_MICROS(CURRENT_TIMESTAMP())")[0]
    client.query_and_wait(f"INSERT {lab}.t (a) VALUES (2)")
    client.query_and_wait(f"ALTER TABLE {lab}.t ADD COLUMN b STRING")
    then = f"FOR SYSTEM_TIME AS OF TIMESTAMP_MICROS({before})"
    assert _ask(client, f"SELECT a FROM {lab}.t {then}") == [(1,)]
    assert _ask(client, f"SELECT COUNT(*) FROM {lab}.t AS now, {lab}.t AS old {then}") == [(2,)]
    now = "FOR SYSTEM_TIME AS OF CURRENT_TIMESTAMP()"
    assert _ask(client, f"SELECT COUNT(*) FROM `acme-shop.{lab}.t` {now}") == [(2,)]
    long_ago = "FOR SYSTEM_TIME AS OF TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 1 DAY)"
    with pytest.raises(BadRequest, match="Invalid time travel timestamp"):
        client.query_and_wait(f"SELECT * FROM {lab}.t {long_ago}")
    # What the folder holds was always there.
    assert _ask(client, f"SELECT COUNT(*) FROM shop.customers {long_ago}") == [(200,)]


def test_a_sample_is_a_part(client: bigquery.Client) -> None:
    ((some,),) = _ask(
        client, "SELECT COUNT(*) FROM analytics.events TABLESAMPLE SYSTEM (50 PERCENT)"
    )
    assert 0 < some < 2000
    everything = "SELECT COUNT(*) FROM analytics.events AS e TABLESAMPLE SYSTEM (100 PERCENT)"
    assert _ask(client, everything) == [(2000,)]


def test_a_dry_run_lists_views_and_the_tables_beneath(client: bigquery.Client, lab: str) -> None:
    client.query_and_wait(f"CREATE VIEW {lab}.v AS SELECT city, total FROM analytics.sales_by_city")
    job = client.query(f"SELECT city FROM {lab}.v", _DRY)
    assert {str(table) for table in job.referenced_tables} == {
        f"acme-shop.{lab}.v",
        "acme-shop.analytics.sales_by_city",
        "acme-shop.shop.customers",
        "acme-shop.shop.orders",
    }


def _schema_of(client: bigquery.Client, lab: str, view: str, columns: str) -> list[tuple[Any, ...]]:
    return _ask(client, f"SELECT {columns} FROM {lab}.INFORMATION_SCHEMA.{view} ORDER BY 1, 2")


def test_information_schema_tells_of_a_dataset(client: bigquery.Client, lab: str) -> None:
    client.query_and_wait(
        f"CREATE TABLE {lab}.t (a INT64 NOT NULL, r STRUCT<x STRING OPTIONS(description='the x')>, "
        "d DATE DEFAULT CURRENT_DATE()) PARTITION BY d CLUSTER BY a OPTIONS(description='it')"
    )
    client.query_and_wait(f"CREATE TABLE {lab}.p (a INT64) PARTITION BY _PARTITIONDATE")
    client.query_and_wait(f"CREATE VIEW {lab}.v AS SELECT a FROM {lab}.t")
    client.query_and_wait(f"CREATE FUNCTION {lab}.f(x INT64, y ANY TYPE) RETURNS INT64 AS (x)")
    client.query_and_wait(f"INSERT {lab}.t (a, d) VALUES (1, '2026-01-02'), (2, NULL), (3, NULL)")
    assert _schema_of(client, lab, "TABLES", "table_name, table_type") == [
        ("p", "BASE TABLE"),
        ("t", "BASE TABLE"),
        ("v", "VIEW"),
    ]
    columns = "table_name, ordinal_position, column_name, data_type, is_nullable, is_hidden"
    assert _schema_of(client, lab, "COLUMNS", columns) == [
        ("p", None, "_PARTITIONTIME", "TIMESTAMP", "YES", "YES"),
        ("p", None, "_PARTITIONDATE", "DATE", "YES", "YES"),
        ("p", 1, "a", "INT64", "YES", "NO"),
        ("t", 1, "a", "INT64", "NO", "NO"),
        ("t", 2, "r", "STRUCT<x STRING>", "YES", "NO"),
        ("t", 3, "d", "DATE", "YES", "NO"),
        ("v", 1, "a", "INT64", "YES", "NO"),
    ]
    partitioned = f"SELECT column_name FROM {lab}.INFORMATION_SCHEMA.COLUMNS WHERE "
    assert _ask(client, f"{partitioned} is_partitioning_column = 'YES' ORDER BY 1") == [
        ("_PARTITIONTIME",),
        ("d",),
    ]
    assert _ask(client, f"{partitioned} clustering_ordinal_position = 1") == [("a",)]
    paths = "field_path, description"
    assert ("r.x", "the x") in _schema_of(client, lab, "COLUMN_FIELD_PATHS", paths)
    views = _schema_of(client, lab, "VIEWS", "table_name, view_definition")
    assert views == [("v", f"SELECT a FROM {lab}.t")]
    routines = "routine_name, routine_type, routine_definition, routine_body"
    assert _schema_of(client, lab, "ROUTINES", routines) == [("f", "FUNCTION", "x", "SQL")]
    parameters = "specific_name, ordinal_position, parameter_name, data_type"
    assert _schema_of(client, lab, "PARAMETERS", parameters) == [
        ("f", 0, None, "INT64"),
        ("f", 1, "x", "INT64"),
        ("f", 2, "y", "ANY TYPE"),
    ]
    options = "table_name, option_name, option_value"
    assert _schema_of(client, lab, "TABLE_OPTIONS", options) == [("t", "description", '"it"')]
    partitions = "table_name, partition_id, total_rows"
    assert _schema_of(client, lab, "PARTITIONS", partitions) == [
        ("t", "20260102", 1),
        ("t", "__NULL__", 2),
    ]
    with pytest.raises(NotFound, match=r"INFORMATION_SCHEMA\.NOPE was not found"):
        _schema_of(client, lab, "NOPE", "*")


def test_information_schema_tells_of_a_region(client: bigquery.Client, lab: str) -> None:
    schemas = _ask(client, "SELECT schema_name FROM INFORMATION_SCHEMA.SCHEMATA")
    assert {("shop",), ("analytics",), (lab,)} <= set(schemas)
    for region in ("`region-us`", "`acme-shop`.`region-us`", "`acme-shop.region-US`"):
        tables = f"{region}.INFORMATION_SCHEMA.TABLES"
        sql = f"SELECT table_schema FROM {tables} WHERE table_name = 'orders'"
        assert _ask(client, sql) == [("shop",)]
    whole = (
        "SELECT COUNT(*) FROM `region-us.INFORMATION_SCHEMA.COLUMNS` WHERE table_schema = 'shop'"
    )
    assert _ask(client, whole) == [(23,)]
    assert _ask(client, "SELECT COUNT(*) FROM `region-eu`.INFORMATION_SCHEMA.TABLES") == [(0,)]
    with pytest.raises(BadRequest, match="must be qualified with a dataset"):
        client.query_and_wait("SELECT * FROM INFORMATION_SCHEMA.TABLES")
    with pytest.raises(NotFound, match="Dataset acme-shop:nope"):
        client.query_and_wait("SELECT * FROM nope.INFORMATION_SCHEMA.TABLES")


def test_policy_tags_are_told(client: bigquery.Client) -> None:
    sql = (
        "SELECT field_path FROM shop.INFORMATION_SCHEMA.COLUMN_FIELD_PATHS "
        "WHERE ARRAY_LENGTH(policy_tags) > 0 AND column_name IN ('ssn', 'address') ORDER BY 1"
    )
    assert _ask(client, sql) == [("address.street",), ("address.zip",), ("ssn",)]
