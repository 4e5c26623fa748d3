"""Load, copy and extract jobs: the real client moves data into and out of the real server."""

# ruff: noqa: S608  # the names put into the SQL are the test's own

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from google.api_core.exceptions import BadRequest, Conflict, GoogleAPICallError, NotFound
from google.cloud import bigquery
from google.cloud.bigquery import SchemaField
from pyarrow import parquet

Rows = list[tuple[Any, ...]]
_JSON = bigquery.SourceFormat.NEWLINE_DELIMITED_JSON

_EVERY_TYPE = [
    SchemaField("i", "INTEGER", mode="REQUIRED"),
    SchemaField("f", "FLOAT"),
    SchemaField("b", "BOOLEAN"),
    SchemaField("s", "STRING"),
    SchemaField("y", "BYTES"),
    SchemaField("d", "DATE"),
    SchemaField("dt", "DATETIME"),
    SchemaField("t", "TIME"),
    SchemaField("ts", "TIMESTAMP"),
    SchemaField("n", "NUMERIC"),
    SchemaField("bn", "BIGNUMERIC"),
    SchemaField("j", "JSON"),
    SchemaField("iv", "INTERVAL"),
    SchemaField("r", "RANGE", range_element_type="DATE"),
    SchemaField("tags", "STRING", mode="REPEATED"),
    SchemaField(
        "people",
        "RECORD",
        mode="REPEATED",
        fields=[SchemaField("name", "STRING"), SchemaField("ages", "INTEGER", mode="REPEATED")],
    ),
]
_EVERY_VALUE = {
    "i": -9223372036854775808,
    "f": 1.5,
    "b": True,
    "s": 'a "quoted"\nline, ü',
    "y": "AP8=",
    "d": "2024-02-29",
    "dt": "2024-02-29T23:59:59.123456",
    "t": "01:02:03",
    "ts": "2024-02-29 23:59:59.5+01:00",
    "n": "12345678901234567890.123456789",
    "bn": "0.00000000000000000000000000000000000001",
    "j": {"a": [1, None, 1.10], "b": {}},
    "iv": "1-2 3 4:5:6",
    "r": "[2024-01-01, UNBOUNDED)",
    "tags": ["x", ""],
    "people": [{"name": "Ada", "ages": [1, 2]}, {"name": None, "ages": []}],
}


def _ask(client: bigquery.Client, sql: str) -> Rows:
    return [tuple(row.values()) for row in client.query_and_wait(sql)]


def _started(
    client: bigquery.Client, text: str | bytes, table: str, **options: Any
) -> bigquery.LoadJob:
    """Load a text, by a resumable upload where `sized` is false."""
    sized = options.pop("sized", True)
    data = text if isinstance(text, bytes) else text.encode()
    config = bigquery.LoadJobConfig(**options)
    return client.load_table_from_file(
        io.BytesIO(data), table, size=len(data) if sized else None, job_config=config
    )


def _load(
    client: bigquery.Client, text: str | bytes, table: str, **options: Any
) -> bigquery.LoadJob:
    """Load a text and wait."""
    return _started(client, text, table, **options).result(timeout=30)


def _problems(
    client: bigquery.Client, text: str, table: str, said: str, **options: Any
) -> list[str]:
    """Load a text that is bad, which must fail as `said`; give all that went wrong."""
    job = _started(client, text, table, **options)
    with pytest.raises(BadRequest, match=said):
        job.result(timeout=30)
    assert {each["reason"] for each in job.errors} == {"invalid"}
    return [each["message"] for each in job.errors]


@pytest.fixture
def bucket(sandbox: Any) -> Iterator[Path]:
    folder = sandbox.data / "_storage" / "shop-files"
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    for file in folder.rglob("*"):
        if file.is_file():
            file.unlink()


