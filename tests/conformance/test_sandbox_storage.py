"""The Storage Read API of the sandbox: the real client reads from the real server."""

from __future__ import annotations

import uuid
from typing import Any

import grpc
import pyarrow as pa
import pytest
from google.api_core.exceptions import (
    InvalidArgument,
    MethodNotImplemented,
    NotFound,
    Unauthenticated,
)
from google.cloud import bigquery
from google.cloud.bigquery_storage_v1 import BigQueryReadClient, BigQueryWriteClient, types
from google.cloud.bigquery_storage_v1.services.big_query_read import transports
from google.cloud.bigquery_storage_v1.services.big_query_write import transports as writing
from tests.support.grpc_calls import read_all

_CUSTOMERS = "projects/acme-shop/datasets/shop/tables/customers"
_EVERY_TYPE = """
    SELECT 1 AS i, 1.5 AS f, TRUE AS b, 'x' AS s, b'\\xff' AS y, DATE '2020-02-29' AS d,
      DATETIME '2020-02-29 12:00:00.25' AS dt, TIME '12:00:00.25' AS t,
      TIMESTAMP '2020-02-29 12:00:00.25+00' AS ts, NUMERIC '1.5' AS n, BIGNUMERIC '1.5' AS bn,
      JSON '{"a":1}' AS j, RANGE(DATE '2020-01-01', NULL) AS r, [1, 2] AS a,
      STRUCT(1 AS x, ['y'] AS y) AS st, CAST(NULL AS STRING) AS nothing
"""


@pytest.fixture
def reader(storage: Any) -> BigQueryReadClient:
    return storage(BigQueryReadClient, transports.BigQueryReadGrpcTransport)


def _session(
    reader: BigQueryReadClient, table: str = _CUSTOMERS, **options: Any
) -> types.ReadSession:
    asked = {"table": table, "data_format": types.DataFormat.ARROW, "read_options": options}
    return reader.create_read_session(parent="projects/acme-shop", read_session=asked)


def _table(reader: BigQueryReadClient, **options: Any) -> pa.Table:
    session = _session(reader, **options)
    return read_all(reader, session)


@pytest.fixture
def numbers(client: bigquery.Client, lab: str) -> str:
    numbers = "SELECT x FROM UNNEST(GENERATE_ARRAY(1, 12000)) AS x"
    client.query_and_wait(f"CREATE TABLE {lab}.n AS {numbers}")
    return f"projects/acme-shop/datasets/{lab}/tables/n"


def test_a_table_comes_in_the_types_that_its_rows_have_as_json(
    client: bigquery.Client, reader: BigQueryReadClient
) -> None:
    result = client.query(_EVERY_TYPE).result()
    plain = result.to_arrow(create_bqstorage_client=False)
    job = client.get_job(result.job_id)
    read = _table(reader, table=job.destination.to_bqstorage())
    assert read.schema.equals(plain.schema, check_metadata=True)
    assert read.equals(plain)


def test_columns_come_in_the_order_of_the_schema(reader: BigQueryReadClient) -> None:
    assert _table(reader, selected_fields=["EMAIL", "id"]).column_names == ["id", "email"]


def test_a_restriction_is_sql(reader: BigQueryReadClient) -> None:
    read = _table(reader, selected_fields=["id"], row_restriction="id BETWEEN 2 AND 4 -- few")
    assert sorted(read.column("id").to_pylist()) == [2, 3, 4]


@pytest.mark.parametrize("restriction", ["nope = 1", "id", "id IN (SELECT id FROM shop.orders)"])
def test_a_restriction_that_is_none_is_an_error(
    reader: BigQueryReadClient, restriction: str
) -> None:
    with pytest.raises(InvalidArgument):
        _session(reader, row_restriction=restriction)


def test_more_rows_than_fit_one_answer_all_come(reader: BigQueryReadClient, numbers: str) -> None:
    read = _table(reader, table=numbers)
    assert read.column("x").to_pylist() == list(range(1, 12_001))


def test_a_stream_goes_on_where_it_broke_off(reader: BigQueryReadClient, numbers: str) -> None:
    session = _session(reader, table=numbers)
    rest = read_all(reader, session, offset=11_990)
    assert rest.column("x").to_pylist() == list(range(11_991, 12_001))
    with pytest.raises(InvalidArgument, match="offset"):
        next(iter(reader.read_rows(session.streams[0].name, offset=12_001)))


def test_a_session_of_no_rows_has_no_stream(reader: BigQueryReadClient) -> None:
    session = _session(reader, row_restriction="FALSE")
    assert not session.streams
    assert "email" in pa.ipc.read_schema(pa.py_buffer(session.arrow_schema.serialized_schema)).names


def test_a_stream_is_not_split(reader: BigQueryReadClient) -> None:
    name = _session(reader).streams[0].name
    answer = reader.split_read_stream({"name": name, "fraction": 0.5})
    assert not answer.primary_stream.name
    assert not answer.remainder_stream.name


def test_a_session_that_is_not_there_is_not_found(reader: BigQueryReadClient) -> None:
    name = f"projects/acme-shop/locations/us/sessions/{uuid.uuid4().hex}/streams/0"
    with pytest.raises(NotFound):
        next(iter(reader.read_rows(name)))


def test_a_missing_table_is_not_found(reader: BigQueryReadClient) -> None:
    with pytest.raises(NotFound, match=r"acme-shop:shop\.nope"):
        _session(reader, table="projects/acme-shop/datasets/shop/tables/nope")


def test_avro_is_refused(reader: BigQueryReadClient) -> None:
    asked = {"table": _CUSTOMERS, "data_format": types.DataFormat.AVRO}
    with pytest.raises(InvalidArgument, match="ARROW"):
        reader.create_read_session(parent="projects/acme-shop", read_session=asked)


def test_writing_is_refused_by_its_name(storage: Any) -> None:
    writer = storage(BigQueryWriteClient, writing.BigQueryWriteGrpcTransport)
    with pytest.raises(MethodNotImplemented, match="BigQueryWrite/GetWriteStream"):
        writer.get_write_stream(name=f"{_CUSTOMERS}/streams/_default")


def test_a_call_without_a_token_is_unauthenticated(storage_address: str) -> None:
    with grpc.insecure_channel(storage_address) as channel:
        transport = transports.BigQueryReadGrpcTransport(channel=channel)
        with pytest.raises(Unauthenticated):
            _session(BigQueryReadClient(transport=transport))


@pytest.mark.filterwarnings("ignore:Retrieving Arrow:PendingDeprecationWarning")
def test_frames_of_a_whole_table_come_through_it(
    client: bigquery.Client, reader: BigQueryReadClient, numbers: str
) -> None:
    table = numbers.replace("projects/", "").replace("/datasets/", ".").replace("/tables/", ".")
    read = client.list_rows(client.get_table(table)).to_arrow(bqstorage_client=reader)
    assert read.num_rows == 12_000
