from __future__ import annotations

from typing import Any

import pytest

from keystile.gate.by_statement import ByStatement
from keystile.gate.changes import Changes
from keystile.gate.own_jobs import OwnJobs
from keystile.model.errors import NotFoundError, PreconditionError, RefusedError
from keystile.model.schema import Field, TableId
from keystile.wire.resources import NewDataset, NewTable, Words
from keystile.wire.updates import Update

LAB = NewDataset("acme-shop", "lab", Words(), "EU")
TABLE = TableId("acme-shop", "lab", "made")


class FakeMetadata:
    """Says what was asked for, and what `now` says."""

    def __init__(self) -> None:
        self.hidden = False
        self.now: dict[str, Any] = {}

    async def dataset(self, _principal: Any, *names: str) -> dict[str, Any]:
        if self.hidden:
            raise NotFoundError("Not found: Dataset")
        return {"dataset": names, **self.now}

    async def table(self, _principal: Any, *names: str) -> dict[str, Any]:
        if self.hidden:
            raise NotFoundError("Not found: Table")
        return {"table": names, **self.now}


@pytest.fixture
def metadata() -> FakeMetadata:
    return FakeMetadata()


class FakeClustering:
    """Notes what tables are to be clustered by."""

    def __init__(self) -> None:
        self.set_to: list[tuple[str, ...]] = []

    async def set(self, _principal: Any, _id: TableId, columns: tuple[str, ...]) -> None:
        self.set_to.append(columns)


@pytest.fixture
def clustering() -> FakeClustering:
    return FakeClustering()


@pytest.fixture
def changes(bench: Any, one: Any, metadata: Any, clustering: FakeClustering) -> Changes:
    statements = ByStatement(one.duties, OwnJobs(bench.database), bench.planned_policy)
    blank: Any = None
    set_clustering: Any = clustering
    return Changes(
        statements, blank, set_clustering, metadata, bench.bigquery, bench.current_policy
    )


def asked(bench: Any) -> list[str]:
    return [event.body["sql"] for event in bench.events if event.kind in {"intent", "refused"}]


async def test_what_is_made_is_on_record_and_answered(bench: Any, changes: Changes) -> None:
    agent = bench.principal()
    assert await changes.create_dataset(agent, LAB) == {"dataset": ("acme-shop", "lab")}
    new = NewTable(TABLE, Words(), (Field("a", "INT64"),))
    made = await changes.create_table(agent, new)
    assert made == {"table": ("acme-shop", "lab", "made")}
    await changes.delete_table(agent, TABLE)
    await changes.delete_table(agent, TableId("acme-shop", "lab", "view"))
    await changes.delete_dataset(agent, "acme-shop", "lab", contents=True)
    assert asked(bench) == [
        "CREATE SCHEMA `acme-shop`.`lab`",
        "CREATE TABLE `acme-shop`.`lab`.`made` (`a` INT64)",
        "DROP TABLE `acme-shop`.`lab`.`made`",
        "DROP VIEW `acme-shop`.`lab`.`view`",
        "DROP SCHEMA `acme-shop`.`lab` CASCADE",
    ]
    assert bench.events[0].body["request"]["location"] == "US"  # where BigQuery says it runs


async def test_what_is_changed_is_on_record_and_answered(
    bench: Any, changes: Changes, metadata: FakeMetadata
) -> None:
    agent = bench.principal()
    schema = {"fields": [{"name": "a", "type": "INTEGER"}]}
    metadata.now = {"type": "TABLE", "etag": "e", "schema": {"fields": []}}
    changed = await changes.update_table(
        agent, TABLE, Update({"description": "New", "schema": schema}, etag="e")
    )
    assert changed == {"table": ("acme-shop", "lab", "made"), **metadata.now}
    await changes.update_dataset(agent, "acme-shop", "lab", Update({"labels": {"a": "b"}}))
    assert asked(bench) == [
        "ALTER TABLE `acme-shop`.`lab`.`made` ADD COLUMN `a` INT64",
        "ALTER TABLE `acme-shop`.`lab`.`made` SET OPTIONS (description = 'New')",
        "ALTER SCHEMA `acme-shop`.`lab` SET OPTIONS (labels = [('a', 'b')])",
    ]


async def test_clustering_is_changed_after_all_statements(
    bench: Any, changes: Changes, metadata: FakeMetadata, clustering: FakeClustering
) -> None:
    metadata.now = {"type": "TABLE", "clustering": {"fields": ["a"]}}
    key = {"primaryKey": {"columns": ["a"]}}
    update = Update({"tableConstraints": key, "clustering": None})
    await changes.update_table(bench.principal(), TABLE, update)
    alter = "ALTER TABLE `acme-shop`.`lab`.`made`"
    assert asked(bench) == [f"{alter} ADD PRIMARY KEY (`a`) NOT ENFORCED"]
    assert clustering.set_to == [()]


async def test_what_is_so_already_needs_no_statement(
    bench: Any, changes: Changes, metadata: FakeMetadata
) -> None:
    metadata.now = {"type": "VIEW", "description": "New", "etag": "e2"}
    update = Update({"description": "New"}, etag="e1")
    assert (await changes.update_table(bench.principal(), TABLE, update))["etag"] == "e2"
    assert (await changes.update_dataset(bench.principal(), "p", "d", update))["etag"] == "e2"
    with pytest.raises(PreconditionError):
        await changes.update_table(
            bench.principal(), TABLE, Update({"description": "x"}, etag="e1")
        )
    assert bench.events == []


async def test_what_policy_denies_is_not_made(bench: Any, changes: Changes) -> None:
    bench.planner.decide_fails = RefusedError("agents change no schemas")
    with pytest.raises(RefusedError, match="no schemas"):
        await changes.create_dataset(bench.principal(), LAB)
    with pytest.raises(RefusedError, match="no schemas"):
        await changes.update_dataset(bench.principal(), "p", "d", Update({"description": "x"}))
    assert bench.bigquery.started == []


async def test_what_is_hidden_cannot_be_told_from_what_is_absent(
    bench: Any, changes: Changes, metadata: FakeMetadata
) -> None:
    metadata.hidden = True
    bench.policy = "rules: [{name: r, allow: [read], resources: {datasets: [acme-shop.shop]}}]"
    agent = bench.principal()
    with pytest.raises(NotFoundError):
        await changes.delete_dataset(agent, "acme-shop", "lab", contents=False)
    for update in (Update({}), Update({"description": "x"}), Update({"access": []})):
        with pytest.raises(NotFoundError):
            await changes.update_dataset(agent, "acme-shop", "lab", update)
        with pytest.raises(NotFoundError):
            await changes.update_table(agent, TABLE, update)
    for table in ("made", "absent", "made$20240101"):
        with pytest.raises(NotFoundError):
            await changes.delete_table(agent, TableId("acme-shop", "lab", table))
    assert bench.events == []