def test_rows_of_every_type_are_loaded_from_json(client: bigquery.Client, lab: str) -> None:
    table = f"{lab}.every"
    config = bigquery.LoadJobConfig(schema=_EVERY_TYPE)
    job = client.load_table_from_json([_EVERY_VALUE, {"i": 1}], table, job_config=config)
    job.result(timeout=30)
    assert (job.output_rows, job.input_files, job.state) == (2, 1, "DONE")
    assert min(job.input_file_bytes, job.output_bytes) > 0
    assert client.get_table(table).schema == _EVERY_TYPE
    sql = (
        "SELECT i, f, b, s, TO_HEX(y), CAST(d AS STRING), CAST(dt AS STRING), CAST(t AS STRING), "
        "CAST(ts AS STRING), CAST(n AS STRING), CAST(bn AS STRING), TO_JSON_STRING(j), "
        f"CAST(iv AS STRING), CAST(r AS STRING), tags, people FROM {table} ORDER BY i"
    )
    every, sparse = _ask(client, sql)
    assert every == (
        -9223372036854775808,
        1.5,
        True,
        'a "quoted"\nline, ü',
        "00ff",
        "2024-02-29",
        "2024-02-29 23:59:59.123456",
        "01:02:03",
        "2024-02-29 22:59:59.500+00",
        "12345678901234567890.123456789",
        "0.00000000000000000000000000000000000001",
        '{"a":[1,null,1.1],"b":{}}',
        "1-2 3 4:5:6",
        "[2024-01-01, UNBOUNDED)",
        ["x", ""],
        [{"name": "Ada", "ages": [1, 2]}, {"name": None, "ages": []}],
    )
    assert sparse == (1, *[None] * 10, "null", None, None, [], [])


@pytest.mark.parametrize("sized", [True, False])
def test_csv_is_loaded_multipart_and_resumable(
    client: bigquery.Client, lab: str, *, sized: bool
) -> None:
    text = 'id;name;since\n1;"Lamp; small";2024-01-02\n2;;\n3;"";2024-03-04\n'
    job = _load(
        client,
        text,
        f"{lab}.t",
        sized=sized,
        field_delimiter=";",
        skip_leading_rows=1,
        schema=[
            SchemaField("id", "INTEGER"),
            SchemaField("name", "STRING"),
            SchemaField("since", "DATE"),
        ],
    )
    assert (job.output_rows, job.input_file_bytes) == (3, len(text))
    assert _ask(client, f"SELECT id, name, CAST(since AS STRING) FROM {lab}.t ORDER BY id") == [
        (1, "Lamp; small", "2024-01-02"),
        (2, None, None),
        (3, "", "2024-03-04"),
    ]


def test_a_csv_is_read_as_its_options_say(client: bigquery.Client, lab: str) -> None:
    schema = [SchemaField("a", "STRING"), SchemaField("b", "STRING"), SchemaField("c", "BOOLEAN")]
    text = "'x\ny'\t\\N\tyes\r\nonly one\r\n'it''s'\té\tF\textra\r\n"
    _load(
        client,
        text.encode("iso-8859-1"),
        f"{lab}.t",
        schema=schema,
        quote_character="'",
        field_delimiter="\t",
        allow_quoted_newlines=True,
        allow_jagged_rows=True,
        ignore_unknown_values=True,
        null_marker="\\N",
        encoding="ISO-8859-1",
    )
    assert _ask(client, f"SELECT * FROM {lab}.t") == [
        ("x\ny", None, True),
        ("only one", None, None),
        ("it's", "é", False),
    ]


def test_columns_of_csv_are_detected(client: bigquery.Client, lab: str) -> None:
    text = (
        "id,price,ok,day,moment,name,empty\n"
        "1,1,true,2024-01-01,2024-01-01 10:00:00 UTC,Ada,\n"
        "2,2.5,false,2024-01-02,2024-01-02T10:00:00Z,7,\n"
    )
    _load(client, text, f"{lab}.t", autodetect=True)
    found = {field.name: field.field_type for field in client.get_table(f"{lab}.t").schema}
    assert found == {
        "id": "INTEGER",
        "price": "FLOAT",
        "ok": "BOOLEAN",
        "day": "DATE",
        "moment": "TIMESTAMP",
        "name": "STRING",
        "empty": "STRING",
    }
    assert _ask(client, f"SELECT id, price, name FROM {lab}.t") == [(1, 1.0, "Ada"), (2, 2.5, "7")]
    _load(client, "a,b\nc,d\n", f"{lab}.texts", autodetect=True)
    assert _ask(client, f"SELECT string_field_0, string_field_1 FROM {lab}.texts") == [
        ("a", "b"),
        ("c", "d"),
    ]


def test_fields_of_json_are_detected(client: bigquery.Client, lab: str) -> None:
    rows = [
        {"id": 1, "who": {"name": "Ada", "langs": ["en"]}, "n": 1},
        {"id": 2, "who": {"born": "1815-12-10"}, "n": 1.5, "more": [{"x": True}]},
    ]
    client.load_table_from_json(rows, f"{lab}.t").result(timeout=30)
    assert client.get_table(f"{lab}.t").schema == [
        SchemaField("id", "INTEGER"),
        SchemaField(
            "who",
            "RECORD",
            fields=[
                SchemaField("name", "STRING"),
                SchemaField("langs", "STRING", mode="REPEATED"),
                SchemaField("born", "DATE"),
            ],
        ),
        SchemaField("n", "FLOAT"),
        SchemaField("more", "RECORD", mode="REPEATED", fields=[SchemaField("x", "BOOLEAN")]),
    ]
    assert _ask(client, f"SELECT who.name, n, ARRAY_LENGTH(more) FROM {lab}.t ORDER BY id") == [
        ("Ada", 1.0, 0),
        (None, 1.5, 1),
    ]


