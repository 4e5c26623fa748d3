"""DML: the real client changes tables of the real server process."""

# ruff: noqa: S608  # the names put into the SQL are the test's own

from __future__ import annotations

from typing import Any

import pytest
from google.api_core.exceptions import BadRequest, GoogleAPICallError, NotFound
from google.cloud import bigquery

Rows = list[tuple[Any, ...]]


@pytest.fixture
def stock(client: bigquery.Client, lab: str) -> str:
    """A small table: 1 lamp 10, 2 mug 20, 3 kettle 30, with a record and a list."""
    client.query_and_wait(
        f"CREATE TABLE {lab}.stock (id INT64 NOT NULL, name STRING, count INT64, "
        "shelf STRUCT<room STRING, row INT64>, tags ARRAY<STRING>, note STRING DEFAULT 'none')"
    )
    client.query_and_wait(
        f"INSERT {lab}.stock (id, name, count, shelf, tags) VALUES "
        "(1, 'lamp', 10, ('a', 1), ['x']), (2, 'mug', 20, ('b', 2), []), "
        "(3, 'kettle', 30, NULL, NULL)"
    )
    return f"{lab}.stock"


def _ask(client: bigquery.Client, sql: str) -> Rows:
    return [tuple(row.values()) for row in client.query_and_wait(sql)]


def _do(client: bigquery.Client, sql: str) -> tuple[str | None, int | None, tuple[int, int, int]]:
    """Run DML; give its kind, the rows affected, and how many were inserted, updated, deleted."""
    job = client.query(sql)
    result = job.result()
    assert list(result) == []
    stats = job.dml_stats
    counts = stats.inserted_row_count, stats.updated_row_count, stats.deleted_row_count
    assert result.num_dml_affected_rows == job.num_dml_affected_rows
    return job.statement_type, job.num_dml_affected_rows, counts


def test_values_are_inserted(client: bigquery.Client, stock: str) -> None:
    sql = f"INSERT INTO {stock} (id, count, note) VALUES (4, 1 + 3, DEFAULT), (5, NULL, 'x')"
    assert _do(client, sql) == ("INSERT", 2, (2, 0, 0))
    rows = _ask(client, f"SELECT * FROM {stock} WHERE id > 3 ORDER BY id")
    assert rows == [(4, None, 4, None, [], "none"), (5, None, None, None, [], "x")]


def test_the_result_of_a_query_is_inserted(client: bigquery.Client, stock: str) -> None:
    sql = (
        f"INSERT {stock} (count, id, shelf) "
        f"WITH more AS (SELECT count + 1, id + 10, shelf FROM {stock}) SELECT * FROM more"
    )
    assert _do(client, sql) == ("INSERT", 3, (3, 0, 0))
    rows = _ask(client, f"SELECT id, count, shelf.room, note FROM {stock} WHERE id > 10")
    assert rows == [(11, 11, "a", "none"), (12, 21, "b", "none"), (13, 31, None, "none")]


def test_rows_are_updated(client: bigquery.Client, stock: str) -> None:
    sql = f"UPDATE {stock} SET count = count * 2, name = DEFAULT WHERE id > 1"
    assert _do(client, sql) == ("UPDATE", 2, (0, 2, 0))
    rows = _ask(client, f"SELECT id, name, count FROM {stock} ORDER BY id")
    assert rows == [(1, "lamp", 10), (2, None, 40), (3, None, 60)]


def test_one_field_of_a_record_is_updated(client: bigquery.Client, stock: str) -> None:
    _do(client, f"UPDATE {stock} s SET s.shelf.row = 9, shelf.room = 'z' WHERE id != 2")
    rows = _ask(client, f"SELECT shelf.room, shelf.row FROM {stock} ORDER BY id")
    assert rows == [("z", 9), ("b", 2), ("z", 9)]


def test_rows_are_updated_from_other_tables(client: bigquery.Client, stock: str) -> None:
    sql = (
        f"UPDATE {stock} AS s SET name = o.status, tags = ['n'] FROM shop.orders o "
        "JOIN shop.customers c ON c.id = o.customer_id WHERE o.id = s.id AND s.id < 3"
    )
    assert _do(client, sql) == ("UPDATE", 2, (0, 2, 0))
    statuses = _ask(client, "SELECT status FROM shop.orders WHERE id < 3 ORDER BY id")
    rows = _ask(client, f"SELECT name, tags FROM {stock} ORDER BY id")
    assert rows == [(statuses[0][0], ["n"]), (statuses[1][0], ["n"]), ("kettle", [])]


def test_rows_are_deleted(client: bigquery.Client, stock: str) -> None:
    sql = f"DELETE FROM {stock} AS s WHERE s.id IN (SELECT MAX(id) FROM {stock}) OR name = 'mug'"
    assert _do(client, sql) == ("DELETE", 2, (0, 0, 2))
    assert _ask(client, f"SELECT id FROM {stock}") == [(1,)]


def test_a_table_is_emptied(client: bigquery.Client, stock: str) -> None:
    assert _do(client, f"TRUNCATE TABLE `acme-shop.{stock}`") == ("TRUNCATE_TABLE", 3, (0, 0, 3))
    assert _ask(client, f"SELECT COUNT(*) FROM {stock}") == [(0,)]
    assert client.get_table(stock).num_rows == 0


