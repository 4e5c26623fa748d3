"""The common jobs of BigQuery DataFrames (bigframes)."""

from __future__ import annotations

from typing import Any

import bigframes.pandas as bpd
from checks import check, main, raised
from frames import FRAME_SQL, frame
from google.cloud import bigquery

bpd.options.bigquery.project = "acme-shop"
bpd.options.bigquery.location = "US"
bpd.options.display.progress_bar = None
client = bigquery.Client()
PAIRS = """
SELECT o.id, c.id AS customer FROM shop.orders AS o CROSS JOIN shop.customers AS c LIMIT 20000
"""


def by_rest(sql: str) -> Any:
    return frame(client.query_and_wait(sql).to_dataframe(create_bqstorage_client=False))


@check()
def shop_by_rest() -> Any:
    return [dict(row) for row in client.query_and_wait(FRAME_SQL)]


@check("through", like="shop_by_rest")
def query() -> Any:
    found = bpd.read_gbq_query(FRAME_SQL).to_pandas().sort_values("id")
    rows = found.astype(object).to_dict("records")
    # pandas has a type of its own for times.
    return [row | {"created": row["created"].to_pydatetime()} for row in rows]


@check()
def count_by_rest() -> Any:
    return next(iter(client.query_and_wait("SELECT COUNT(*) FROM shop.orders")))[0]


@check("through", like="count_by_rest")
def table() -> Any:
    return len(bpd.read_gbq("shop.orders"))


@check()
def sums_by_rest() -> Any:
    sql = "SELECT status, COUNT(id) FROM shop.orders GROUP BY status ORDER BY status"
    return [list(row) for row in client.query_and_wait(sql)]


@check("through", like="sums_by_rest")
def group() -> Any:
    found = bpd.read_gbq("shop.orders", columns=["id", "status"]).groupby("status")["id"].count()
    return [[name, int(count)] for name, count in sorted(found.to_pandas().items())]


@check()
def pairs_by_rest() -> Any:
    sql = f"SELECT COUNT(*), COUNT(DISTINCT customer) FROM ({PAIRS})"
    return [*next(iter(client.query_and_wait(sql)))]


@check("through", like="pairs_by_rest")
def large_result_in_a_table_of_its_own() -> Any:
    client.query_and_wait(f"CREATE OR REPLACE TABLE lab.pairs AS {PAIRS}")
    found = bpd.read_gbq("lab.pairs")
    return len(found), len(found.groupby("customer")["id"].count().to_pandas())


@check("through", like="count_by_rest")
def filtered() -> Any:
    orders = bpd.read_gbq("shop.orders", columns=["id"])
    return int(orders[orders["id"] > 0].shape[0])


@check()
def syntax_error() -> Any:
    return raised(lambda: bpd.read_gbq_query("SELEC 1")) | {"message": ""}


@check("approval")
def approval_by_rest() -> Any:
    sql = "SELECT id, ssn FROM shop.customers WHERE id = 1"
    return [dict(row) for row in client.query_and_wait(sql)]


@check("refusal", like="approval_by_rest")
def approval() -> Any:
    sql = "SELECT id, ssn FROM shop.customers WHERE id = 1"
    return bpd.read_gbq_query(sql).to_pandas().astype(object).to_dict("records")


@check("refusal")
def denial() -> Any:
    sql = "SELECT id, ssn FROM shop.customers WHERE id = 2"
    return raised(lambda: bpd.read_gbq_query(sql).to_pandas())


@check("refusal")
def expiry() -> Any:
    sql = "SELECT phone FROM shop.customers WHERE id = 3"
    return raised(lambda: bpd.read_gbq_query(sql).to_pandas())


if __name__ == "__main__":
    main()