def test_dispositions_hold(client: bigquery.Client, lab: str) -> None:
    table, one = f"{lab}.t", [SchemaField("a", "INTEGER")]
    with pytest.raises(NotFound, match="Not found: Table"):
        _load(client, "1\n", table, schema=one, create_disposition="CREATE_NEVER")
    with pytest.raises(BadRequest, match="No schema specified"):
        _load(client, "1\n", table)
    _load(client, "1\n", table, schema=one, write_disposition="WRITE_EMPTY")
    with pytest.raises(Conflict, match="Already Exists"):
        _load(client, "1\n", table, schema=one, write_disposition="WRITE_EMPTY")
    _load(client, "2\n", table)
    assert _ask(client, f"SELECT a FROM {table} ORDER BY a") == [(1,), (2,)]
    two = [SchemaField("b", "STRING")]
    _load(client, "x\n", table, schema=two, write_disposition="WRITE_TRUNCATE")
    assert _ask(client, f"SELECT * FROM {table}") == [("x",)]
    with pytest.raises(NotFound, match="Not found: Dataset"):
        _load(client, "1\n", "nowhere.t", schema=one)


def test_a_schema_changes_only_where_that_is_allowed(client: bigquery.Client, lab: str) -> None:
    table = f"{lab}.t"
    inner = [SchemaField("x", "INTEGER")]
    before = [
        SchemaField("a", "INTEGER", mode="REQUIRED"),
        SchemaField("s", "RECORD", fields=inner),
    ]
    after = [
        SchemaField("a", "INTEGER"),
        SchemaField("s", "RECORD", fields=[*inner, SchemaField("y", "STRING")]),
        SchemaField("new", "STRING"),
    ]
    options = {"source_format": _JSON, "schema": before}
    _load(client, '{"a": 1, "s": {"x": 10}}', table, **options)
    options["schema"] = after
    row = '{"s": {"x": 20, "y": "z"}, "new": "n"}'
    with pytest.raises(BadRequest, match="Field a has changed mode from REQUIRED to NULLABLE"):
        _load(client, row, table, **options)
    options["schema_update_options"] = ["ALLOW_FIELD_RELAXATION"]
    with pytest.raises(BadRequest, match=r"Cannot add fields \(field: s.y\)"):
        _load(client, row, table, **options)
    options["schema_update_options"].append("ALLOW_FIELD_ADDITION")
    _load(client, row, table, **options)
    assert _ask(client, f"SELECT * FROM {table}") == [
        (1, {"x": 10, "y": None}, None),
        (None, {"x": 20, "y": "z"}, "n"),
    ]
    with pytest.raises(BadRequest, match="Field a has changed type from INTEGER to STRING"):
        _load(client, "x", table, schema=[SchemaField("a", "STRING")])


