"""The common jobs of pandas-gbq."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pandas_gbq
from checks import check, main, raised
from frames import FRAME_SQL, PAGES_SQL, TYPES_SQL, frame
from google.cloud import bigquery

PROJECT = "acme-shop"
NEW = pd.DataFrame({"id": [1, 2], "note": ["first", "second"]})


def read(sql: str, **more: Any) -> Any:
    return pandas_gbq.read_gbq(sql, project_id=PROJECT, progress_bar_type=None, **more)


@check()
def read_by_rest() -> Any:
    return frame(read(FRAME_SQL, use_bqstorage_api=False))


@check()
def read_types() -> Any:
    return frame(read(TYPES_SQL))


@check()
def read_with_index() -> Any:
    return frame(read("SELECT id, status FROM shop.orders ORDER BY id LIMIT 5", index_col="id"))


@check()
def read_with_parameters() -> Any:
    parameter = {"name": "n", "parameterType": {"type": "INT64"}, "parameterValue": {"value": 3}}
    configuration = {"query": {"parameterMode": "NAMED", "queryParameters": [parameter]}}
    sql = "SELECT id FROM shop.orders WHERE id <= @n ORDER BY id"
    return frame(read(sql, configuration=configuration))


@check()
def read_with_limit() -> Any:
    return len(read("SELECT id FROM shop.orders", max_results=7))


@check()
def dry_run() -> Any:
    return int(read("SELECT id, total FROM shop.orders", dry_run=True)["totalBytesProcessed"])


@check("frames", like="read_by_rest")
def read_with_storage() -> Any:
    return frame(read(FRAME_SQL, use_bqstorage_api=True))


@check("storage", like="large_by_rest")
def large() -> Any:
    return len(read(PAGES_SQL, use_bqstorage_api=True))


@check()
def large_by_rest() -> Any:
    return len(read(PAGES_SQL, use_bqstorage_api=False))


@check()
def read_table() -> Any:
    return frame(read("acme-shop.shop.tickets", max_results=10))


@check()
def read_by_pandas_itself() -> Any:
    client = bigquery.Client()
    return frame(pd.DataFrame(dict(row) for row in client.query_and_wait(FRAME_SQL)))


@check()
def write() -> Any:
    pandas_gbq.to_gbq(NEW, "lab.gbq", project_id=PROJECT, if_exists="replace", progress_bar=False)
    return frame(read("SELECT * FROM lab.gbq ORDER BY id"))


@check()
def append_as_csv() -> Any:
    bigquery.Client().query_and_wait("CREATE OR REPLACE TABLE lab.gbq_more (id INT64, note STRING)")
    pandas_gbq.to_gbq(
        NEW,
        "lab.gbq_more",
        project_id=PROJECT,
        if_exists="append",
        api_method="load_csv",
        progress_bar=False,
    )
    return frame(read("SELECT * FROM lab.gbq_more ORDER BY id"))


@check()
def write_where_a_table_is() -> Any:
    bigquery.Client().query_and_wait("CREATE OR REPLACE TABLE lab.gbq_there (id INT64)")
    return raised(lambda: pandas_gbq.to_gbq(NEW, "lab.gbq_there", project_id=PROJECT))


@check()
def syntax_error() -> Any:
    return raised(lambda: read("SELEC 1"))


@check()
def unknown_table() -> Any:
    return raised(lambda: read("SELECT * FROM shop.nothing"))


@check("approval")
def approval() -> Any:
    return frame(read("SELECT id, ssn FROM shop.customers WHERE id = 1"))


@check("refusal")
def denial() -> Any:
    return raised(lambda: read("SELECT id, ssn FROM shop.customers WHERE id = 2"))


@check("refusal")
def expiry() -> Any:
    return raised(lambda: read("SELECT phone FROM shop.customers WHERE id = 3"))


if __name__ == "__main__":
    main()
