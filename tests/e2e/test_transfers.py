"""Load, copy and extract jobs by the real client: what is protected is not moved."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import bigquery
from tests.support.stack import PROJECT, Client, Stack, standing

POLICY = """
rules:
  - name: movers
    agents: {names: [support]}
    resources: {datasets: [acme-shop.lab, acme-shop.shop]}
    allow: [read, write, schema_change]
  - name: movers-use-their-bucket
    agents: {names: [support]}
    when: query.uris.all(uri, uri.startsWith("gs://lab-files/"))
    allow: [external, export]
  - name: askers
    agents: {names: [reader]}
    resources: {datasets: [acme-shop.lab]}
    allow: [read, write, schema_change]
  - name: askers-wait
    agents: {names: [reader]}
    when: '"write" in query.actions'
    require_approval: {from: [data-stewards], count: 1, expires: 30m}
"""
LAB = f"{PROJECT}.lab"
ROWS = [{"day": f"2026-11-{n:02}", "n": n} for n in range(1, 21)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose agent `support` may move what is not protected, and a bucket of its own."""
    with standing(Stack(tmp_path_factory.mktemp("transfers"), rules=POLICY)) as stack:
        for bucket in ("lab-files", "payroll-files"):
            folder = stack.folder / "sandbox" / "_storage" / bucket
            folder.mkdir(parents=True)
            (folder / "days.ndjson").write_text("\n".join(map(json.dumps, ROWS)))
        yield stack


@pytest.fixture(scope="module")
def mover(stack: Stack) -> Client:
    client = stack.client("support")
    client.create_dataset("lab")
    client.load_table_from_uri("gs://lab-files/days.ndjson", f"{LAB}.days", job_config=NEW).result()
    return client


NEW = bigquery.LoadJobConfig(
    source_format="NEWLINE_DELIMITED_JSON",
    schema=[bigquery.SchemaField("day", "DATE"), bigquery.SchemaField("n", "INTEGER")],
)


def test_a_file_of_the_agents_bucket_is_loaded_and_recorded(stack: Stack, mover: Client) -> None:
    job = mover.load_table_from_uri("gs://lab-files/*.ndjson", f"{LAB}.loaded", job_config=NEW)
    job.result()
    assert (job.state, job.output_rows, job.input_files) == ("DONE", 20, 1)
    again = mover.get_job(job.job_id)
    assert again.source_uris == ["gs://lab-files/*.ndjson"]
    assert str(again.destination) == f"{LAB}.loaded"
    assert [tuple(row.values()) for row in mover.list_rows(f"{LAB}.loaded", max_results=1)] != []
    loads = [step for step in stack.steps(mover.session) if step.sql.startswith("-- load job")]
    (step,) = [step for step in loads if "loaded" in step.sql]
    assert step.state == "done"
    assert step.tables == (f"{LAB}.loaded",)


def test_a_file_that_only_the_gateways_account_may_read_was_loaded(mover: Client) -> None:
    with pytest.raises(exceptions.Forbidden, match="no rule allows agent `support` `external`"):
        mover.load_table_from_uri(
            ["gs://lab-files/days.ndjson", "gs://payroll-files/days.ndjson"],
            f"{LAB}.stolen",
            job_config=NEW,
        )
    with pytest.raises(exceptions.NotFound):
        mover.get_table(f"{LAB}.stolen")


def test_a_table_is_copied_and_extracted_as_it_is(stack: Stack, mover: Client) -> None:
    copy = mover.copy_table(f"{LAB}.days", f"{LAB}.copied")
    copy.result()
    assert mover.get_table(f"{LAB}.copied").num_rows == 20
    uri = "gs://lab-files/out-*.json"
    config = bigquery.ExtractJobConfig(destination_format="NEWLINE_DELIMITED_JSON")
    extract = mover.extract_table(f"{LAB}.copied", uri, job_config=config)
    extract.result()
    assert extract.destination_uri_file_counts == [1]
    file = stack.folder / "sandbox" / "_storage" / "lab-files" / "out-000000000000.json"
    assert len(file.read_text().splitlines()) == 20


def test_a_protected_column_left_its_table_whole(
    stack: Stack, mover: Client, customers: list[dict[str, Any]]
) -> None:
    with pytest.raises(exceptions.Forbidden, match="CREATE TABLE AS SELECT"):
        mover.copy_table(f"{PROJECT}.shop.customers", f"{LAB}.people")
    with pytest.raises(exceptions.Forbidden, match="EXPORT DATA"):
        mover.extract_table(f"{PROJECT}.shop.customers", "gs://lab-files/people-*.csv")
    files = (stack.folder / "sandbox" / "_storage" / "lab-files").rglob("*")
    kept = "".join(file.read_text() for file in files)
    assert not any(customer["ssn"] in kept for customer in customers)


def test_a_failed_job_tells_why(mover: Client) -> None:
    job = mover.load_table_from_uri("gs://lab-files/none.csv", f"{LAB}.days")
    with pytest.raises(exceptions.NotFound, match="Not found: URI"):
        job.result()
    empty = bigquery.CopyJobConfig(write_disposition="WRITE_EMPTY")
    with pytest.raises(exceptions.Conflict, match="Already Exists"):
        mover.copy_table(f"{LAB}.days", f"{LAB}.days", job_config=empty).result()
    with pytest.raises(exceptions.BadRequest, match="Cannot list the results of a load job"):
        mover._connection.api_request("GET", f"/projects/{PROJECT}/queries/{job.job_id}")


