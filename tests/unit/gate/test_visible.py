from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from keystile.gate.visible import VisibleObjects
from keystile.model.errors import NotFoundError, RefusedError, ShutOutError, because
from keystile.model.principal import Principal
from keystile.model.schema import Field, Routine, RoutineId, RoutineKind, Table, TableId, TableKind
from keystile.policy.compile import compile_policy
from keystile.policy.context import Context
from keystile.upstream.values import ListedTable

READER = Principal("https://issuer.example", "s", "reader", "run-1", groups=("all",))
POLICY = """
labels:
  - {label: pii, columns: [birthday]}
rules:
  - name: read
    agents: {groups: [all]}
    resources: {tables: ["p.d.events_*", p.d.orders]}
    allow: [read]
"""
LISTED = (("events_1", 10), ("events_3", 30), ("events_2", 20), ("orders", 5), ("payroll", 1))


class FakeBigQuery:
    """One dataset, whose tables have one column each, with one routine."""

    def __init__(self) -> None:
        self.listed = [
            ListedTable(TableId("p", "d", name), TableKind.TABLE, created)
            for name, created in LISTED
        ]
        self.asked: list[str] = []

    async def every_table(self, project: str, dataset: str) -> tuple[ListedTable, ...]:
        if (project, dataset) != ("p", "d"):
            raise NotFoundError(f"Not found: Dataset {project}:{dataset}")
        return tuple(self.listed)

    async def table(self, id: TableId) -> Table:  # noqa: A002 - the word of the port
        self.asked.append(id.table)
        fields = (Field("a", "STRING"), Field("birthday", "DATE"), Field("day", "DATE"))
        return Table(id, TableKind.TABLE, fields, "1")

    async def routine(self, id: RoutineId) -> Routine:  # noqa: A002 - the word of the port
        self.asked.append(id.routine)
        if id.routine != "f":
            raise NotFoundError(f"Not found: Routine {id}, in words of BigQuery's own")
        return Routine(id, RoutineKind.SCALAR, "SQL", (), "1")

    async def every_dataset(self, project: str) -> tuple[str, ...]:
        return ("_hidden", "d", "payroll") if project == "p" else ()


@pytest.fixture
def bigquery() -> FakeBigQuery:
    return FakeBigQuery()


@pytest.fixture
def objects(bigquery: Any) -> VisibleObjects:
    policy = compile_policy({"policy.yaml": POLICY})
    context = Context("p", datetime.now(UTC), dry_run=False)
    return VisibleObjects(bigquery, policy, READER, context)


async def test_a_wildcard_gives_its_tables_newest_first(objects: VisibleObjects) -> None:
    found = await objects.tables_like(TableId("p", "d", "events_*"))
    assert [table.id.table for table in found] == ["events_3", "events_2", "events_1"]


async def test_a_wildcard_over_a_hidden_table_matches_nothing(
    objects: VisibleObjects, bigquery: FakeBigQuery
) -> None:
    said = []
    for dataset, name in (("d", "*"), ("d", "pay*"), ("d", "nothing*"), ("hidden", "x*")):
        with pytest.raises(NotFoundError) as error:
            await objects.tables_like(TableId("p", dataset, name))
        said.append(str(error.value).replace(f"{dataset}.{name}", "NAME"))
    assert len(set(said)) == 1
    assert "payroll" not in said[0]
    assert bigquery.asked == []


async def test_a_wildcard_over_a_view_is_refused_before_anything_is_fetched(
    objects: VisibleObjects, bigquery: FakeBigQuery
) -> None:
    view = ListedTable(TableId("p", "d", "events_view"), TableKind.VIEW, 1)
    bigquery.listed.append(view)
    with pytest.raises(RefusedError, match="no plain table"):
        await objects.tables_like(TableId("p", "d", "events_*"))
    assert bigquery.asked == []


SHOWN = ("events_1", "events_2", "events_3", "orders")


async def test_metadata_tells_of_what_the_principal_may_see(objects: VisibleObjects) -> None:
    table = await objects.table(TableId("p", "d", "INFORMATION_SCHEMA.COLUMNS"))
    assert table.kind is TableKind.METADATA
    assert table.rows_about == SHOWN
    table = await objects.table(TableId("p", "INFORMATION_SCHEMA", "SCHEMATA"))
    assert table.rows_about == ("d",)


