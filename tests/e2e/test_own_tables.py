# ruff: noqa: S608 - queries read best on one line, and are no injections here
"""Tables of an agent's own data beside its results, by the real client, as ibis uses them."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import bigquery
from tests.support.stack import PROJECT, Client, Stack

POLICY = """
rules:
  - name: readers
    resources: {datasets: [acme-shop.shop, acme-shop.lab]}
    allow: [read]
  - name: writers
    agents: {names: [support]}
    resources: {datasets: [acme-shop.lab]}
    allow: [write, schema_change, script]
"""
COLUMNS = [bigquery.SchemaField("id", "INTEGER"), bigquery.SchemaField("ssn", "STRING")]
DATA = b'{"id": 1, "ssn": "mine"}\n{"id": 2, "ssn": "too"}\n'


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("own"))
    for file in ("tests.yaml", "rules.yaml"):
        (stack.folder / "policy" / file).unlink()
    (stack.folder / "policy" / "rules.yaml").write_text(POLICY)
    try:
        stack.start()
        yield stack
        assert stack.strays() == []
    finally:
        stack.stop()


@pytest.fixture(scope="module")
def reader(stack: Stack) -> Client:
    return stack.client("reader")


@pytest.fixture(scope="module")
def writer(stack: Stack) -> Client:
    client = stack.client("support")
    client.create_dataset("lab")
    return client


def home(client: Client) -> str:
    job = client.query("SELECT 1")
    job.result()
    return f"{PROJECT}.{job.destination.dataset_id}"


def load(client: Client, table: str, write: str = "WRITE_EMPTY") -> Any:
    config = bigquery.LoadJobConfig(
        source_format="NEWLINE_DELIMITED_JSON", schema=COLUMNS, write_disposition=write
    )
    return client.load_table_from_file(io.BytesIO(DATA), table, job_config=config).result()


def rows(client: Client, sql: str) -> list[tuple[Any, ...]]:
    return [row.values() for row in client.query(sql).result()]


@pytest.fixture(scope="module")
def mine(reader: Client) -> str:
    table = f"{home(reader)}.frame"
    assert load(reader, table).output_rows == 2
    return table


def test_its_owner_reads_it_beside_masked_tables(reader: Client, mine: str) -> None:
    assert rows(reader, f"SELECT ssn FROM `{mine}` ORDER BY id") == [("mine",), ("too",)]
    sql = f"SELECT t.ssn, c.ssn FROM `{mine}` AS t JOIN shop.customers AS c USING (id) ORDER BY id"
    assert rows(reader, sql) == [("mine", "XXX-XX-XXXX"), ("too", "XXX-XX-XXXX")]


def test_it_is_appended_to_and_replaced_as_any_table(reader: Client) -> None:
    table = f"{home(reader)}.more"
    for write, count in (("WRITE_EMPTY", 2), ("WRITE_APPEND", 4), ("WRITE_TRUNCATE", 2)):
        load(reader, table, write)
        assert rows(reader, f"SELECT COUNT(*) FROM `{table}`") == [(count,)]


def test_a_table_is_made_of_it_where_policy_says_so(
    reader: Client, writer: Client, mine: str
) -> None:
    with pytest.raises(exceptions.Forbidden, match="no rule allows"):
        rows(reader, f"CREATE TABLE lab.made AS SELECT * FROM `{mine}`")
    theirs = f"{home(writer)}.frame"
    load(writer, theirs)
    rows(writer, f"CREATE OR REPLACE TABLE lab.made AS SELECT * FROM `{theirs}`")
    rows(writer, f"INSERT INTO lab.made SELECT id + 2, ssn FROM `{theirs}`")
    assert rows(writer, "SELECT COUNT(*) FROM lab.made") == [(4,)]


def test_to_any_other_agent_it_is_absent(reader: Client, writer: Client, mine: str) -> None:
    said = []
    for table in (mine, f"{mine}_that_nobody_made"):
        with pytest.raises(exceptions.NotFound) as error:
            rows(writer, f"SELECT * FROM `{table}`")
        said.append(str(error.value.errors[0]["message"]).replace(table.split(".")[-1], "NAME"))
    assert said[0] == said[1]
    for ask in (
        lambda: load(writer, mine, "WRITE_APPEND"),
        lambda: writer.get_table(mine),
        lambda: list(writer.list_rows(mine, selected_fields=COLUMNS)),
        lambda: writer.copy_table(mine, f"{PROJECT}.lab.stolen").result(),
    ):
        with pytest.raises(exceptions.NotFound):
            ask()
    assert rows(reader, f"SELECT COUNT(*) FROM `{mine}`") == [(2,)]


def test_one_name_is_two_tables_of_two_agents(reader: Client, writer: Client) -> None:
    load(reader, f"{home(reader)}.same")
    with pytest.raises(exceptions.NotFound):
        rows(writer, f"SELECT * FROM `{home(writer)}.same`")
    load(writer, f"{home(writer)}.same")  # WRITE_EMPTY: there is none yet


def test_the_place_at_bigquery_is_no_place_for_agents(
    stack: Stack, reader: Client, mine: str
) -> None:
    sent = stack.sandbox_log.read_text()
    found = re.search(r'"datasetId":"(_[0-9a-f]{40})","tableId":"(keystile_[0-9a-f]{40})"', sent)
    assert found
    name = f"{PROJECT}.{found[1]}.{found[2]}"
    assert name != mine
    with pytest.raises(exceptions.NotFound):
        rows(reader, f"SELECT * FROM `{name}`")
    with pytest.raises(exceptions.NotFound):
        load(reader, name, "WRITE_APPEND")


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE `MINE` SET id = 3 WHERE TRUE",
        "INSERT INTO `MINE` (id) VALUES (1)",
        "CREATE OR REPLACE TABLE `MINE` AS SELECT ssn FROM shop.customers",
        "DROP TABLE `MINE`",
        "CREATE VIEW lab.seen AS SELECT * FROM `MINE`",
        "DECLARE n INT64; SET n = (SELECT COUNT(*) FROM `MINE`); SELECT n",
    ],
)
def test_nothing_but_reading_it_is_done_by_sql(writer: Client, sql: str) -> None:
    table = f"{home(writer)}.kept"
    load(writer, table, "WRITE_TRUNCATE")
    with pytest.raises((exceptions.Forbidden, exceptions.NotFound)):
        rows(writer, sql.replace("MINE", table))
    assert rows(writer, f"SELECT SUM(id) FROM `{table}`") == [(3,)]


def test_only_data_that_comes_along_goes_into_it(writer: Client) -> None:
    table = f"{home(writer)}.others"
    config = bigquery.LoadJobConfig(source_format="CSV", schema=COLUMNS)
    with pytest.raises(exceptions.Forbidden, match="brings with it"):
        writer.load_table_from_uri("gs://bucket/a.csv", table, job_config=config).result()
    with pytest.raises(exceptions.Forbidden, match="brings with it"):
        writer.copy_table(f"{PROJECT}.shop.customers", table).result()
    into = bigquery.QueryJobConfig(destination=table)
    with pytest.raises(exceptions.NotFound):
        writer.query("SELECT ssn FROM shop.customers", job_config=into).result()


def test_names_of_results_are_no_names_for_it(reader: Client) -> None:
    for name in ("anon1", "_t", "__t"):
        with pytest.raises(exceptions.NotFound):
            load(reader, f"{home(reader)}.{name}")