def stored(client: Client, table: str) -> list[Any]:
    return sorted(tuple(row.values()) for row in client.list_rows(f"{LAB}.{table}"))


def test_rows_and_files_are_uploaded_whole_and_piece_by_piece(stack: Stack, mover: Client) -> None:
    config = bigquery.LoadJobConfig(
        schema=[bigquery.SchemaField("n", "INTEGER"), bigquery.SchemaField("text", "STRING")],
        source_format="CSV",
        write_disposition="WRITE_TRUNCATE",
    )
    lines = [f"{n},{'é' * 60}" for n in range(2_000)]
    data = "\n".join(lines).encode()
    for size in (len(data), None):
        job = mover.load_table_from_file(
            io.BytesIO(data), f"{LAB}.uploaded", job_config=config, size=size
        )
        assert job.result().output_rows == len(lines)
        assert mover.get_table(f"{LAB}.uploaded").num_rows == len(lines)
    rows = [{"n": 1, "text": "a"}, {"n": 2, "text": "b\r\n--b"}]
    json_config = bigquery.LoadJobConfig(schema=config.schema)
    mover.load_table_from_json(rows, f"{LAB}.from_json", job_config=json_config).result()
    assert stored(mover, "from_json") == [(1, "a"), (2, "b\r\n--b")]
    steps = [step for step in stack.steps(mover.session) if "with uploaded data" in step.sql]
    assert [step.state for step in steps] == ["done"] * 3


def test_an_upload_of_another_agent_could_be_taken_over(stack: Stack, mover: Client) -> None:
    url = f"{stack.url}/upload/bigquery/v2/projects/{PROJECT}/jobs?uploadType=resumable"
    table = {"projectId": PROJECT, "datasetId": "lab", "tableId": "resumed"}
    load = {"destinationTable": table, "sourceFormat": "CSV", "autodetect": True}
    job = {"configuration": {"load": load}, "jobReference": {"jobId": "resumed"}}
    begun = mover._http.post(url, json=job)
    assert begun.status_code == 200, begun.text
    target = begun.headers["location"]
    assert target.startswith(stack.url)
    data = b"id,name\n" + b"\n".join(b"%d,x" % n for n in range(60_000))
    first = data[: 256 << 10]
    mine = mover._http.put(
        target, data=first, headers={"Content-Range": f"bytes 0-{len(first) - 1}/{len(data)}"}
    )
    assert (mine.status_code, mine.headers["range"]) == (308, f"bytes=0-{len(first) - 1}")
    stranger = stack.client("stranger")._http
    rest = {"Content-Range": f"bytes {len(first)}-{len(data) - 1}/{len(data)}"}
    for asked in (rest, {"Content-Range": "bytes */*"}):
        theirs = stranger.put(
            target, data=data[len(first) :] if asked is rest else b"", headers=asked
        )
        assert theirs.status_code == 404
    assert mover._http.put(target, headers={"Content-Range": "bytes */*"}).status_code == 308
    stack.kill("gateway")
    stack.start_gateway()
    done = mover._http.put(target, data=data[len(first) :], headers=rest)
    assert done.status_code == 200, done.text
    assert done.json()["jobReference"]["jobId"] == "resumed"
    again = mover._http.put(target, headers={"Content-Range": f"bytes */{len(data)}"})
    assert again.json()["jobReference"]["jobId"] == "resumed"
    assert mover.get_job("resumed").result().output_rows == 60_000


def test_an_upload_that_needs_a_person_is_refused_before_its_bytes(stack: Stack) -> None:
    asker = stack.client("reader")
    with pytest.raises(exceptions.Forbidden, match="such a job can wait"):
        asker.load_table_from_json([{"n": 1}], f"{LAB}.days")
    (step,) = stack.steps(asker.session)
    assert step.state == "refused"


def test_a_copy_waits_for_a_person_and_then_runs(stack: Stack, mover: Client) -> None:
    assert mover.get_table(f"{LAB}.days").num_rows == 20
    asker = stack.client("reader")
    job = asker.copy_table(f"{LAB}.days", f"{LAB}.approved")
    assert job.state == "PENDING"
    (waiting,) = stack.waiting(asker.session)
    assert '"tableId": "approved"' in waiting.summary.sql
    stack.approve(waiting.id)
    job.result(timeout=30)
    assert mover.get_table(f"{LAB}.approved").num_rows == 20


def test_masked_rows_came_back_in_the_place_of_the_values(mover: Client) -> None:
    table = f"{PROJECT}.shop.customers"
    read = mover.list_rows(table, max_results=2)
    rows = [{"id": row["id"], "ssn": row["ssn"]} for row in read]
    for disposition in ("WRITE_TRUNCATE", "WRITE_TRUNCATE_DATA"):
        config = bigquery.LoadJobConfig(write_disposition=disposition)
        with pytest.raises(exceptions.Forbidden, match="would replace its values"):
            mover.load_table_from_json(rows, table, job_config=config)
