# ruff: noqa: S608 - queries read best on one line, and are no injections here
"""Labels that BigQuery holds of columns, on a running gateway: tags and descriptions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
import requests
from google.api_core import exceptions
from google.cloud import bigquery
from google.cloud.bigquery_storage_v1 import BigQueryReadClient, types
from google.cloud.bigquery_storage_v1.services.big_query_read import transports
from tests.support.grpc_calls import WithMetadata, read_all
from tests.support.stack import PROJECT, Client, Stack, standing

LABELS = """
labels:
  - {label: pii.tagged, policy_tags: ["projects/acme-shop/locations/us/taxonomies/1/policyTags/*"]}
  - {label: pii.said, descriptions: ["[pii]"]}
masks:
  - {label: pii, mask: {kind: constant, value: hidden}}
"""
RULES = """
rules:
  - name: readers
    resources: {datasets: [acme-shop.shop, acme-shop.lab]}
    allow: [read, script]
  - name: writers
    agents: {names: [support, hurried]}
    resources: {datasets: [acme-shop.lab]}
    allow: [read, write, schema_change, access_change, script, session]
  - name: trusted
    agents: {names: [support]}
    resources: {datasets: [acme-shop.shop, acme-shop.lab]}
    allow: [read]
    unmask: [pii]
"""
TAG = "projects/acme-shop/locations/us/taxonomies/1/policyTags/secret"
SECONDS = 10.0
"""How long docs/reference/policy.md says that it takes until a label counts."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("labels"), storage={}, rules=RULES)
    for file in (stack.folder / "policy").iterdir():
        file.unlink()
    (stack.folder / "policy" / "labels.yaml").write_text(LABELS)
    (stack.folder / "policy" / "rules.yaml").write_text(RULES)
    with standing(stack):
        yield stack


@pytest.fixture(scope="module")
def reader(stack: Stack) -> Client:
    return stack.client("reader")


@pytest.fixture(scope="module")
def writer(stack: Stack) -> Client:
    """An agent that may change all of the lab, and sees no protected value."""
    return stack.client("hurried")


def ask(stack: Stack, method: str, path: str, body: dict[str, Any]) -> Any:
    """Do something in BigQuery itself, as its owner does."""
    url = f"{stack.sandbox_url}/bigquery/v2/projects/{PROJECT}/{path}"
    bearer = {"Authorization": f"Bearer {stack.bearer()}"}
    answer = requests.request(method, url, json=body, headers=bearer, timeout=30)
    assert answer.ok, answer.text
    return answer.json()


def run(stack: Stack, sql: str) -> None:
    ask(stack, "POST", "queries", {"query": sql, "useLegacySql": False})


@pytest.fixture(scope="module")
def lab(stack: Stack) -> str:
    ask(stack, "POST", "datasets", {"datasetReference": {"datasetId": "lab"}})
    return "lab"


def made(stack: Stack, lab: str, name: str) -> str:
    """Make a table with a value in two columns, and a view of it; nothing is labelled yet."""
    run(stack, f"CREATE TABLE {lab}.{name} AS SELECT 1 AS id, 'RAW' AS tagged, 'RAW' AS said")
    run(stack, f"CREATE VIEW {lab}.{name}_view AS SELECT tagged AS a, said AS b FROM {lab}.{name}")
    return f"{lab}.{name}"


def label(stack: Stack, table: str, *, tags: bool = True, said: bool = True) -> None:
    dataset, name = table.split(".")
    fields = [
        {"name": "id", "type": "INTEGER"},
        {"name": "tagged", "type": "STRING", "policyTags": {"names": [TAG] if tags else []}},
        {"name": "said", "type": "STRING", "description": "a number [PII]" if said else ""},
    ]
    path = f"datasets/{dataset}/tables/{name}"
    ask(stack, "PATCH", path, {"schema": {"fields": fields}})


def rows(client: Client, sql: str) -> list[tuple[Any, ...]]:
    return [row.values() for row in client.query(sql).result()]