_TWO = [SchemaField("a", "INTEGER", mode="REQUIRED"), SchemaField("d", "DATE")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1\n", "references column position 1, but line starting at position:0 contains only 1"),
        ("1,2024-01-01,3\n", "Too many values in row starting at position: 0. Found 3 column"),
        ("x,2024-01-01\n", "Could not parse 'x' as INT64 for field a (position 0)"),
        ("0x1f,2024-01-01\n", "Could not parse '0x1f' as INT64 for field a (position 0)"),
        ("1,2024-13-01\n", "Could not parse '2024-13-01' as DATE for field d (position 1)"),
        (",2024-01-01\n", "Required column value for column index: 0 is missing"),
        ('"1,2024-01-01\n', 'Missing close double quote (") character'),
        ('"1"x,2024-01-01\n', 'Data between close double quote (") and field separator'),
    ],
)
def test_a_bad_line_fails_the_load_and_changes_nothing(
    client: bigquery.Client, lab: str, text: str, said: str
) -> None:
    table = f"{lab}.t"
    _load(client, "7,2024-01-01\n", table, schema=_TWO)
    messages = _problems(
        client,
        "8,2024-01-01\n" + text,
        table,
        "CSV table encountered too many errors",
        write_disposition="WRITE_TRUNCATE",
    )
    expected = said.replace("position:0", "position:13").replace("position: 0", "position: 13")
    assert any(expected in each for each in messages), messages
    assert _ask(client, f"SELECT a FROM {table}") == [(7,)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1, "e": 1}', "No such field: e."),
        ('{"a": "x"}', "Could not convert value to integer. Field: a; Value: x"),
        ('{"a": 1.5}', "Could not convert value to integer. Field: a; Value: 1.5"),
        ('{"a": 1, "d": "soon"}', "Could not convert value to date. Field: d; Value: soon"),
        ("{}", "Missing required field: a."),
        ('{"a": null}', "Only optional fields can be set to NULL. Field: a; Value: NULL"),
        ('{"a": [1]}', "Array specified for non-repeated field: a."),
        ('{"a": 1', "Parser terminated before end of string"),
        ("5", "Value encountered without start of object."),
    ],
)
def test_a_bad_object_fails_the_load(
    client: bigquery.Client, lab: str, text: str, said: str
) -> None:
    good = '{"a": 1}\n'
    messages = _problems(
        client,
        good + text,
        f"{lab}.t",
        "JSON table encountered too many errors",
        schema=_TWO,
        source_format=_JSON,
    )
    expected = f"JSON parsing error in row starting at position {len(good)}: {said}"
    assert f"Error while reading data, error message: {expected}" in messages
    with pytest.raises(NotFound):
        client.get_table(f"{lab}.t")


def test_bad_records_may_pass(client: bigquery.Client, lab: str) -> None:
    text = "1,\nx,\n2,never\n3,2024-01-01\n,\n4,"
    job = _load(client, text, f"{lab}.t", schema=_TWO, max_bad_records=3)
    assert (job.output_rows, job.error_result) == (3, None)
    assert job._properties["statistics"]["load"]["badRecords"] == "3"
    assert len(job.errors) == 3
    assert _ask(client, f"SELECT a FROM {lab}.t ORDER BY a") == [(1,), (3,), (4,)]
    with pytest.raises(BadRequest, match="Rows: 6; errors: 3"):
        _load(client, text, f"{lab}.t", schema=_TWO, max_bad_records=2)


def test_files_are_loaded_from_storage(client: bigquery.Client, lab: str, bucket: Path) -> None:
    (bucket / "in").mkdir(exist_ok=True)
    (bucket / "in" / "a1.csv").write_text("a\n1\n")
    (bucket / "in" / "a2.csv.gz").write_bytes(gzip.compress(b"a\n2\n"))
    (bucket / "in" / "b.csv").write_text("a\n3\n")
    config = bigquery.LoadJobConfig(schema=[SchemaField("a", "INTEGER")], skip_leading_rows=1)
    job = client.load_table_from_uri("gs://shop-files/in/a*", f"{lab}.t", job_config=config)
    job.result(timeout=30)
    assert (job.input_files, job.output_rows) == (2, 2)
    assert job.source_uris == ["gs://shop-files/in/a*"]
    assert _ask(client, f"SELECT a FROM {lab}.t ORDER BY a") == [(1,), (2,)]
    for uri in ("gs://shop-files/in/c*", "gs://no-such-bucket/x", "gs://shop-files/in"):
        with pytest.raises(NotFound, match=r"Not found: URI gs://"):
            client.load_table_from_uri(uri, f"{lab}.t", job_config=config).result(timeout=30)
    (bucket / "bad.csv").write_text("a\nx\n")
    with pytest.raises(BadRequest) as raised:
        client.load_table_from_uri("gs://shop-files/bad.csv", f"{lab}.t", job_config=config).result(
            timeout=30
        )
    assert raised.value.errors[0]["location"] == "gs://shop-files/bad.csv"


def test_no_uri_leads_out_of_its_bucket(
    client: bigquery.Client, sandbox: Any, lab: str, bucket: Path
) -> None:
    (bucket / "link").symlink_to(sandbox.account.public_file)
    config = bigquery.LoadJobConfig(schema=[SchemaField("a", "STRING")])
    for uri in ("gs://shop-files/link", "gs://shop-files/li*"):
        with pytest.raises(NotFound, match="Not found: URI"):
            client.load_table_from_uri(uri, f"{lab}.t", job_config=config).result(timeout=30)
    for uri in ("gs://shop-files/../../public.pem", "gs://../x", "/etc/passwd", "gs://a..b/x"):
        with pytest.raises(BadRequest):
            client.load_table_from_uri(uri, f"{lab}.t", job_config=config).result(timeout=30)