def test_a_merge_does_all_at_once(client: bigquery.Client, stock: str) -> None:
    sql = f"""
        MERGE {stock} AS t
        USING (SELECT * FROM UNNEST([STRUCT(1 AS id, 'new' AS name), (2, 'gone'), (7, 'add')])) s
        ON t.id = s.id
        WHEN MATCHED AND s.name = 'gone' THEN DELETE
        WHEN MATCHED THEN UPDATE SET name = s.name, count = t.count + 1
        WHEN NOT MATCHED BY TARGET THEN INSERT (id, name) VALUES (s.id, CONCAT(s.name, '!'))
        WHEN NOT MATCHED BY SOURCE AND t.count > 25 THEN UPDATE SET count = 0
        WHEN NOT MATCHED BY SOURCE THEN DELETE"""
    assert _do(client, sql) == ("MERGE", 4, (1, 2, 1))
    rows = _ask(client, f"SELECT id, name, count, note FROM {stock} ORDER BY id")
    assert rows == [(1, "new", 11, "none"), (3, "kettle", 0, "none"), (7, "add!", None, "none")]


def test_a_merge_can_replace_all_rows(client: bigquery.Client, stock: str) -> None:
    sql = f"""
        MERGE {stock} USING (SELECT id + 100 AS id, name, count, shelf, tags, note FROM {stock})
        ON FALSE WHEN NOT MATCHED THEN INSERT ROW WHEN NOT MATCHED BY SOURCE THEN DELETE"""
    assert _do(client, sql) == ("MERGE", 6, (3, 0, 3))
    assert _ask(client, f"SELECT id, name FROM {stock} ORDER BY id") == [
        (101, "lamp"),
        (102, "mug"),
        (103, "kettle"),
    ]


def test_parameters_reach_dml(client: bigquery.Client, stock: str) -> None:
    given = [
        bigquery.ScalarQueryParameter(None, "STRING", "named"),
        bigquery.ScalarQueryParameter(None, "INT64", 2),
    ]
    config = bigquery.QueryJobConfig(query_parameters=given)
    client.query(f"UPDATE {stock} SET name = ? WHERE id = ?", job_config=config).result()
    assert _ask(client, f"SELECT name FROM {stock} WHERE id = 2") == [("named",)]


def test_a_jobs_target_is_its_destination(client: bigquery.Client, stock: str) -> None:
    job = client.query(f"DELETE {stock} WHERE TRUE")
    job.result()
    assert str(job.destination) == f"acme-shop.{stock}"
    at_once = client.query_and_wait(f"INSERT {stock} (id) VALUES (1)")
    assert at_once.num_dml_affected_rows == 1


def test_views_follow_the_tables_under_them(client: bigquery.Client, lab: str, stock: str) -> None:
    client.query_and_wait(f"CREATE VIEW {lab}.sums AS SELECT SUM(count) AS total FROM {stock}")
    assert _ask(client, f"SELECT total FROM {lab}.sums") == [(60,)]
    client.query_and_wait(f"DELETE {stock} WHERE id = 3")
    assert _ask(client, f"SELECT total FROM {lab}.sums") == [(30,)]


_REFUSED: list[tuple[str, type[GoogleAPICallError], str]] = [
    ("UPDATE {stock} SET count = 1", BadRequest, "UPDATE must have a WHERE clause"),
    ("DELETE FROM {stock}", BadRequest, "DELETE must have a WHERE clause"),
    ("INSERT {stock} (id, name) VALUES (1)", BadRequest, "wrong column count"),
    ("INSERT {stock} (id, nope) VALUES (1, 2)", BadRequest, "Column nope is not present"),
    ("INSERT {stock} (id) VALUES ('x')", BadRequest, "Value has type STRING which cannot be inser"),
    ("INSERT {stock} (name) VALUES ('x')", BadRequest, "Required field id cannot be null"),
    ("UPDATE {stock} SET id = NULL WHERE TRUE", BadRequest, "Required field id cannot be null"),
    ("INSERT shop.nope (a) VALUES (1)", NotFound, "Table acme-shop:shop.nope was not found"),
    (
        "INSERT analytics.sales_by_city (city) VALUES ('x')",
        BadRequest,
        "not allowed for this operation because it is currently a VIEW",
    ),
    (
        "UPDATE {stock} s SET count = 1 FROM shop.orders o WHERE o.id < 9",
        BadRequest,
        "UPDATE/MERGE must match at most one source row for each target row",
    ),
    ("UPDATE {stock} SET count = CAST(name AS INT64) WHERE TRUE", BadRequest, "Bad int64 value"),
    ("UPDATE {stock} SET tags[0] = 'x' WHERE TRUE", BadRequest, "sandbox|[Ss]yntax error"),
]


@pytest.mark.parametrize(("sql", "error", "text"), _REFUSED)
def test_what_goes_wrong_changes_nothing(
    client: bigquery.Client, stock: str, sql: str, error: type[GoogleAPICallError], text: str
) -> None:
    before = _ask(client, f"SELECT TO_JSON_STRING(s) FROM {stock} s ORDER BY id")
    with pytest.raises(error, match=text):
        client.query(sql.format(stock=stock)).result()
    assert _ask(client, f"SELECT TO_JSON_STRING(s) FROM {stock} s ORDER BY id") == before