def by_storage(stack: Stack, client: Client, table: str) -> list[tuple[Any, ...]]:
    client._credentials.refresh(client._http._auth_request)
    bearer = (("authorization", f"Bearer {client._credentials.token}"),)
    with grpc.insecure_channel(f"127.0.0.1:{stack.storage_port}") as plain:
        channel = grpc.intercept_channel(plain, WithMetadata(bearer))
        storage = BigQueryReadClient(
            transport=transports.BigQueryReadGrpcTransport(channel=channel)
        )
        dataset, name = table.split(".")
        asked = {
            "table": f"projects/{PROJECT}/datasets/{dataset}/tables/{name}",
            "data_format": types.DataFormat.ARROW,
            "read_options": {"selected_fields": ["tagged", "said"]},
        }
        session = storage.create_read_session(parent=f"projects/{PROJECT}", read_session=asked)
        return [tuple(row.values()) for row in read_all(storage, session).to_pylist()]


def listed(client: Client, table: str) -> list[tuple[Any, ...]]:
    fields = [bigquery.SchemaField(name, "STRING") for name in ("tagged", "said")]
    return [row.values() for row in client.list_rows(table, selected_fields=fields)]


def test_a_label_counts_within_seconds_on_every_way_to_a_value(
    stack: Stack, reader: Client, lab: str
) -> None:
    table = made(stack, lab, "counted")
    ways = {
        "a query": lambda: rows(reader, f"SELECT tagged, said FROM {table}"),
        "a view": lambda: rows(reader, f"SELECT a, b FROM {table}_view"),
        "a script": lambda: rows(reader, f"BEGIN SELECT tagged, said FROM {table}; END"),
        "rows without SQL": lambda: listed(reader, table),
        "the Storage API": lambda: by_storage(stack, reader, table),
    }
    assert {name: way() for name, way in ways.items()} == {name: [("RAW", "RAW")] for name in ways}

    label(stack, table)
    since, waiting = time.monotonic(), dict(ways)
    while waiting:
        # What is asked for at once is one look-up of the table: whoever comes first has it made.
        for name in [*waiting]:
            if waiting[name]() == [("hidden", "hidden")]:
                del waiting[name]
        assert time.monotonic() - since < SECONDS + 5, waiting
    label(stack, table, tags=False)
    time.sleep(SECONDS)
    assert {name: way() for name, way in ways.items()} == {
        name: [("RAW", "hidden")] for name in ways
    }


@pytest.fixture(scope="module")
def held(stack: Stack, lab: str, writer: Client) -> str:
    table = made(stack, lab, "held")
    label(stack, table)
    assert rows(writer, f"SELECT tagged, said FROM {table}") == [("hidden", "hidden")]
    return table


ATTACKS = {
    "a description was set": "ALTER TABLE {t} ALTER COLUMN said SET OPTIONS (description = '')",
    "a column was dropped": "ALTER TABLE {t} DROP COLUMN said",
    "a tagged column was dropped": "ALTER TABLE {t} DROP COLUMN tagged",
    "a table was replaced": "CREATE OR REPLACE TABLE {t} AS SELECT 1 AS id, 'x' AS other",
    "a table was dropped": "DROP TABLE {t}",
    "a dataset was dropped": "DROP SCHEMA lab CASCADE",
}


@pytest.mark.parametrize("sql", ATTACKS.values(), ids=[*ATTACKS])
def test_a_label_was_taken_off_by_an_agent_when(writer: Client, held: str, sql: str) -> None:
    with pytest.raises(exceptions.Forbidden, match=r"has policy tags|by its description"):
        rows(writer, sql.format(t=held))
    assert rows(writer, f"SELECT tagged, said FROM {held}") == [("hidden", "hidden")]