def test_a_table_is_copied(client: bigquery.Client, lab: str) -> None:
    copied = client.copy_table("shop.orders", f"{lab}.orders")
    copied.result(timeout=30)
    assert copied._properties["statistics"]["copy"]["copiedRows"] == str(
        client.get_table("shop.orders").num_rows
    )
    count = _ask(client, "SELECT COUNT(*) FROM shop.orders")
    assert _ask(client, f"SELECT COUNT(*) FROM {lab}.orders") == count
    assert client.get_table(f"{lab}.orders").schema == client.get_table("shop.orders").schema
    with pytest.raises(Conflict, match="Already Exists"):
        client.copy_table("shop.orders", f"{lab}.orders").result(timeout=30)
    config = bigquery.CopyJobConfig(write_disposition="WRITE_APPEND")
    sources = ["shop.orders", "shop.orders"]
    client.copy_table(sources, f"{lab}.orders", job_config=config).result(timeout=30)
    assert _ask(client, f"SELECT COUNT(*) FROM {lab}.orders") == [(3 * count[0][0],)]
    with pytest.raises(BadRequest, match="Provided Schema does not match"):
        client.copy_table("shop.customers", f"{lab}.orders", job_config=config).result(timeout=30)
    with pytest.raises(NotFound, match="Not found: Table"):
        client.copy_table("shop.nothing", f"{lab}.x").result(timeout=30)


def test_a_table_is_copied_as_it_was(client: bigquery.Client, lab: str) -> None:
    schema = [SchemaField("a", "INTEGER")]
    _load(client, "1\n", f"{lab}.t", schema=schema)
    before = int(client.get_table(f"{lab}.t").modified.timestamp() * 1000) + 1
    _load(client, "2\n", f"{lab}.t", schema=schema)
    client.copy_table(f"{lab}.t@{before}", f"{lab}.old").result(timeout=30)
    assert _ask(client, f"SELECT a FROM {lab}.old") == [(1,)]
    config = bigquery.CopyJobConfig(operation_type="CLONE")
    client.copy_table(f"{lab}.t", f"{lab}.twin", job_config=config).result(timeout=30)
    assert client.get_table(f"{lab}.twin").clone_definition is not None
    assert _ask(client, f"SELECT a FROM {lab}.twin ORDER BY a") == [(1,), (2,)]


def test_a_snapshot_stays_as_it_is_and_is_restored(client: bigquery.Client, lab: str) -> None:
    _load(client, "1\n2\n", f"{lab}.t", schema=[SchemaField("a", "INTEGER")])
    until = "2999-01-01T00:00:00Z"
    taken = bigquery.CopyJobConfig(operation_type="SNAPSHOT", destination_expiration_time=until)
    client.copy_table(f"{lab}.t", f"{lab}.snap", job_config=taken).result(timeout=30)
    snapshot = client.get_table(f"{lab}.snap")
    assert (snapshot.table_type, snapshot.num_rows) == ("SNAPSHOT", 2)
    assert snapshot.snapshot_definition.base_table_reference.table_id == "t"
    assert snapshot.expires.year == 2999
    _load(client, "3\n", f"{lab}.t")
    assert _ask(client, f"SELECT a FROM {lab}.snap ORDER BY a") == [(1,), (2,)]
    assert [row["a"] for row in client.list_rows(f"{lab}.snap")] == [1, 2]
    listed = (
        f"SELECT table_type, ddl FROM {lab}.INFORMATION_SCHEMA.TABLES WHERE table_name = 'snap'"
    )
    assert _ask(client, listed) == [
        ("SNAPSHOT", f"CREATE SNAPSHOT TABLE `acme-shop.{lab}.snap`\nCLONE `acme-shop.{lab}.t`;")
    ]
    for statement in (
        f"INSERT {lab}.snap VALUES (4)",
        f"ALTER TABLE {lab}.snap ADD COLUMN b INT64",
        f"DROP TABLE {lab}.snap",
    ):
        with pytest.raises(BadRequest, match="currently a SNAPSHOT"):
            client.query_and_wait(statement)
    with pytest.raises(BadRequest, match="currently a SNAPSHOT"):
        _load(client, "4\n", f"{lab}.snap")
    with pytest.raises(Conflict, match="Already Exists"):
        client.copy_table(f"{lab}.t", f"{lab}.snap", job_config=taken).result(timeout=30)
    snapshot.schema = [*snapshot.schema, SchemaField("b", "STRING")]
    with pytest.raises(BadRequest, match="Cannot change the schema of a table snapshot"):
        client.update_table(snapshot, ["schema"])
    restored = bigquery.CopyJobConfig(operation_type="RESTORE", write_disposition="WRITE_TRUNCATE")
    with pytest.raises(BadRequest, match="currently a TABLE"):
        client.copy_table(f"{lab}.t", f"{lab}.t", job_config=restored).result(timeout=30)
    client.copy_table(f"{lab}.snap", f"{lab}.t", job_config=restored).result(timeout=30)
    assert _ask(client, f"SELECT a FROM {lab}.t ORDER BY a") == [(1,), (2,)]
    assert client.get_table(f"{lab}.t").table_type == "TABLE"
    client.delete_table(f"{lab}.snap")


