"""The common jobs of google-cloud-bigquery that need no data frames."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from checks import check, main, raised
from google.cloud import bigquery

client = bigquery.Client()

CUSTOMERS = "SELECT id, name, email, ssn, phone FROM shop.customers ORDER BY id LIMIT 20"
TYPES = """
SELECT 1 AS i, 1.5 AS f, NUMERIC '1.25' AS n, BIGNUMERIC '2.5' AS b, TRUE AS t, 'é' AS s, b'x' AS y,
  DATE '2024-02-29' AS d, TIME '12:34:56.789' AS h, DATETIME '2024-02-29 01:02:03' AS dt,
  TIMESTAMP '2024-02-29 01:02:03.456789+00' AS ts, [1, 2] AS a, STRUCT(1 AS x, 'z' AS y) AS st,
  JSON '{"k": [1, null]}' AS j, CAST(NULL AS STRING) AS none
"""
PAYMENT = [
    bigquery.SchemaField("id", "INTEGER", mode="REQUIRED"),
    bigquery.SchemaField("note", "STRING"),
]
PAYMENTS = [{"id": 1, "note": "first"}, {"id": 2, "note": None}]


def rows(found: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in found]


def schema(fields: Any) -> list[Any]:
    return [
        [field.name, field.field_type, field.mode, schema(field.fields), field.description]
        for field in fields
    ]


def stored(name: str) -> list[dict[str, Any]]:
    return rows(client.query_and_wait(f"SELECT * FROM {name} ORDER BY id"))


def fresh(name: str) -> str:
    """Make a table for a check that changes it."""
    client.query_and_wait(f"CREATE OR REPLACE TABLE {name} (id INT64 NOT NULL, note STRING)")
    return name


@check()
def query() -> Any:
    return rows(client.query(CUSTOMERS).result())


@check()
def query_and_wait() -> Any:
    return rows(client.query_and_wait(CUSTOMERS))


@check()
def every_type() -> Any:
    found = client.query_and_wait(TYPES)
    return schema(found.schema), rows(found)


@check()
def named_parameters() -> Any:
    parameters = [
        bigquery.ScalarQueryParameter("city", "STRING", "Fairmont"),
        bigquery.ScalarQueryParameter("least", "INT64", 3),
        bigquery.ScalarQueryParameter("day", "DATE", date(2024, 2, 29)),
        bigquery.ScalarQueryParameter("moment", "TIMESTAMP", datetime(2024, 2, 29, 1, tzinfo=UTC)),
        bigquery.ScalarQueryParameter("sum", "NUMERIC", Decimal("1.25")),
        bigquery.ScalarQueryParameter("clock", "TIME", time(12, 34, 56)),
        bigquery.ScalarQueryParameter("raw", "BYTES", b"\x00\xff"),
        bigquery.ScalarQueryParameter("none", "STRING", None),
        bigquery.ArrayQueryParameter("ids", "INT64", [1, 2, 3]),
        bigquery.StructQueryParameter(
            "pair",
            bigquery.ScalarQueryParameter("x", "INT64", 7),
            bigquery.ScalarQueryParameter("y", "STRING", "seven"),
        ),
    ]
    sql = """
        SELECT @city AS city, @least AS least, @day AS day, @moment AS moment, @sum AS sum,
          @clock AS clock, @raw AS raw, @none AS none, @pair AS pair, ARRAY_LENGTH(@ids) AS n,
          (SELECT COUNT(*) FROM shop.orders WHERE id IN UNNEST(@ids)) AS orders
    """
    config = bigquery.QueryJobConfig(query_parameters=parameters)
    return rows(client.query(sql, job_config=config).result())


@check()
def positional_parameters() -> Any:
    config = bigquery.QueryJobConfig(
        query_parameters=[
            bigquery.ScalarQueryParameter(None, "INT64", 5),
            bigquery.ArrayQueryParameter(None, "STRING", ["open", "sent"]),
        ]
    )
    sql = "SELECT id, status FROM shop.orders WHERE id < ? AND status IN UNNEST(?) ORDER BY id"
    return rows(client.query_and_wait(sql, job_config=config))


@check()
def dry_run() -> Any:
    config = bigquery.QueryJobConfig(dry_run=True, use_query_cache=False)
    job = client.query("SELECT id, total FROM shop.orders", job_config=config)
    tables = [str(table) for table in job.referenced_tables]
    return job.state, job.total_bytes_processed, schema(job.schema), tables, job.statement_type


@check()
def default_dataset() -> Any:
    config = bigquery.QueryJobConfig(default_dataset="acme-shop.shop")
    return rows(client.query("SELECT COUNT(*) AS n FROM orders", job_config=config).result())


@check()
def labels_and_limits() -> Any:
    config = bigquery.QueryJobConfig(labels={"team": "growth"}, maximum_bytes_billed=10**9)
    job = client.query("SELECT COUNT(*) AS n FROM shop.orders", job_config=config)
    return rows(job.result()), job.labels, job.maximum_bytes_billed


@check()
def pages() -> Any:
    found = client.query("SELECT id, total FROM shop.orders ORDER BY id").result(page_size=300)
    sizes = [page.num_items for page in found.pages]
    return sizes, found.total_rows


@check()
def pages_at_once() -> Any:
    found = client.query_and_wait("SELECT id, ssn FROM shop.customers ORDER BY id", page_size=90)
    return found.total_rows, rows(found)


@check()
def script() -> Any:
    job = client.query("DECLARE n INT64 DEFAULT 2; SELECT id FROM shop.orders WHERE id <= n;")
    return sorted(row.id for row in job.result())


@check()
def script_children() -> Any:
    job = client.query("SELECT 1 AS x; SELECT 2 AS x;")
    last = rows(job.result())
    children = list(client.list_jobs(parent_job=job.job_id))
    return last, job.num_child_jobs, sorted(rows(child.result())[0]["x"] for child in children)


@check()
def session() -> Any:
    first = client.query(
        "CREATE TEMP TABLE kept AS SELECT 42 AS x",
        job_config=bigquery.QueryJobConfig(create_session=True),
    )
    first.result()
    same = [bigquery.ConnectionProperty("session_id", first.session_info.session_id)]
    config = bigquery.QueryJobConfig(connection_properties=same)
    return rows(client.query("SELECT x FROM kept", job_config=config).result())


@check()
def job_again() -> Any:
    job = client.query("SELECT COUNT(*) AS n FROM shop.tickets")
    job.result()
    again = client.get_job(job.job_id, location=job.location)
    return again.state, again.statement_type, again.query, rows(again.result())


@check()
def own_job_id() -> Any:
    job = client.query("SELECT 1 AS x", job_id_prefix="mine-")
    return job.job_id.startswith("mine-"), rows(job.result())


@check()
def list_jobs() -> Any:
    job = client.query("SELECT 'to be listed' AS x")
    job.result()
    listed = {one.job_id: one for one in client.list_jobs(max_results=20)}
    return job.job_id in listed, listed[job.job_id].state, listed[job.job_id].query


@check()
def cancel() -> Any:
    job = client.query("SELECT COUNT(*) AS n FROM shop.orders a, shop.orders b")
    accepted = job.cancel()
    return accepted, job.job_type


@check()
def list_datasets() -> Any:
    return sorted(one.dataset_id for one in client.list_datasets())


@check()
def get_dataset() -> Any:
    found = client.get_dataset("shop")
    return found.full_dataset_id, found.location, found.description, found.labels


@check()
def list_tables() -> Any:
    return sorted([one.table_id, one.table_type] for one in client.list_tables("shop"))


@check()
def get_table() -> Any:
    found = client.get_table("shop.orders")
    return schema(found.schema), found.num_rows, found.table_type, found.description


@check()
def get_masked_table() -> Any:
    found = client.get_table("shop.customers")
    return schema(found.schema), found.table_type, found.description


@check()
def list_rows() -> Any:
    return rows(client.list_rows("shop.orders", max_results=5))


@check()
def list_masked_rows() -> Any:
    fields = [bigquery.SchemaField("id", "INTEGER"), bigquery.SchemaField("ssn", "STRING")]
    return rows(client.list_rows("shop.customers", selected_fields=fields, max_results=20))


@check()
def list_rows_by_page() -> Any:
    found = client.list_rows(client.get_table("shop.tickets"), page_size=125)
    return [page.num_items for page in found.pages], found.total_rows


@check()
def create_table() -> Any:
    client.delete_table("lab.made", not_found_ok=True)
    made = client.create_table(bigquery.Table("acme-shop.lab.made", schema=PAYMENT))
    return schema(made.schema), made.num_rows, made.table_type


@check()
def update_table() -> Any:
    table = client.get_table(fresh("lab.updated"))
    table.description, table.schema = "to pay", [*table.schema, bigquery.SchemaField("x", "FLOAT")]
    changed = client.update_table(table, ["description", "schema"])
    return changed.description, schema(changed.schema)


@check()
def delete_table() -> Any:
    client.delete_table(fresh("lab.deleted"))
    return raised(lambda: client.get_table("lab.deleted"))


@check()
def dataset_of_its_own() -> Any:
    client.delete_dataset("lab_own", delete_contents=True, not_found_ok=True)
    made = client.create_dataset("lab_own")
    try:
        made.description = "for a moment"
        changed = client.update_dataset(made, ["description"])
    finally:
        client.delete_dataset("lab_own")
    return changed.description, raised(lambda: client.get_dataset("lab_own"))


@check()
def insert_statement() -> Any:
    job = client.query(f"INSERT INTO {fresh('lab.stated')} (id, note) VALUES (1, 'a'), (2, NULL)")
    job.result()
    return job.num_dml_affected_rows, job.statement_type, stored("lab.stated")


@check()
def insert_rows_json() -> Any:
    problems = client.insert_rows_json(fresh("lab.streamed"), PAYMENTS)
    return problems, stored("lab.streamed")


@check()
def insert_wrong_rows() -> Any:
    problems = client.insert_rows_json(fresh("lab.wrong"), [{"id": "no number"}, {"id": 2}])
    return [[one["index"], [fault["reason"] for fault in one["errors"]]] for one in problems]


@check()
def load_json() -> Any:
    config = bigquery.LoadJobConfig(schema=PAYMENT, write_disposition="WRITE_TRUNCATE")
    job = client.load_table_from_json(PAYMENTS, "lab.loaded_json", job_config=config)
    job.result()
    return job.output_rows, stored("lab.loaded_json")


@check()
def load_csv() -> Any:
    config = bigquery.LoadJobConfig(
        schema=PAYMENT,
        source_format="CSV",
        skip_leading_rows=1,
        write_disposition="WRITE_TRUNCATE",
    )
    file = io.BytesIO(b"id,note\n1,first\n2,\n")
    job = client.load_table_from_file(file, "lab.loaded_csv", job_config=config, size=18)
    job.result()
    return job.output_rows, stored("lab.loaded_csv")


@check()
def load_resumably() -> Any:
    config = bigquery.LoadJobConfig(
        autodetect=True,
        source_format="NEWLINE_DELIMITED_JSON",
        write_disposition="WRITE_TRUNCATE",
    )
    lines = "".join(json.dumps({"id": n, "note": "x" * 100}) + "\n" for n in range(20_000))
    file = io.BytesIO(lines.encode())
    job = client.load_table_from_file(file, "lab.loaded_in_parts", job_config=config)
    job.result()
    sql = "SELECT COUNT(*) AS n, SUM(id) AS ids FROM lab.loaded_in_parts"
    return job.output_rows, rows(client.query_and_wait(sql))


@check()
def load_wrong_file() -> Any:
    config = bigquery.LoadJobConfig(schema=PAYMENT, source_format="CSV")
    file = io.BytesIO(b"one,two,three\n")
    job = client.load_table_from_file(file, "lab.loaded_wrong", job_config=config, size=14)
    return raised(job.result) | {"message": ""}


@check()
def destination_table() -> Any:
    config = bigquery.QueryJobConfig(
        destination="acme-shop.lab.kept", write_disposition="WRITE_TRUNCATE"
    )
    client.query("SELECT id, status FROM shop.orders WHERE id < 4", job_config=config).result()
    return stored("lab.kept")


@check()
def copy() -> Any:
    client.query_and_wait(f"INSERT INTO {fresh('lab.source')} (id) VALUES (1)")
    config = bigquery.CopyJobConfig(write_disposition="WRITE_TRUNCATE")
    client.copy_table("lab.source", "lab.copied", job_config=config).result()
    return stored("lab.copied")


@check()
def extract() -> Any:
    client.query_and_wait(f"INSERT INTO {fresh('lab.extracted')} (id) VALUES (1), (2)")
    job = client.extract_table("lab.extracted", "gs://acme-shop-lab/extracted.csv")
    job.result()
    return job.destination_uri_file_counts


@check()
def anonymous_result_table() -> Any:
    job = client.query("SELECT id, ssn FROM shop.customers ORDER BY id LIMIT 3")
    job.result()
    return schema(client.get_table(job.destination).schema), rows(client.list_rows(job.destination))


@check()
def routines() -> Any:
    return [one.routine_id for one in client.list_routines("shop")]


@check()
def models() -> Any:
    return [one.model_id for one in client.list_models("shop")]


@check()
def syntax_error() -> Any:
    return raised(lambda: client.query_and_wait("SELEC 1"))


@check()
def unknown_column() -> Any:
    return raised(lambda: client.query("SELECT nope FROM shop.orders").result())


@check()
def unknown_table() -> Any:
    return raised(lambda: client.query_and_wait("SELECT * FROM shop.nothing"))


@check()
def unknown_dataset() -> Any:
    return raised(lambda: list(client.list_tables("nowhere")))


@check()
def unknown_job() -> Any:
    return raised(lambda: client.get_job("no-such-job"))


@check()
def job_id_taken() -> Any:
    job = client.query("SELECT 1")
    job.result()
    return raised(lambda: client.query("SELECT 2", job_id=job.job_id, job_retry=None))


@check()
def error_while_it_runs() -> Any:
    return raised(lambda: client.query_and_wait("SELECT 1 / (id - id) FROM shop.orders"))


@check("approval")
def approval() -> Any:
    return rows(client.query("SELECT id, ssn FROM shop.customers WHERE id = 1").result())


@check("refusal")
def denial() -> Any:
    sql = "SELECT id, ssn FROM shop.customers WHERE id = 2"
    return raised(lambda: client.query_and_wait(sql))


@check("refusal")
def expiry() -> Any:
    return raised(lambda: client.query("SELECT phone FROM shop.customers WHERE id = 3").result())


@check("refusal")
def withdrawal() -> Any:
    job = client.query("SELECT id, ssn FROM shop.customers WHERE id = 4")
    job.cancel()
    return raised(job.result)


if __name__ == "__main__":
    main()
