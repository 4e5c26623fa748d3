"""The real client asks the real server process."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from itertools import chain
from typing import Any

import pytest
from dateutil.relativedelta import relativedelta
from google.api_core.exceptions import BadRequest, Conflict, GoogleAPICallError, NotFound
from google.cloud import bigquery
from google.cloud.bigquery import (
    ArrayQueryParameter,
    QueryJobConfig,
    RangeQueryParameter,
    ScalarQueryParameter,
    StructQueryParameter,
)


def _rows(client: bigquery.Client, sql: str, **config: Any) -> list[tuple[Any, ...]]:
    """Ask both ways; they must agree."""
    job_config = QueryJobConfig(**config)
    at_once = [tuple(row.values()) for row in client.query_and_wait(sql, job_config=job_config)]
    by_job = [tuple(row.values()) for row in client.query(sql, job_config=job_config).result()]
    assert at_once == by_job
    return at_once


@pytest.mark.parametrize(
    "table",
    [
        "`acme-shop.shop.customers`",
        "`acme-shop`.shop.customers",
        "acme-shop.shop.customers",
        "`acme-shop.shop`.customers",
        "shop.customers",
        "`shop.customers`",
    ],
)
def test_a_table_has_many_spellings(client: bigquery.Client, table: str) -> None:
    sql = f"SELECT customers.id FROM {table} WHERE customers.id < 3 ORDER BY id"  # noqa: S608  # ours
    assert _rows(client, sql) == [(1,), (2,)]


def test_the_default_dataset_completes_a_name(client: bigquery.Client) -> None:
    sql = "SELECT COUNT(*) FROM customers JOIN orders ON orders.customer_id = customers.id"
    assert _rows(client, sql, default_dataset="acme-shop.shop") == [(1000,)]


def test_a_cte_shadows_a_table_of_the_default_dataset(client: bigquery.Client) -> None:
    sql = "WITH customers AS (SELECT * FROM customers WHERE id < 4) SELECT COUNT(*) FROM customers"
    assert _rows(client, sql, default_dataset="acme-shop.shop") == [(3,)]


def test_nested_and_repeated_fields_come_back_whole(client: bigquery.Client) -> None:
    ((address, contacts),) = _rows(
        client, "SELECT address, contacts FROM shop.customers WHERE id = 2"
    )
    assert address.keys() == {"street", "city", "zip"}
    assert [contact["kind"] for contact in contacts] == ["email", "phone"]


def test_a_view_is_read_through(client: bigquery.Client) -> None:
    sql = "SELECT SUM(orders), COUNT(*) FROM analytics.sales_by_city"
    assert _rows(client, sql) == [(1000, 6)]


_VALUES = [
    ("INT64", "-9223372036854775808", -(2**63)),
    ("FLOAT64", "1.5", 1.5),
    ("FLOAT64", "CAST('Infinity' AS FLOAT64)", math.inf),
    ("FLOAT64", "CAST('-inf' AS FLOAT64)", -math.inf),
    ("BOOL", "FALSE", False),
    ("STRING", "'é\\n'", "é\n"),
    ("BYTES", "b'\\xff\\x00'", b"\xff\x00"),
    ("NUMERIC", "NUMERIC '-99999999999999999999999999999.999999999'", None),
    ("BIGNUMERIC", "BIGNUMERIC '0.00000000000000000000000000000000000001'", None),
    ("DATE", "DATE '0001-01-01'", dt.date(1, 1, 1)),
    ("TIME", "TIME '23:59:59.999999'", dt.time(23, 59, 59, 999999)),
    ("DATETIME", "DATETIME '9999-12-31 23:59:59'", dt.datetime(9999, 12, 31, 23, 59, 59)),  # noqa: DTZ001
    (
        "TIMESTAMP",
        "TIMESTAMP '1969-12-31 23:59:59.5+00'",
        dt.datetime(1969, 12, 31, 23, 59, 59, 500000, tzinfo=dt.UTC),
    ),
    ("JSON", "JSON '{\"a\": [1, null]}'", {"a": [1, None]}),
    (
        "INTERVAL",
        "INTERVAL '-1-2 3 -4:5:6.7' YEAR TO SECOND",
        relativedelta(
            years=-1, months=-2, days=3, hours=-4, minutes=-5, seconds=-6, microseconds=-700000
        ),
    ),
    ("ARRAY", "['a', 'b']", ["a", "b"]),
    ("ARRAY", "CAST(NULL AS ARRAY<INT64>)", []),
    ("STRUCT", "STRUCT(1 AS x, [STRUCT('q' AS y)] AS z)", {"x": 1, "z": [{"y": "q"}]}),
    (
        "RANGE",
        "RANGE<DATE> '[2024-01-01, UNBOUNDED)'",
        {"start": dt.date(2024, 1, 1), "end": None},
    ),
    ("NULL", "NULL", None),
]


@pytest.mark.parametrize(("kind", "sql", "expected"), _VALUES)
def test_a_value_of_every_type_comes_back(
    client: bigquery.Client, kind: str, sql: str, expected: object
) -> None:
    if kind in ("NUMERIC", "BIGNUMERIC"):
        expected = Decimal(sql.split("'")[1])
    assert _rows(client, f"SELECT {sql}") == [(expected,)]


def test_nan_comes_back(client: bigquery.Client) -> None:
    ((value,),) = client.query_and_wait("SELECT CAST('nan' AS FLOAT64)")
    assert math.isnan(value)


_MOMENT = dt.datetime(2024, 2, 29, 1, 2, 3, 4, tzinfo=dt.UTC)
_PARAMETERS = [
    ("INT64", ScalarQueryParameter("p", "INT64", -5), -5),
    ("FLOAT64", ScalarQueryParameter("p", "FLOAT64", 0.1), 0.1),
    ("FLOAT64", ScalarQueryParameter("p", "FLOAT64", math.inf), math.inf),
    ("BOOL", ScalarQueryParameter("p", "BOOL", True), True),  # noqa: FBT003  # the client's API
    ("STRING", ScalarQueryParameter("p", "STRING", "'; --"), "'; --"),
    ("STRING", ScalarQueryParameter("p", "STRING", None), None),
    ("BYTES", ScalarQueryParameter("p", "BYTES", b"\xff"), b"\xff"),
    ("NUMERIC", ScalarQueryParameter("p", "NUMERIC", Decimal("1.23")), Decimal("1.23")),
    ("BIGNUMERIC", ScalarQueryParameter("p", "BIGNUMERIC", Decimal("1e-30")), Decimal("1e-30")),
    ("DATE", ScalarQueryParameter("p", "DATE", _MOMENT.date()), _MOMENT.date()),
    ("TIME", ScalarQueryParameter("p", "TIME", _MOMENT.time()), _MOMENT.time()),
    (
        "DATETIME",
        ScalarQueryParameter("p", "DATETIME", _MOMENT.replace(tzinfo=None)),
        _MOMENT.replace(tzinfo=None),
    ),
    ("TIMESTAMP", ScalarQueryParameter("p", "TIMESTAMP", _MOMENT), _MOMENT),
    ("JSON", ScalarQueryParameter("p", "JSON", {"a": 1}), {"a": 1}),
    ("ARRAY<INT64>", ArrayQueryParameter("p", "INT64", [1, 2]), [1, 2]),
    ("ARRAY<STRING>", ArrayQueryParameter("p", "STRING", []), []),
    ("RANGE<DATE>", RangeQueryParameter(name="p", range_element_type="DATE"), None),
    (
        "STRUCT",
        StructQueryParameter(
            "p", ScalarQueryParameter("x", "INT64", 1), ArrayQueryParameter("y", "DATE", [])
        ),
        {"x": 1, "y": []},
    ),
    (
        "ARRAY<STRUCT>",
        ArrayQueryParameter(
            "p",
            "STRUCT",
            [StructQueryParameter(None, ScalarQueryParameter("x", "TIMESTAMP", _MOMENT))],
        ),
        [{"x": _MOMENT}],
    ),
]


@pytest.mark.parametrize(("kind", "parameter", "expected"), _PARAMETERS)
def test_a_parameter_of_every_type_arrives(
    client: bigquery.Client, kind: str, parameter: Any, expected: object
) -> None:
    if kind == "RANGE<DATE>":
        expected = {"start": None, "end": None}
    assert _rows(client, "SELECT @p", query_parameters=[parameter]) == [(expected,)]


def test_positional_parameters_keep_their_order(client: bigquery.Client) -> None:
    given = [ScalarQueryParameter(None, "INT64", 7), ScalarQueryParameter(None, "STRING", "x")]
    assert _rows(client, "SELECT ?, ?", query_parameters=given) == [(7, "x")]


def test_columns_are_named_as_bigquery_names_them(client: bigquery.Client) -> None:
    names = [
        field.name for field in client.query_and_wait("SELECT 1, 2 AS x, 3, STRUCT(4, 5)").schema
    ]
    assert names == ["f0_", "x", "f1_", "f2_"]
    (row,) = client.query_and_wait("SELECT STRUCT(4, 5 AS y)")
    assert row[0] == {"_field_1": 4, "y": 5}
    assert _rows(client, "SELECT AS STRUCT 1 AS a, 2") == [(1, 2)]
    twice = client.query_and_wait("SELECT 1 AS a, 2 AS A, 3 AS a")
    assert [field.name for field in twice.schema] == ["a", "A_1", "a_2"]


def test_pages_hold_all_rows_once(client: bigquery.Client) -> None:
    sql = "SELECT id FROM analytics.events ORDER BY id"
    expected = [(f"e{number:05d}",) for number in range(1, 2001)]
    rows = client.query(sql).result(page_size=700)
    pages = [[tuple(row.values()) for row in page] for page in rows.pages]
    assert [len(page) for page in pages] == [700, 700, 600]
    assert list(chain(*pages)) == expected
    assert rows.total_rows == 2000
    part = client.query(sql).result(start_index=1995, page_size=3)
    assert [tuple(row.values()) for row in part] == expected[1995:]
    assert len(list(client.query_and_wait(sql, max_results=7, page_size=5))) == 7


def test_a_dry_run_describes_and_runs_nothing(client: bigquery.Client) -> None:
    config = QueryJobConfig(dry_run=True)
    job = client.query("SELECT id, name FROM shop.customers WHERE ssn = 'x'", job_config=config)
    assert job.state == "DONE"
    assert job.statement_type == "SELECT"
    assert [str(table) for table in job.referenced_tables] == ["acme-shop.shop.customers"]
    assert [(field.name, field.field_type) for field in job.schema] == [
        ("id", "INTEGER"),
        ("name", "STRING"),
    ]
    whole = client.query("SELECT * FROM shop.customers", job_config=config)
    id_alone = client.query("SELECT id FROM shop.customers", job_config=config)
    assert id_alone.total_bytes_processed == 200 * 8
    assert 200 * 8 < job.total_bytes_processed < whole.total_bytes_processed


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("CREATE TABLE shop.x AS SELECT 1 AS a", "CREATE_TABLE_AS_SELECT"),
        ("DROP TABLE shop.customers", "DROP_TABLE"),
        ("DROP VIEW shop.customers", "DROP_VIEW"),
        ("ALTER TABLE shop.customers ADD COLUMN z INT64", "ALTER_TABLE"),
        ("INSERT INTO shop.orders (id, customer_id) VALUES (1, 1)", "INSERT"),
        ("DELETE FROM shop.orders WHERE TRUE", "DELETE"),
        ("UPDATE shop.orders SET status = 'x' WHERE TRUE", "UPDATE"),
        ("TRUNCATE TABLE shop.orders", "TRUNCATE_TABLE"),
        ("CREATE VIEW shop.v AS SELECT 1 AS a", "CREATE_VIEW"),
        ("EXPORT DATA OPTIONS(uri='gs://x', format='CSV') AS SELECT 1 AS a", "EXPORT_DATA"),
        ("DECLARE x INT64; SELECT x", "SCRIPT"),
        ("EXECUTE IMMEDIATE 'SELECT 1'", "SCRIPT"),
        ("SELECT 1; SELECT 2", "SCRIPT"),
    ],
)
def test_a_dry_run_names_every_statement_and_changes_nothing(
    client: bigquery.Client, sql: str, kind: str
) -> None:
    before = _rows(client, "SELECT COUNT(*) FROM shop.orders WHERE status != 'x'")
    assert client.query(sql, job_config=QueryJobConfig(dry_run=True)).statement_type == kind
    assert _rows(client, "SELECT COUNT(*) FROM shop.orders WHERE status != 'x'") == before


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("EXPORT DATA OPTIONS(uri='gs://x', format='CSV') AS SELECT 1 AS a", "EXPORT_DATA"),
        ("CREATE MODEL shop.m OPTIONS(model_type='linear_reg') AS SELECT 1 AS a", "CREATE_MODEL"),
        ("GRANT `roles/x` ON TABLE shop.orders TO 'user:a@example.com'", "GRANT"),
    ],
)
def test_other_statements_are_named_and_honestly_refused(
    client: bigquery.Client, sql: str, kind: str
) -> None:
    assert client.query(sql, job_config=QueryJobConfig(dry_run=True)).statement_type == kind
    with pytest.raises(BadRequest, match=f"not supported by the sandbox: .*{kind}"):
        client.query(sql).result()
    with pytest.raises(BadRequest, match="not supported by the sandbox"):
        client.query_and_wait(sql)


_ERRORS: list[tuple[str, type[GoogleAPICallError], str]] = [
    ("SELECT nope FROM shop.customers", BadRequest, r"Unrecognized name: nope; .*\[1:8\]|at \[1:8"),
    ("SELECT 1 FROM `acme-shop.shop.orders` WHERE nope", BadRequest, r"name: nope at \[1:45\]"),
    ("SELEC 1", BadRequest, "Syntax error"),
    ("", BadRequest, "`query`"),
    ("SELECT * FROM shop.nope", NotFound, "Table acme-shop:shop.nope was not found in location US"),
    ("SELECT * FROM nope.x", NotFound, "Dataset acme-shop:nope was not found"),
    ("SELECT * FROM shop.Customers", NotFound, "shop.Customers"),
    ("SELECT * FROM customers", BadRequest, "must be qualified with a dataset"),
    ("SELECT 1 AS a, 2 AS a, 3 AS a_1", BadRequest, "not supported by the sandbox"),
    ("SELECT MAX_BY(id, total) FROM shop.orders", BadRequest, "not supported by the sandbox"),
    ("SELECT * FROM ML.PREDICT(MODEL m, (SELECT 1))", BadRequest, "not supported by the sandbox"),
    ("SELECT NO_SUCH(1)", BadRequest, "(?<!sandbox: )Function not found: NO_SUCH"),
    ("SELECT * FROM shop.__TABLES__", BadRequest, "not supported by the sandbox"),
    ("SELECT @missing", BadRequest, "'missing' not found"),
    ("SELECT * FROM `shop.nope_*`", NotFound, "acme-shop:shop.nope_. does not match any table"),
]


_RUN_TIME_ERRORS: list[tuple[str, type[GoogleAPICallError], str]] = [
    ("SELECT CAST('x' AS INT64)", BadRequest, "Bad int64 value: x"),
    ("SELECT 1 / 0", BadRequest, "division by zero"),
    ("SELECT [1, NULL] AS a", BadRequest, "null element; error in writing field a"),
    ("SELECT SESSION_USER()", BadRequest, "not supported by the sandbox"),
    ("SELECT ST_GEOGPOINT(1, 2)", BadRequest, "not supported by the sandbox"),
]


@pytest.mark.parametrize(("sql", "error", "text"), [*_ERRORS, *_RUN_TIME_ERRORS])
def test_errors_are_bigquerys_own(
    client: bigquery.Client, sql: str, error: type[GoogleAPICallError], text: str
) -> None:
    with pytest.raises(error, match=text):
        client.query_and_wait(sql)
    with pytest.raises(error, match=text):
        client.query(sql).result()


@pytest.mark.parametrize(("sql", "error", "text"), _ERRORS)
def test_a_dry_run_tells_what_is_wrong_before_it_runs(
    client: bigquery.Client, sql: str, error: type[GoogleAPICallError], text: str
) -> None:
    with pytest.raises(error, match=text):
        client.query(sql, job_config=QueryJobConfig(dry_run=True))


def test_a_query_over_its_byte_limit_does_not_run(client: bigquery.Client) -> None:
    config = QueryJobConfig(maximum_bytes_billed=10)
    # The client knows no class for this reason where it polls; answered at once it is a 400.
    with pytest.raises(GoogleAPICallError, match="exceeded limit for bytes billed: 10"):
        client.query("SELECT * FROM shop.customers", job_config=config).result()


def test_ten_mebibytes_of_each_table_are_billed_at_least(client: bigquery.Client) -> None:
    least = 10 << 20
    one = client.query("SELECT id FROM shop.customers")
    one.result()
    assert (one.total_bytes_processed, one.total_bytes_billed) == (200 * 8, least)
    none = client.query("SELECT 1")
    none.result()
    assert none.total_bytes_billed == 0
    both = "SELECT o.id FROM shop.orders AS o JOIN shop.customers AS c ON c.id = o.customer_id"
    client.query(both, job_config=QueryJobConfig(maximum_bytes_billed=2 * least)).result()
    config = QueryJobConfig(maximum_bytes_billed=least)
    with pytest.raises(GoogleAPICallError, match=rf"billed: {least}. {2 * least} or higher"):
        client.query(both, job_id="too-dear", job_config=config, job_retry=None).result()
    assert client.get_job("too-dear").total_bytes_billed == 0


def test_the_byte_limit_of_a_script_is_that_of_each_statement(client: bigquery.Client) -> None:
    config = QueryJobConfig(maximum_bytes_billed=10 << 20)
    sql = "SELECT id FROM shop.customers; SELECT id FROM shop.orders"
    job = client.query(sql, job_config=config)
    job.result()
    assert job.total_bytes_billed == 20 << 20
    both = "SELECT o.id, c.id AS other FROM shop.orders AS o, shop.customers AS c LIMIT 1"
    with pytest.raises(GoogleAPICallError, match="exceeded limit for bytes billed"):
        client.query(f"{sql}; {both}", job_config=config).result()


def test_a_repeated_job_id_is_a_conflict(client: bigquery.Client) -> None:
    client.query("SELECT 1", job_id="one-id", job_retry=None).result()
    with pytest.raises(Conflict, match=r"Already Exists: Job acme-shop:US\.one-id"):
        client.query("SELECT 2", job_id="one-id", job_retry=None)