def test_a_new_table_is_as_the_load_says(client: bigquery.Client, lab: str) -> None:
    schema = [
        SchemaField("day", "DATE"),
        SchemaField("code", "STRING", max_length=3, description="short"),
        SchemaField("made", "STRING", default_value_expression="'by us'"),
    ]
    _load(
        client,
        "2024-01-01,abc,x\n",
        f"{lab}.t",
        schema=schema,
        destination_table_description="what was loaded",
        destination_table_friendly_name="Loaded",
        time_partitioning=bigquery.TimePartitioning(field="day"),
        clustering_fields=["code"],
    )
    table = client.get_table(f"{lab}.t")
    assert (table.description, table.friendly_name) == ("what was loaded", "Loaded")
    assert (table.time_partitioning.field, table.time_partitioning.type_) == ("day", "DAY")
    assert table.clustering_fields == ["code"]
    assert [field.max_length for field in table.schema] == [None, 3, None]
    _load(client, "2024-01-02,def\n", f"{lab}.t", schema=schema[:2])
    assert _ask(client, f"SELECT made FROM {lab}.t ORDER BY day") == [("x",), ("by us",)]
    with pytest.raises(BadRequest, match="cannot be found in the schema: nothing"):
        _load(
            client,
            "2024-01-01,abc,x\n",
            f"{lab}.u",
            schema=schema,
            time_partitioning=bigquery.TimePartitioning(field="nothing"),
        )


def test_a_table_is_extracted_to_csv(client: bigquery.Client, lab: str, bucket: Path) -> None:
    schema = [
        SchemaField("i", "INTEGER"),
        SchemaField("s", "STRING"),
        SchemaField("t", "TIMESTAMP"),
        SchemaField("b", "BOOLEAN"),
    ]
    text = '1,"a ""b"", c",2024-01-01 00:00:00.5+00,true\n2,,,\n3,"",1970-01-01 00:00:00,false\n'
    _load(client, text, f"{lab}.t", schema=schema)
    job = client.extract_table(f"{lab}.t", "gs://shop-files/out/t-*.csv")
    job.result(timeout=30)
    assert job.destination_uri_file_counts == [1]
    written = (bucket / "out" / "t-000000000000.csv").read_text()
    assert written == (
        'i,s,t,b\n1,"a ""b"", c",2024-01-01 00:00:00.500000 UTC,true\n2,,,\n'
        '3,"",1970-01-01 00:00:00 UTC,false\n'
    )
    config = bigquery.ExtractJobConfig(compression="GZIP", print_header=False, field_delimiter="|")
    client.extract_table(f"{lab}.t", "gs://shop-files/t.gz", job_config=config).result(timeout=30)
    unpacked = gzip.decompress((bucket / "t.gz").read_bytes()).decode()
    assert [row[0] for row in csv.reader(io.StringIO(unpacked), delimiter="|")] == ["1", "2", "3"]
    with pytest.raises(NotFound, match="Not found: Bucket"):
        client.extract_table(f"{lab}.t", "gs://no-such-bucket/t").result(timeout=30)
    with pytest.raises(BadRequest, match=r"nested schema|repeated field"):
        client.extract_table("shop.customers", "gs://shop-files/c").result(timeout=30)


