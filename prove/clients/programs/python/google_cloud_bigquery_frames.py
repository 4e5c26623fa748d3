"""What google-cloud-bigquery does with pandas, Arrow and notebooks."""

from __future__ import annotations

from typing import Any

import pandas as pd
from checks import check, main
from frames import FRAME_SQL, PAGES_SQL, TYPES_SQL, frame, table
from google.cloud import bigquery
from IPython.core.interactiveshell import InteractiveShell

client = bigquery.Client()
NEW = pd.DataFrame({"id": [1, 2], "note": ["first", None], "paid": [1.5, 2.25]})


def stored(name: str) -> Any:
    return [dict(row) for row in client.query_and_wait(f"SELECT * FROM {name} ORDER BY id")]


@check()
def to_dataframe_by_rest() -> Any:
    return frame(client.query(FRAME_SQL).to_dataframe(create_bqstorage_client=False))


@check("frames", like="to_dataframe_by_rest")
def to_dataframe() -> Any:
    return frame(client.query(FRAME_SQL).to_dataframe())


@check("frames", like="to_dataframe_by_rest")
def to_dataframe_of_result() -> Any:
    return frame(client.query_and_wait(FRAME_SQL).to_dataframe())


@check()
def types_by_rest() -> Any:
    return frame(client.query(TYPES_SQL).to_dataframe(create_bqstorage_client=False))


@check("frames", like="types_by_rest")
def types_to_dataframe() -> Any:
    return frame(client.query(TYPES_SQL).to_dataframe())


@check()
def to_arrow_by_rest() -> Any:
    return table(client.query(FRAME_SQL).to_arrow(create_bqstorage_client=False))


@check("frames", like="to_arrow_by_rest")
def to_arrow() -> Any:
    return table(client.query(FRAME_SQL).to_arrow())


@check()
def frames_by_page() -> Any:
    found = client.query("SELECT id, total FROM shop.orders ORDER BY id").result(page_size=250)
    return [len(one) for one in found.to_dataframe_iterable()]


@check()
def large_by_rest() -> Any:
    found = client.query("SELECT * FROM analytics.events").to_dataframe(
        create_bqstorage_client=False
    )
    return len(found), float(found["seconds"].sum())


@check("frames", like="large_by_rest")
def large() -> Any:
    found = client.query("SELECT * FROM analytics.events").to_dataframe()
    return len(found), float(found["seconds"].sum())


@check()
def pages_by_rest() -> Any:
    found = client.query(PAGES_SQL).to_arrow(create_bqstorage_client=False)
    return found.num_rows, found["x"][-1].as_py()


@check("frames", like="pages_by_rest")
def pages() -> Any:
    found = client.query(PAGES_SQL).to_arrow()
    return found.num_rows, found["x"][-1].as_py()


@check()
def list_rows_by_rest() -> Any:
    listed = client.list_rows("shop.tickets", max_results=20)
    return frame(listed.to_dataframe(create_bqstorage_client=False))


@check("frames", like="list_rows_by_rest")
def list_rows() -> Any:
    return frame(client.list_rows("shop.tickets", max_results=20).to_dataframe())


@check("storage", like="large_by_rest")
def list_many_rows() -> Any:
    found = client.list_rows("analytics.events").to_dataframe()
    return len(found), float(found["seconds"].sum())


@check("storage", like="list_all_rows_by_rest")
def list_all_rows() -> Any:
    return len(client.list_rows("shop.customers").to_dataframe())


@check()
def list_all_rows_by_rest() -> Any:
    found = client.list_rows("shop.customers").to_dataframe(create_bqstorage_client=False)
    return len(found)


@check()
def load_dataframe() -> Any:
    config = bigquery.LoadJobConfig(write_disposition="WRITE_TRUNCATE")
    job = client.load_table_from_dataframe(NEW, "lab.loaded_frame", job_config=config)
    job.result()
    return job.output_rows, stored("lab.loaded_frame")


@check()
def load_dataframe_as_csv() -> Any:
    config = bigquery.LoadJobConfig(source_format="CSV", write_disposition="WRITE_TRUNCATE")
    job = client.load_table_from_dataframe(NEW, "lab.loaded_frame_csv", job_config=config)
    job.result()
    return job.output_rows, stored("lab.loaded_frame_csv")


@check()
def insert_rows_from_dataframe() -> Any:
    client.query_and_wait(
        "CREATE OR REPLACE TABLE lab.framed (id INT64, note STRING, paid FLOAT64)"
    )
    return client.insert_rows_from_dataframe(client.get_table("lab.framed"), NEW)


@check()
def dates() -> Any:
    sql = (
        "SELECT DATE '2024-02-29' AS d, TIME '01:02:03' AS t, DATETIME '2024-02-29 01:02:03' AS dt"
    )
    found = client.query(sql).to_dataframe(
        create_bqstorage_client=False, date_dtype=None, time_dtype=None
    )
    return frame(found), type(found["d"][0]).__name__


def in_a_notebook(arguments: str) -> Any:
    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "bigquery_magics")
    shell.run_cell_magic("bigquery", f"found {arguments}", FRAME_SQL)
    return frame(shell.user_ns["found"])


@check()
def magics_by_rest() -> Any:
    return in_a_notebook("--use_rest_api")


@check("frames", like="magics_by_rest")
def magics() -> Any:
    return in_a_notebook("")


if __name__ == "__main__":
    main()