async def test_metadata_of_a_hidden_dataset_looks_absent(
    objects: VisibleObjects, bigquery: FakeBigQuery
) -> None:
    said = []
    for dataset in ("hidden", "absent"):
        with pytest.raises(NotFoundError) as error:
            await objects.table(TableId("p", dataset, "INFORMATION_SCHEMA.TABLES"))
        said.append(str(error.value).replace(dataset, "NAME"))
    assert said[0] == said[1]
    assert bigquery.asked == []


async def test_partitions_are_not_told_where_protected_values_name_them(
    objects: VisibleObjects, bigquery: FakeBigQuery
) -> None:
    days = [
        ListedTable(TableId("p", "d", name), TableKind.TABLE, 1, column)
        for name, column in (("events_born", "BIRTHDAY"), ("events_day", "day"))
    ]
    bigquery.listed += days
    table = await objects.table(TableId("p", "d", "INFORMATION_SCHEMA.PARTITIONS"))
    assert table.rows_about == ("events_1", "events_2", "events_3", "events_day", "orders")


async def test_partitions_do_not_count_rows_that_are_filtered_out(bigquery: Any) -> None:
    text = f"{POLICY}row_filters: [{{name: f, tables: ['p.d.events_*'], where: a = 'x'}}]"
    policy = compile_policy({"policy.yaml": text})
    objects = VisibleObjects(bigquery, policy, READER, Context("p", datetime.now(UTC)))
    table = await objects.table(TableId("p", "d", "INFORMATION_SCHEMA.PARTITIONS"))
    assert table.rows_about == ("orders",)


async def test_routines_are_not_told_yet(objects: VisibleObjects) -> None:
    with pytest.raises(RefusedError, match="not served yet"):
        await objects.table(TableId("p", "d", "INFORMATION_SCHEMA.ROUTINES"))


async def test_a_routine_of_a_visible_dataset_is_given(objects: VisibleObjects) -> None:
    assert (await objects.routine(RoutineId("p", "d", "f"))).body == "1"


async def test_a_routine_of_a_hidden_dataset_looks_absent(
    objects: VisibleObjects, bigquery: FakeBigQuery
) -> None:
    said = []
    for dataset, name in (("d", "g"), ("hidden", "f"), ("_anon", "f")):
        with pytest.raises(NotFoundError) as error:
            await objects.routine(RoutineId("p", dataset, name))
        said.append(str(error.value).replace(f"{dataset}.{name}", "NAME"))
    assert len(set(said)) == 1
    assert bigquery.asked == ["g"]


async def test_what_a_deny_takes_altogether_is_absent_before_anybody_looks(
    bigquery: FakeBigQuery,
) -> None:
    hides = "  - {name: people-only, resources: {tables: [p.d.orders]}, deny: [read]}\n"
    policy, context = compile_policy({"f": POLICY + hides}), Context("p", datetime.now(UTC))
    objects = VisibleObjects(bigquery, policy, READER, context)  # type: ignore[arg-type]
    said = []
    for name in ("orders", "absent"):
        with pytest.raises(NotFoundError) as caught:
            await objects.table(TableId("p", "d", name))
        said.append(str(caught.value).replace(name, "NAME"))
        hiding = because(caught.value)
        rules = [reason.rule for reason in hiding.reasons] if hiding else []
        assert rules == (["people-only"] if name == "orders" else [])
    assert said[0] == said[1]
    assert "people-only" not in said[0]
    assert bigquery.asked == []


async def test_a_rule_about_every_table_is_heard_whether_one_is_there_or_not(
    bigquery: FakeBigQuery,
) -> None:
    frozen = "  - {name: frozen, agents: {names: [reader]}, deny: [read], message: not today}\n"
    policy, context = compile_policy({"f": POLICY + frozen}), Context("p", datetime.now(UTC))
    objects = VisibleObjects(bigquery, policy, READER, context)  # type: ignore[arg-type]
    for name in ("events_1", "events_absent"):
        with pytest.raises(ShutOutError) as caught:
            await objects.table(TableId("p", "d", name))
        assert str(caught.value) == (
            "refused by policy: not today (rule `frozen`);"
            " ask the owner of the policy if you need it"
        )
        hiding = because(caught.value)
        assert hiding
        assert [reason.rule for reason in hiding.reasons] == ["frozen"]
    assert bigquery.asked == []