def test_what_is_extracted_to_json_loads_again(
    client: bigquery.Client, lab: str, bucket: Path
) -> None:
    config = bigquery.LoadJobConfig(schema=_EVERY_TYPE)
    client.load_table_from_json([_EVERY_VALUE, {"i": 1}], f"{lab}.every", job_config=config).result(
        timeout=30
    )
    out = bigquery.ExtractJobConfig(destination_format=_JSON)
    uris = ["gs://shop-files/e1-*", "gs://shop-files/e2-*"]
    job = client.extract_table(f"{lab}.every", uris, job_config=out)
    job.result(timeout=30)
    assert job.destination_uri_file_counts == [1, 1]
    first = json.loads((bucket / "e1-000000000000").read_text())
    assert (first["i"], first["f"], first["j"]) == ("-9223372036854775808", 1.5, _EVERY_VALUE["j"])
    again = bigquery.LoadJobConfig(schema=_EVERY_TYPE, source_format=_JSON)
    client.load_table_from_uri("gs://shop-files/e*", f"{lab}.again", job_config=again).result(
        timeout=30
    )
    compared = f"SELECT TO_JSON_STRING(t) FROM {lab}.%s AS t ORDER BY t.i"
    assert _ask(client, compared % "again") == _ask(client, compared % "every")


def test_a_load_is_a_job_like_others(client: bigquery.Client, lab: str) -> None:
    job = _load(client, "1\n", f"{lab}.t", schema=[SchemaField("a", "INTEGER")], labels={"k": "v"})
    found = client.get_job(job.job_id, location="US")
    assert isinstance(found, bigquery.LoadJob)
    assert (found.output_rows, found.labels, found.schema) == (1, {"k": "v"}, job.schema)
    assert found.destination.table_id == "t"
    assert isinstance(next(iter(client.list_jobs(max_results=1))), bigquery.LoadJob)
    with pytest.raises(Conflict, match="Already Exists: Job"):
        client.load_table_from_file(
            io.BytesIO(b"1\n"), f"{lab}.t", size=2, job_id=job.job_id, num_retries=0
        )
    assert _ask(client, f"SELECT COUNT(*) FROM {lab}.t") == [(1,)]


_FRAME = pa.table(
    {
        "i": [1, 2],
        "s": ["a", None],
        "y": [b"\0\xff", None],
        "ts": pa.array([0, None], pa.timestamp("ns", "UTC")),
        "dt": pa.array([0, None], pa.timestamp("ms")),
        "n": [Decimal("1.5"), None],
        "tags": [["x", ""], None],
        "who": [{"name": "Ada", "ages": [1, 2]}, None],
    }
)


def _parquet(table: pa.Table) -> bytes:
    file = io.BytesIO()
    parquet.write_table(table, file)
    return file.getvalue()


def _parquet_options() -> Any:
    lists = bigquery.format_options.ParquetOptions()
    lists.enable_list_inference = True
    return {"source_format": "PARQUET", "parquet_options": lists}


@pytest.mark.parametrize("way", ["multipart", "resumable"])
def test_a_parquet_file_brings_its_schema_and_rows(
    client: bigquery.Client, lab: str, way: str
) -> None:
    table, sized = f"{lab}.frame", way == "multipart"
    _load(client, _parquet(_FRAME), table, sized=sized, **_parquet_options())
    assert client.get_table(table).schema == [
        SchemaField("i", "INTEGER"),
        SchemaField("s", "STRING"),
        SchemaField("y", "BYTES"),
        SchemaField("ts", "TIMESTAMP"),
        SchemaField("dt", "DATETIME"),
        SchemaField("n", "NUMERIC"),
        SchemaField("tags", "STRING", mode="REPEATED"),
        SchemaField(
            "who",
            "RECORD",
            fields=[SchemaField("name", "STRING"), SchemaField("ages", "INTEGER", "REPEATED")],
        ),
    ]
    sql = (
        "SELECT i, s, TO_HEX(y), CAST(ts AS STRING), CAST(dt AS STRING), CAST(n AS STRING), tags, "
        f"who FROM {table} ORDER BY i"
    )
    moment = "1970-01-01 00:00:00"
    assert _ask(client, sql) == [
        (1, "a", "00ff", f"{moment}+00", moment, "1.5", ["x", ""], {"name": "Ada", "ages": [1, 2]}),
        (2, None, None, None, None, None, [], None),
    ]


