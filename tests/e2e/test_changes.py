# ruff: noqa: S608 - queries read best on one line, and are no injections here
"""Datasets and tables made, changed and dropped by the real client, without SQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from google.api_core import exceptions
from google.cloud import bigquery
from google.cloud.bigquery.table import (
    ColumnReference,
    ForeignKey,
    PrimaryKey,
    TableConstraints,
)
from tests.support.stack import PROJECT, Client, Stack, standing

POLICY = """
rules:
  - name: makers
    agents: {names: [support]}
    resources: {datasets: [acme-shop.lab, acme-shop.shop]}
    allow: [read, write, schema_change]
  - name: readers
    agents: {names: [reader]}
    allow: [read]
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose agent `support` may change schemas, under the labels of the demo."""
    with standing(Stack(tmp_path_factory.mktemp("changes"), rules=POLICY)) as stack:
        yield stack


@pytest.fixture(scope="module")
def maker(stack: Stack) -> Client:
    client = stack.client("support")
    client.create_dataset("lab")
    return client


def test_a_dataset_is_made_listed_and_dropped_with_what_it_holds(maker: Client) -> None:
    with pytest.raises(exceptions.Conflict):
        maker.create_dataset("lab")
    assert maker.create_dataset("lab", exists_ok=True).dataset_id == "lab"
    assert "lab" in [one.dataset_id for one in maker.list_datasets()]
    with pytest.raises(exceptions.Forbidden, match="no rule allows"):
        maker.create_dataset("other")


def test_a_table_is_made_filled_and_dropped(stack: Stack, maker: Client) -> None:
    table = bigquery.Table(
        f"{PROJECT}.lab.days",
        [
            bigquery.SchemaField("day", "DATE", mode="REQUIRED"),
            bigquery.SchemaField("n", "INTEGER", description="it's a count"),
        ],
    )
    table.description, table.labels = "Days", {"team": "x"}
    made = maker.create_table(table)
    assert [(one.name, one.field_type, one.mode) for one in made.schema] == [
        ("day", "DATE", "REQUIRED"),
        ("n", "INTEGER", "NULLABLE"),
    ]
    assert (made.description, made.labels) == ("Days", {"team": "x"})
    maker.query_and_wait("INSERT INTO lab.days (day, n) VALUES ('2026-01-01', 1)")
    assert [row.n for row in maker.list_rows(made)] == [1]
    with pytest.raises(exceptions.Conflict):
        maker.create_table(table)
    with pytest.raises(exceptions.Forbidden):
        stack.client("reader").delete_table(made)
    maker.delete_table(made)
    maker.delete_table(made, not_found_ok=True)
    with pytest.raises(exceptions.NotFound):
        maker.get_table(made)


def test_a_table_is_changed(stack: Stack, maker: Client) -> None:
    made = maker.create_table(
        bigquery.Table(f"{PROJECT}.lab.notes", [bigquery.SchemaField("n", "INTEGER")])
    )
    known = maker.get_table(made)
    made.description, made.labels = "Notes", {"team": "x"}
    made.schema = [*made.schema, bigquery.SchemaField("at", "TIMESTAMP")]
    changed = maker.update_table(made, ["description", "labels", "schema"])
    assert (changed.description, changed.labels) == ("Notes", {"team": "x"})
    assert [one.name for one in changed.schema] == ["n", "at"]
    known.description = "Other"
    with pytest.raises(exceptions.PreconditionFailed):
        maker.update_table(known, ["description"])
    changed.description, changed.labels = None, {"team": None}
    changed = maker.update_table(changed, ["description", "labels"])
    assert (changed.description, changed.labels) == (None, {})
    changed.require_partition_filter = True
    with pytest.raises(exceptions.Forbidden, match="`requirePartitionFilter` is refused"):
        maker.update_table(changed, ["require_partition_filter"])
    theirs = stack.client("reader").get_table(changed)
    theirs.description = "Mine"
    with pytest.raises(exceptions.Forbidden, match="refused by policy"):
        stack.client("reader").update_table(theirs, ["description"])
    maker.delete_table(changed)


def test_keys_and_clustering_are_changed(stack: Stack, maker: Client) -> None:
    column = bigquery.SchemaField("n", "INTEGER")
    there = maker.create_table(bigquery.Table(f"{PROJECT}.lab.there", [column]))
    there.table_constraints = TableConstraints(PrimaryKey(["n"]), None)
    there = maker.update_table(there, ["table_constraints"])
    assert there.table_constraints.primary_key == PrimaryKey(["n"])
    key = ForeignKey("to_there", there.reference, [ColumnReference("n", "n")])
    here = bigquery.Table(f"{PROJECT}.lab.here", [column])
    here.table_constraints = TableConstraints(None, [key])
    here = maker.create_table(here)
    assert here.table_constraints.foreign_keys == [key]
    here.clustering_fields = ["n"]
    here.table_constraints = None
    here = maker.update_table(here, ["clustering_fields", "table_constraints"])
    assert (here.clustering_fields, here.table_constraints) == (["n"], None)
    assert [step.sql for step in stack.steps(maker.session)][-2:] == [
        "ALTER TABLE `acme-shop`.`lab`.`here` DROP CONSTRAINT `to_there`",
        (
            "-- clustering by `n`, by tables.patch\n"
            "ALTER TABLE `acme-shop`.`lab`.`here` SET OPTIONS ()"
        ),
    ]
    here.clustering_fields = None
    assert maker.update_table(here, ["clustering_fields"]).clustering_fields is None
    customers = maker.get_table(f"{PROJECT}.shop.customers")
    customers.clustering_fields = ["ssn"]
    with pytest.raises(exceptions.Forbidden, match="the order of its rows would tell"):
        maker.update_table(customers, ["clustering_fields"])
    for table in (here, there):
        maker.delete_table(table)


def test_a_dataset_is_changed(stack: Stack, maker: Client) -> None:
    lab = maker.get_dataset("lab")
    lab.description, lab.default_table_expiration_ms = "Trials", 86_400_000
    changed = maker.update_dataset(lab, ["description", "default_table_expiration_ms"])
    assert (changed.description, changed.default_table_expiration_ms) == ("Trials", 86_400_000)
    assert stack.steps(maker.session)[-1].sql == (
        "ALTER SCHEMA `acme-shop`.`lab` SET OPTIONS (description = 'Trials',"
        " default_table_expiration_days = 1.0)"
    )
    changed.default_table_expiration_ms = None
    maker.update_dataset(changed, ["default_table_expiration_ms"])
    with pytest.raises(exceptions.Forbidden, match="`access` is refused"):
        maker.update_dataset(changed, ["access_entries"])


def test_a_view_that_is_made_shows_masks(maker: Client) -> None:
    view = bigquery.Table(f"{PROJECT}.lab.texts")
    view.view_query = f"SELECT id, body FROM `{PROJECT}.shop.tickets`"
    assert maker.create_table(view).table_type == "VIEW"
    rows = maker.query_and_wait("SELECT DISTINCT body FROM lab.texts")
    assert [row.body for row in rows] == [""]
    maker.delete_table(view)


def test_it_is_on_record_as_the_statement_that_it_is(stack: Stack, maker: Client) -> None:
    said = [step.sql for step in stack.steps(maker.session)]
    assert "CREATE SCHEMA `acme-shop`.`lab`" in said
    maker.delete_dataset("lab", delete_contents=True)
    assert stack.steps(maker.session)[-1].sql == "DROP SCHEMA `acme-shop`.`lab` CASCADE"
    assert "lab" not in [one.dataset_id for one in maker.list_datasets()]