def test_a_label_was_taken_off_by_a_request_without_sql(writer: Client, held: str) -> None:
    table = writer.get_table(held)
    table.schema = [
        bigquery.SchemaField(field.name, field.field_type, description="") for field in table.schema
    ]
    with pytest.raises(exceptions.Forbidden, match="is refused"):
        writer.update_table(table, ["schema"])
    with pytest.raises(exceptions.Forbidden, match=r"has policy tags|by its description"):
        writer.delete_table(held)
    assert rows(writer, f"SELECT tagged, said FROM {held}") == [("hidden", "hidden")]


@pytest.fixture(scope="module")
def trusted(stack: Stack) -> Client:
    """An agent that sees protected values as they are, and may write them to the lab."""
    return stack.client("support")


@pytest.fixture(scope="module")
def source(stack: Stack, lab: str, trusted: Client) -> str:
    table = made(stack, lab, "source")
    label(stack, table)
    assert rows(trusted, f"SELECT tagged, said FROM {table}") == [("RAW", "RAW")]
    return table


def _copied(client: Client, source: str, to: str) -> None:
    client.copy_table(f"{PROJECT}.{source}", f"{PROJECT}.{to}").result()


def _result_into(client: Client, source: str, to: str) -> None:
    config = bigquery.QueryJobConfig(destination=f"{PROJECT}.{to}")
    client.query(f"SELECT id, tagged, said FROM {source}", job_config=config).result()


def _in_a_session(client: Client, source: str, to: str) -> None:
    config = bigquery.QueryJobConfig(create_session=True)
    job = client.query(
        f"CREATE TEMP TABLE kept AS SELECT id, tagged, said FROM {source}", job_config=config
    )
    job.result()
    inside = [bigquery.ConnectionProperty("session_id", job.session_info.session_id)]
    later = bigquery.QueryJobConfig(connection_properties=inside)
    client.query(f"CREATE TABLE {to} AS SELECT * FROM kept", job_config=later).result()


COPIES: dict[str, Callable[[Client, str, str], Any]] = {
    "CREATE TABLE AS SELECT": lambda client, source, to: rows(
        client, f"CREATE TABLE {to} AS SELECT * FROM {source}"
    ),
    "INSERT SELECT": lambda client, source, to: [
        rows(client, f"CREATE TABLE {to} (id INT64, tagged STRING, said STRING)"),
        rows(client, f"INSERT INTO {to} (id, tagged, said) SELECT id, tagged, said FROM {source}"),
    ],
    "MERGE": lambda client, source, to: [
        rows(client, f"CREATE TABLE {to} (id INT64, tagged STRING, said STRING)"),
        rows(
            client,
            f"MERGE {to} AS t USING {source} AS s ON t.id = s.id WHEN NOT MATCHED THEN"
            " INSERT (id, tagged, said) VALUES (s.id, s.tagged, s.said)",
        ),
    ],
    "a script": lambda client, source, to: rows(
        client,
        f"DECLARE v STRING; SET v = (SELECT MAX(tagged) FROM {source});"
        f" CREATE TABLE {to} AS SELECT 1 AS id, v AS tagged, v AS said",
    ),
    "a copy job": _copied,
    "a result's table": _result_into,
    "a session's table": _in_a_session,
}


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_of_raw_values_was_read_by_others_after(
    trusted: Client, reader: Client, source: str, way: str
) -> None:
    to = f"lab.copy_{'_'.join(way.replace(chr(39), ' ').lower().split())}"
    COPIES[way](trusted, source, to)
    assert rows(trusted, f"SELECT tagged, said FROM {to}") == [("RAW", "RAW")]
    shown = rows(reader, f"SELECT tagged, said FROM {to}")
    assert len(shown) == 1
    assert not {value for row in shown for value in row} - {"hidden", None}
    assert "RAW" not in str(listed(reader, to))
    assert rows(reader, f"SELECT COUNT(*) FROM {to} WHERE tagged LIKE '%AW'") == [(0,)]