def test_parquet_files_are_added_to_a_table_column_by_column(
    client: bigquery.Client, lab: str, bucket: Path
) -> None:
    table = f"{lab}.t"
    _load(client, "", table, schema=[SchemaField("a", "INTEGER"), SchemaField("b", "STRING")])
    (bucket / "1.parquet").write_bytes(_parquet(pa.table({"B": ["x"], "a": [1]})))
    (bucket / "2.parquet").write_bytes(_parquet(pa.table({"B": ["y"], "a": [2]})))
    config = bigquery.LoadJobConfig(source_format="PARQUET")
    uri = "gs://shop-files/*.parquet"
    job = client.load_table_from_uri(uri, table, job_config=config).result(timeout=30)
    assert (job.output_rows, job.input_files) == (2, 2)
    _load(client, _parquet(pa.table({"a": [3]})), table, source_format="PARQUET")
    assert _ask(client, f"SELECT a, b FROM {table} ORDER BY a") == [(1, "x"), (2, "y"), (3, None)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PAR1", "not in Parquet format"),
        (b"id,name\n1,x\n", "not in Parquet format"),
        (_parquet(_FRAME)[:-9], "not in Parquet format"),
        (_parquet(pa.table({"a": [1], "c": [1]})), r"Cannot add fields \(field: c\)"),
        (_parquet(pa.table({"a": ["1"]})), "Field a has changed type from INTEGER to STRING"),
    ],
)
def test_parquet_that_does_not_fit_changes_nothing(
    client: bigquery.Client, lab: str, content: bytes, said: str
) -> None:
    table = f"{lab}.t"
    _load(client, "1", table, schema=[SchemaField("a", "INTEGER")])
    job = _started(client, content, table, source_format="PARQUET")
    with pytest.raises(BadRequest, match=said):
        job.result(timeout=30)
    assert job.error_result["reason"] == "invalid"
    assert _ask(client, f"SELECT * FROM {table}") == [(1,)]


def test_parquet_is_held_to_a_schema_that_the_job_brings(client: bigquery.Client, lab: str) -> None:
    content = _parquet(pa.table({"j": ['{"a": 1}'], "t": pa.array([0], pa.timestamp("us"))}))
    schema = [SchemaField("t", "TIMESTAMP"), SchemaField("j", "JSON"), SchemaField("more", "DATE")]
    _load(client, content, f"{lab}.t", schema=schema, source_format="PARQUET")
    sql = f"SELECT UNIX_SECONDS(x.t), TO_JSON_STRING(j), more FROM {lab}.t AS x"
    assert _ask(client, sql) == [(0, '{"a":1}', None)]
    for wrong, said in (("INTEGER", "target cpp_type INT64"), ("JSON", "Could not parse")):
        bad = _parquet(pa.table({"a": ["{"]}))
        job = _started(
            client,
            bad,
            f"{lab}.u",
            schema=[SchemaField("a", wrong)],
            source_format="PARQUET",
        )
        with pytest.raises(BadRequest, match="Error while reading data"):
            job.result(timeout=30)
        assert any(said in each["message"] for each in job.errors)


def test_what_the_sandbox_has_not_is_said(client: bigquery.Client, lab: str) -> None:
    with pytest.raises(BadRequest, match="not supported by the sandbox: the source format"):
        _load(client, "Obj1", f"{lab}.t", source_format="AVRO")
    with pytest.raises(BadRequest, match="partition decorator"):
        _load(client, "1", f"{lab}.t$20240101", schema=[SchemaField("a", "INTEGER")])


def test_a_load_runs_where_its_table_is(client: bigquery.Client, lab: str) -> None:
    abroad = bigquery.Dataset(f"acme-shop.{lab}_eu")
    abroad.location = "EU"
    client.create_dataset(abroad)
    config = bigquery.LoadJobConfig(schema=[SchemaField("a", "INTEGER")])
    for size in (2, None):
        job = client.load_table_from_file(
            io.BytesIO(b"1\n"), f"{lab}_eu.t", size=size, location="EU", job_config=config
        )
        job.result(timeout=30)
        assert client.get_job(job.job_id, location="EU").location == "EU"
        with pytest.raises(NotFound, match="Not found: Job"):
            client.get_job(job.job_id, location="US")
        with pytest.raises(NotFound, match="was not found in location US"):
            client.load_table_from_file(
                io.BytesIO(b"1\n"), f"{lab}_eu.t", size=size, location="US", job_config=config
            )
    client.delete_dataset(abroad, delete_contents=True)


def test_a_load_that_is_cancelled_changes_nothing(client: bigquery.Client, lab: str) -> None:
    schema = [SchemaField("a", "INTEGER")]
    _load(client, "1\n", f"{lab}.t", schema=schema)
    many = "".join(f"{n}\n" for n in range(100_000))
    job = _started(client, many, f"{lab}.t", schema=schema, write_disposition="WRITE_TRUNCATE")
    assert job.state != "DONE"
    assert job.cancel()
    with pytest.raises(GoogleAPICallError, match="cancelled"):
        job.result(timeout=30)
    assert client.get_job(job.job_id, location="US").error_result["reason"] == "stopped"
    assert _ask(client, f"SELECT * FROM {lab}.t") == [(1,)]
    _load(client, "2\n", f"{lab}.t")  # nothing holds the table any more
