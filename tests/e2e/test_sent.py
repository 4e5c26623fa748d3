# ruff: noqa: S608 - queries read best on one line, and are no injections here
"""What reaches BigQuery is what the gateway has on record, and nothing beside it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import suppress

import pytest
from google.api_core import exceptions
from google.cloud import bigquery
from tests.support.stack import PROJECT, Stack

POLICY = """
rules:
  - name: readers
    agents: {names: [reader, support]}
    resources: {datasets: [acme-shop.shop, acme-shop.lab]}
    allow: [read, script]
  - name: writers
    agents: {names: [support]}
    resources: {datasets: [acme-shop.lab]}
    allow: [write, schema_change]
  - name: writers-may-ask
    agents: {names: [support]}
    when: query.touches("pii.ssn")
    require_approval: {from: [data-stewards], count: 1, expires: 1m, unmask: [pii.ssn]}
"""
CUSTOMERS = f"{PROJECT}.shop.customers"
NOTES = f"{PROJECT}.lab.notes"
OTHERS = [
    bigquery.SchemaField("n", "INTEGER"),
    bigquery.SchemaField("text", "STRING"),
]
ROWS = [{"n": n, "text": f"note {n}"} for n in range(3)]


def everything(stack: Stack) -> None:
    """Do what clients do, allowed, refused, approved and given up."""
    reader, writer = stack.client("reader"), stack.client("support")
    reader.query_and_wait(f"SELECT id, email, ssn FROM `{CUSTOMERS}` LIMIT 5")
    one = bigquery.ScalarQueryParameter("one", "INT64", 1)
    asked = bigquery.QueryJobConfig(query_parameters=[one], dry_run=True)
    reader.query(f"SELECT name FROM `{CUSTOMERS}` WHERE id = @one", job_config=asked)
    asked.dry_run = False
    job = reader.query(f"SELECT name FROM `{CUSTOMERS}` WHERE id = @one", job_config=asked)
    assert len(list(job.result(page_size=1))) == 1
    script = reader.query(f"SELECT ssn FROM `{CUSTOMERS}` WHERE id < 3; SELECT 1")
    script.result()
    assert [len(list(one.result())) for one in reader.list_jobs(parent_job=script)] == [1, 2]
    reader.list_rows(CUSTOMERS, max_results=3)
    reader.get_table(CUSTOMERS)
    [*reader.list_datasets(), *reader.list_tables("shop"), *reader.list_routines("shop")]
    for sql in ("SELECT * FROM shop.nothing", f"DELETE FROM `{CUSTOMERS}` WHERE TRUE"):
        with suppress(exceptions.GoogleAPICallError):
            reader.query_and_wait(sql)
    writer.create_dataset("lab")
    writer.create_table(bigquery.Table(NOTES, schema=OTHERS))
    assert writer.insert_rows_json(NOTES, ROWS) == []
    assert writer.insert_rows_json(NOTES, [{"n": "no number"}]) != []
    writer.create_table(bigquery.Table(f"{PROJECT}.lab.blank"))
    kept = writer.get_table(NOTES)
    for columns in (["n"], None):
        kept.clustering_fields = columns
        kept = writer.update_table(kept, ["clustering_fields"])
    loaded = bigquery.LoadJobConfig(source_format="NEWLINE_DELIMITED_JSON", schema=OTHERS)
    text = "\n".join(map(json.dumps, ROWS)).encode()
    for size in (len(text), None):  # whole, and piece by piece
        file = io.BytesIO(text)
        writer.load_table_from_file(file, NOTES, size=size, job_config=loaded).result()
    writer.copy_table(NOTES, f"{PROJECT}.lab.copy").result()
    kept = bigquery.QueryJobConfig(destination=f"{PROJECT}.lab.kept", clustering_fields=["id"])
    writer.query(f"SELECT id FROM `{CUSTOMERS}`", job_config=kept).result()
    waiting = writer.query(f"SELECT ssn FROM `{CUSTOMERS}` WHERE id = 2")
    (asked_for,) = stack.waiting(writer.session)
    given_up = writer.query(f"SELECT ssn FROM `{CUSTOMERS}` WHERE id = 3")
    given_up.cancel()
    stack.approve(asked_for.id)
    assert len(list(waiting.result())) == 1


@pytest.fixture
def own_stack(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Stack]:
    """A stack with a dataset that may be written to; the parameter is a planted bug."""
    planted = getattr(request, "param", "")
    stack = Stack(tmp_path_factory.mktemp("sent"), planted=planted, rules=POLICY)
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()


def test_nothing_reaches_bigquery_that_is_not_on_record(own_stack: Stack) -> None:
    everything(own_stack)
    assert own_stack.strays() == []


def test_a_gateway_of_which_nothing_was_asked_needs_no_record(own_stack: Stack) -> None:
    """Where a worker's tests are all refused at once, its stack sends nothing."""
    assert own_stack.strays() == []
    own_stack.client("reader").query_and_wait("SELECT 1")
    own_stack.sandbox_log.write_bytes(b"")
    with pytest.raises(ValueError, match="nothing reached"):
        own_stack.strays()