def test_a_copy_of_a_copy_was_read_by_others(trusted: Client, reader: Client, source: str) -> None:
    rows(trusted, f"CREATE TABLE lab.first AS SELECT id, tagged AS one FROM {source}")
    rows(trusted, "CREATE TABLE lab.second AS SELECT id, one AS two FROM lab.first")
    rows(trusted, "CREATE VIEW lab.second_view AS SELECT two AS three FROM lab.second")
    assert rows(reader, "SELECT two FROM lab.second") == [("hidden",)]
    assert rows(reader, "SELECT three FROM lab.second_view") == [("hidden",)]


def test_a_table_that_is_replaced_shows_what_is_in_it_now(
    stack: Stack, trusted: Client, reader: Client, source: str
) -> None:
    rows(trusted, f"CREATE TABLE lab.mixed AS SELECT tagged AS x FROM {source}")
    other = stack.client("reader", endpoint=stack.start_replica())
    for one in (reader, other):
        assert rows(one, "SELECT x FROM lab.mixed") == [("hidden",)]
    before = rows(reader, "SELECT CAST(CURRENT_TIMESTAMP() AS STRING)")[0][0]
    rows(trusted, "CREATE OR REPLACE TABLE lab.mixed AS SELECT 'open' AS x")
    for one in (reader, other):
        assert rows(one, "SELECT x FROM lab.mixed") == [("open",)]
        with pytest.raises(exceptions.Forbidden, match="held labelled values before"):
            rows(one, f"SELECT x FROM lab.mixed FOR SYSTEM_TIME AS OF TIMESTAMP '{before}'")
    rows(trusted, f"INSERT INTO lab.mixed (x) SELECT said FROM {source}")
    for one in (reader, other):
        assert rows(one, "SELECT DISTINCT x FROM lab.mixed") == [("hidden",)]


def test_each_label_says_where_it_is_from(
    stack: Stack, trusted: Client, reader: Client, source: str
) -> None:
    rows(
        trusted, f"CREATE TABLE lab.listed AS SELECT tagged AS x, REVERSE(said) AS y FROM {source}"
    )
    of_source = stack.json("labels", "list", "--table", f"{PROJECT}.{source}")
    assert {(one["column"], one["from"], one["fits"]) for one in of_source} == {
        (f"{PROJECT}.{source}.tagged", "policy_tags", f"{TAG.rpartition('/')[0]}/*"),
        (f"{PROJECT}.{source}.said", "descriptions", "[pii]"),
    }
    listed = f"{PROJECT}.lab.listed"
    of_copy = [one for one in stack.json("labels", "list") if one["column"].startswith(listed)]
    assert {(one["column"], one["source"], one["derived"]) for one in of_copy} == {
        (f"{listed}.x", f"{PROJECT}.{source}.tagged", False),
        (f"{listed}.y", f"{PROJECT}.{source}.said", True),
    }
    assert {one["agent"] for one in of_copy} == {"support"}
    shown = stack.run("labels", "list", "--dataset", f"{PROJECT}.lab").stdout
    assert f"copied from {PROJECT}.{source}.tagged by support" in " ".join(shown.split())

    assert rows(reader, "SELECT x, y FROM lab.listed") == [("hidden", None)]
    gone = stack.run("labels", "forget", listed)
    assert f"{listed} has no longer x: pii.tagged" in gone.stdout
    assert rows(reader, "SELECT x, y FROM lab.listed") == [("RAW", "WAR")]
    assert stack.run("labels", "forget", listed).returncode == 1
    for words, said in (
        (["list", "--table", "customers"], "`customers` is no table's name"),
        (["list", "--dataset", "shop"], "`shop` is no dataset's name"),
    ):
        ran = stack.run("labels", *words)
        assert (ran.returncode, said in ran.stderr) == (1, True)


def test_labels_of_what_a_table_holds_outlive_the_gateway(
    stack: Stack, trusted: Client, source: str
) -> None:
    rows(trusted, f"CREATE TABLE lab.lasting AS SELECT tagged AS x FROM {source}")
    stack.kill()
    stack.start_gateway()
    assert rows(stack.client("reader"), "SELECT x FROM lab.lasting") == [("hidden",)]
