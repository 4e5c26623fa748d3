"""The real analysis and policy; what BigQuery holds of columns is what the test says."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.accounts import OneAccount

from keystile.analysis.analyst import Analyst
from keystile.gate.held_labels import lost_by
from keystile.gate.planning import Planner
from keystile.gate.shares import Shares
from keystile.googlesql.inline import InlineRunner
from keystile.masking.keyed import always
from keystile.masking.rewrite import Rewriter
from keystile.model.errors import NotFoundError, RefusedError
from keystile.model.facts import QueryFacts, Redefined
from keystile.model.principal import Principal
from keystile.model.schema import ColumnRef, Field, Table, TableId, TableKind
from keystile.policy.compile import compile_policy
from keystile.telemetry.metrics import Metrics
from keystile.upstream.values import DryRun, ListedTable, UpstreamQuery
from keystile.wire.into import into_of
from keystile.wire.requests import QueryRequest
from keystile.wire.transfers import transfer_of

POLICY = compile_policy(
    {
        "p.yaml": """
labels: [{label: pii, descriptions: ["[pii]"]}]
rules:
  # The agent sees all values as they are, so that nothing is refused for what is masked.
  - {name: all, allow: [read, write, schema_change, access_change, script], unmask: [pii]}
"""
    }
)
AGENT = Principal("https://issuer.example", "s", "agent", "run-1")


def a_table(name: str, *fields: Field, kind: TableKind = TableKind.TABLE) -> Table:
    return Table(TableId("p", "d", name), kind, fields, "1", "SELECT 'x' AS ssn")


SAID = Field("ssn", "STRING", description="a number [PII]")
TABLES = (
    a_table("said", Field("id", "INT64"), SAID),
    a_table("tagged", Field("of", "STRUCT", fields=(Field("x", "STRING", policy_tags=("t",)),))),
    a_table("plain", Field("id", "INT64"), Field("ssn", "STRING", description="a number")),
    a_table("view", SAID, kind=TableKind.VIEW),
)


class FakeBigQuery(OneAccount):
    """Has these tables, in a dataset of so many."""

    def __init__(self) -> None:
        super().__init__()
        self.more = 0

    async def table(self, id: TableId) -> Table:  # noqa: A002 - the word of the port
        for table in TABLES:
            if table.id == id:
                return table
        raise NotFoundError(f"Not found: Table {id}")

    async def every_table(self, project: str, dataset: str) -> tuple[ListedTable, ...]:
        if dataset == "absent":
            raise NotFoundError("Not found: Dataset")
        ids = [one.id for one in TABLES] if dataset == "d" else []
        ids += [TableId(project, dataset, f"t{n}") for n in range(self.more)]
        return tuple(ListedTable(id_, TableKind.TABLE, 0) for id_ in ids)

    async def get_dataset(self, project: str, dataset: str) -> dict[str, Any]:
        return {"id": f"{project}:{dataset}"}

    async def dry_run(self, query: UpstreamQuery) -> DryRun:
        return DryRun(query.sql.split(" ", 1)[0], (), (Field("id", "INT64"),), 0)


@pytest.fixture(scope="session")
def runner() -> InlineRunner:
    return InlineRunner()


@pytest.fixture
def planner(runner: InlineRunner) -> Planner:
    bigquery: Any = FakeBigQuery()
    return Planner(
        Analyst(runner, 262_144),
        lambda: POLICY,
        Rewriter(runner, always(bytes(range(32)))),
        bigquery,
        Shares(2, 2),
        Metrics(),
    )


async def refused(planner: Planner, request: QueryRequest) -> str:
    """Plan as far as BigQuery, and give the refusal; empty where there is none."""
    decided = await planner.decide(AGENT, request)
    try:
        if request.transfer or request.into:
            await planner.plan(AGENT, request, decided)
        else:
            await planner.rewrite(decided)
    except RefusedError as error:
        return str(error)
    return ""


SAYS = "`p.d.said.ssn` is labelled `pii` by its description"
TAGS = "`p.d.tagged.of.x` has policy tags"


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("ALTER TABLE d.said ALTER COLUMN ssn SET OPTIONS (description = '')", SAYS),
        ("ALTER TABLE d.said ALTER COLUMN ssn SET OPTIONS (description = NULL)", SAYS),
        ("ALTER TABLE d.said ALTER COLUMN SSN SET OPTIONS (description = 'a number')", SAYS),
        ("ALTER TABLE d.said ALTER COLUMN ssn SET OPTIONS (description = 'kept [pii]')", ""),
        ("ALTER TABLE d.said ALTER COLUMN id SET OPTIONS (description = 'x')", ""),
        ("ALTER TABLE d.plain ALTER COLUMN ssn SET OPTIONS (description = 'x')", ""),
        ("ALTER TABLE d.said DROP COLUMN ssn", SAYS),
        ("ALTER TABLE d.said DROP COLUMN id", ""),
        ("ALTER TABLE d.tagged DROP COLUMN `of`", TAGS),
        ("ALTER TABLE d.tagged ALTER COLUMN `of` SET DATA TYPE STRUCT<x STRING>", TAGS),
        ("ALTER VIEW d.view ALTER COLUMN ssn SET OPTIONS (description = '')", "by its description"),
        ("CREATE OR REPLACE TABLE d.said (id INT64, ssn STRING)", SAYS),
        ("CREATE OR REPLACE TABLE d.said AS SELECT 1 AS id, 'x' AS ssn", SAYS),
        ("CREATE OR REPLACE TABLE d.said CLONE d.plain", SAYS),
        ("CREATE OR REPLACE TABLE d.said LIKE d.plain", SAYS),
        ("CREATE OR REPLACE TABLE d.tagged (x STRING)", TAGS),
        ("CREATE OR REPLACE TABLE d.new (ssn STRING)", ""),
        ("CREATE OR REPLACE TABLE d.plain (ssn STRING)", ""),
        ("DROP TABLE d.said", SAYS),
        ("DROP TABLE d.plain", ""),
        ("DROP TABLE IF EXISTS d.absent", ""),
        ("DROP SCHEMA d CASCADE", SAYS),
        ("DROP SCHEMA other CASCADE", ""),
        ("DROP SCHEMA IF EXISTS absent", ""),
        ("SELECT 1; ALTER TABLE d.said DROP COLUMN ssn", SAYS),
        ("CREATE TEMP TABLE said AS SELECT 1 AS x; DROP TABLE said", ""),
    ],
)
async def test_a_column_lost_what_labels_it_by_a_statement(
    planner: Planner, sql: str, why: str
) -> None:
    found = await refused(planner, QueryRequest(sql, "p"))
    assert (why in found and found != "") if why else found == ""


def a_load(table: str, **more: Any) -> QueryRequest:
    to = {"projectId": "p", "datasetId": "d", "tableId": table}
    transfer = transfer_of("p", "load", {"destinationTable": to, **more}, upload=True)
    return QueryRequest(transfer.text, "p", transfer=transfer)


def a_schema(description: str | None) -> dict[str, Any]:
    said = {} if description is None else {"description": description}
    return {"fields": [{"name": "ssn", "type": "STRING", **said}]}


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (a_load("said", writeDisposition="WRITE_TRUNCATE"), SAYS),
        (a_load("tagged", writeDisposition="WRITE_TRUNCATE"), TAGS),
        (a_load("plain", writeDisposition="WRITE_TRUNCATE"), ""),
        (a_load("said", writeDisposition="WRITE_TRUNCATE_DATA"), ""),
        (a_load("said", writeDisposition="WRITE_APPEND"), ""),
        (a_load("said", schema=a_schema("a number")), SAYS),
        (a_load("said", schema=a_schema("a number [pii]")), ""),
        (a_load("said", schema=a_schema(None)), ""),
        (a_load("plain", schema=a_schema("other")), ""),
    ],
)
async def test_a_column_lost_what_labels_it_by_a_load(
    planner: Planner, request_: QueryRequest, why: str
) -> None:
    found = await refused(planner, request_)
    assert (why in found and "WRITE_TRUNCATE_DATA" in found) if why else found == ""


async def test_a_column_lost_what_labels_it_by_a_copy(planner: Planner) -> None:
    names = {"projectId": "p", "datasetId": "d"}
    asked = {
        "sourceTable": {**names, "tableId": "plain"},
        "destinationTable": {**names, "tableId": "said"},
        "writeDisposition": "WRITE_TRUNCATE",
    }
    transfer = transfer_of("p", "copy", asked)
    assert SAYS in await refused(planner, QueryRequest(transfer.text, "p", transfer=transfer))


@pytest.mark.parametrize("how", ["WRITE_TRUNCATE", "WRITE_TRUNCATE_DATA"])
async def test_a_column_lost_what_labels_it_by_a_result(planner: Planner, how: str) -> None:
    to = {"projectId": "p", "datasetId": "d", "tableId": "said"}
    into = into_of("p", {"destinationTable": to, "writeDisposition": how})
    found = await refused(planner, QueryRequest("SELECT 1 AS id", "p", into=into))
    assert (SAYS in found) is (how == "WRITE_TRUNCATE")


async def test_a_dataset_of_very_many_tables_is_not_looked_through() -> None:
    bigquery: Any = FakeBigQuery()
    bigquery.more = 300
    dropped = Redefined(ColumnRef(TableId("p", "d", ""), ()))
    with pytest.raises(RefusedError, match="more than 200 tables"):
        await lost_by(QueryFacts("DROP_SCHEMA", (), redefined=(dropped,)), bigquery, POLICY)