PLANTED = """
from keystile.cli import main
from keystile.model.schema import TableId
from keystile.upstream.bigquery import BigQuery
from keystile.upstream.transport import Call
import msgspec

start = BigQuery.start
table = TableId("acme-shop", "shop", "customers")
rows = ("projects", "acme-shop", "datasets", "shop", "tables", "customers", "data")

async def started(self, query, job):
    await start(self, query, "job_beside")
    await start(self, msgspec.structs.replace(query, sql=query.sql + " "), job)
    await self._transport.send(Call("GET", rows))
    await self._transport.send(Call("GET", rows[:-1], {"access_token": "x"}))
    await self._transport.send(Call("DELETE", rows[:5] + ("none",)))
    await self._transport.send(Call("GET", ("projects", "acme-shop", "queries", "job_beside")))
    jobs = ("projects", "acme-shop", "jobs")
    await self._transport.send(Call("GET", jobs, {"projection": "full"}))
    await self._transport.send(Call("GET", jobs, {"parentJobId": "job_beside"}))

BigQuery.start = started
main()
"""


@pytest.mark.parametrize("own_stack", [PLANTED], indirect=True)
def test_a_gateway_that_sends_what_is_not_on_record_is_found(own_stack: Stack) -> None:
    own_stack.client("reader").query_and_wait(f"SELECT id FROM `{CUSTOMERS}` LIMIT 1")
    found = [stray.rpartition(": ")[2] for stray in own_stack.strays()]
    assert [why.partition(" `")[0] for why in found] == [
        "no job",
        "its text is another than the recorded one",
        "nobody is on record who looks at rows of",
        "the query parameter",
        "the gateway never sends",
        "no job",
        "no script",
        "no script",
    ]


ELSEWHERE = """
from keystile.cli import main
from keystile.upstream.bigquery import BigQuery
import msgspec

start = BigQuery.start

async def started(self, query, job):
    if query.into:
        table = {**query.into["destinationTable"], "tableId": "other"}
        query = msgspec.structs.replace(query, into={**query.into, "destinationTable": table})
    await start(self, query, job)

BigQuery.start = started
main()
"""


@pytest.mark.parametrize("own_stack", [ELSEWHERE], indirect=True)
def test_a_gateway_that_writes_a_result_elsewhere_is_found(own_stack: Stack) -> None:
    writer = own_stack.client("support")
    writer.create_dataset("lab")
    kept = bigquery.QueryJobConfig(destination=f"{PROJECT}.lab.kept")
    writer.query("SELECT 1 AS n", job_config=kept).result()
    (found,) = own_stack.strays()
    assert found.endswith("it goes where nothing on record says")


UNASKED = """
from keystile.cli import main
from keystile.gate import reading

first_read = reading.ResultReader._first_read

async def unasked(self, job):
    await self._accounts.at(job.account).rows(job.reference, max_results=10)
    return await first_read(self, job)

reading.ResultReader._first_read = unasked
main()
"""


@pytest.mark.parametrize("own_stack", [UNASKED], indirect=True)
def test_a_gateway_that_reads_a_statement_before_it_is_on_record_is_found(
    own_stack: Stack,
) -> None:
    reader = own_stack.client("reader")
    script = reader.query(f"SELECT 1; SELECT id FROM `{CUSTOMERS}` LIMIT 1")
    script.result()
    list(next(iter(reader.list_jobs(parent_job=script))).result())
    (found,) = own_stack.strays()
    assert found.endswith("rows of a statement of which nothing is on record")


UNRECORDED = """
from keystile.cli import main
from keystile.gate.recorder import Recorder
from keystile.recording.events import EventKind

record = Recorder.record

async def recorded(self, event):
    if event.kind is not EventKind.INTENT:
        await record(self, event)

Recorder.record = recorded
main()
"""


@pytest.mark.parametrize("own_stack", [UNRECORDED], indirect=True)
def test_a_gateway_that_records_no_intent_is_found(own_stack: Stack) -> None:
    own_stack.client("reader").query_and_wait(f"SELECT id FROM `{CUSTOMERS}` LIMIT 1")
    writer = own_stack.client("support")
    writer.create_dataset("lab")
    writer.create_table(bigquery.Table(NOTES, schema=OTHERS))
    writer.insert_rows_json(NOTES, ROWS)
    found = " ".join(own_stack.strays())
    for word in ("/jobs?", "/queries/", "/insertAll?"):
        assert word in found, word
