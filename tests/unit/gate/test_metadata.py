from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from keystile.config.policy_folder import read_policy
from keystile.gate.metadata import Metadata
from keystile.model.errors import NotFoundError
from keystile.model.principal import Principal
from keystile.model.schema import TableId
from keystile.policy.compile import compile_policy
from keystile.wire.requests import PageRequest

DATASETS = {"shop": ("customers", "orders"), "payroll": ("salaries",), "analytics": ("events",)}
PAGE = PageRequest(page_token="t1", max_results=5)
P = "acme-shop"


class FakeBigQuery:
    """Lists everything that there is, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    async def list_datasets(self, project: str, **page: Any) -> dict[str, Any]:
        self.asked.append((project, page["page_token"], str(page["max_results"])))
        return {"datasets": [self._dataset(name) for name in DATASETS], "nextPageToken": "t2"}

    async def get_dataset(self, project: str, dataset: str) -> dict[str, Any]:
        self.asked.append((project, dataset))
        if dataset not in DATASETS:
            raise NotFoundError("BigQuery's own words")
        return self._dataset(dataset)

    async def list_tables(self, _project: str, dataset: str, **_page: Any) -> dict[str, Any]:
        return {"tables": [self._table(dataset, name) for name in DATASETS[dataset]]}

    async def get_table(self, id: TableId) -> dict[str, Any]:  # noqa: A002 - the word of the port
        self.asked.append((id.project, id.dataset, id.table))
        if id.table not in DATASETS.get(id.dataset, ()):
            raise NotFoundError("BigQuery's own words")
        return self._table(id.dataset, id.table)

    @staticmethod
    def _dataset(name: str) -> dict[str, Any]:
        reference = {"projectId": P, "datasetId": name}
        return {"datasetReference": reference, "access": [{"userByEmail": "boss@example.com"}]}

    @staticmethod
    def _table(dataset: str, name: str) -> dict[str, Any]:
        reference = {"projectId": P, "datasetId": dataset, "tableId": name}
        resource = {"tableReference": reference, "numBytes": "77", "numRows": "7"}
        return {**resource, "type": "TABLE", "view": {"query": "SELECT secret"}}


@pytest.fixture
def bigquery() -> FakeBigQuery:
    return FakeBigQuery()


@pytest.fixture
def metadata(bigquery: Any) -> Metadata:
    policy = compile_policy(read_policy(Path(__file__).parents[3] / "examples" / "policy"))
    return Metadata(bigquery, lambda: policy)


def agent(group: str) -> Principal:
    return Principal("https://issuer.example", "s", "demo-agent", "run-1", groups=(group,))


CODING, ANALYTICS = agent("coding-agents"), agent("analytics")


def names(listed: dict[str, Any], kind: str, reference: str, name: str) -> list[str]:
    return [one[reference][name] for one in listed.get(kind, ())]


async def test_lists_leave_out_what_policy_hides(
    metadata: Metadata, bigquery: FakeBigQuery
) -> None:
    for who, seen in ((CODING, ["shop", "analytics"]), (ANALYTICS, ["analytics"])):
        listed: Any = await metadata.datasets(who, P, PAGE)
        assert names(listed, "datasets", "datasetReference", "datasetId") == seen
        assert listed["nextPageToken"] == "t2"
    assert bigquery.asked[0] == (P, "t1", "5")
    assert await metadata.datasets(agent("nobody"), P, PAGE)
    listed = await metadata.tables(CODING, P, "shop", PAGE)
    assert names(listed, "tables", "tableReference", "tableId") == ["customers", "orders"]


async def test_what_policy_hides_is_absent_in_the_same_words_and_bigquery_is_not_asked(
    metadata: Metadata, bigquery: FakeBigQuery
) -> None:
    ways = (
        (lambda name: metadata.dataset(CODING, P, name), "payroll", "nothing"),
        (lambda name: metadata.tables(CODING, P, name, PAGE), "payroll", "nothing"),
        (lambda name: metadata.table(CODING, P, "payroll", name), "salaries", "nothing"),
    )
    for way, hidden, absent in ways:
        said = []
        for name in (hidden, absent):
            with pytest.raises(NotFoundError) as error:
                await way(name)
            said.append(str(error.value).replace(name, "NAME"))
        assert said[0] == said[1]
    with pytest.raises(NotFoundError, match=r"Not found: Table acme-shop:shop\.nothing was not"):
        await metadata.table(CODING, P, "shop", "nothing")
    assert not any("payroll" in part for call in bigquery.asked for part in call)


async def test_what_is_seen_tells_no_rights_and_no_view_text(metadata: Metadata) -> None:
    assert "boss@example.com" not in str(await metadata.dataset(CODING, P, "shop"))
    assert "boss@example.com" not in str(await metadata.datasets(CODING, P, PAGE))
    assert "secret" not in str(await metadata.table(CODING, P, "shop", "customers"))
    assert "secret" not in str(await metadata.tables(CODING, P, "shop", PAGE))


async def test_the_size_of_a_table_tells_nothing_of_filtered_rows(bigquery: Any) -> None:
    text = """
rules: [{name: read, allow: [read]}]
row_filters: [{name: f, agents: {groups: [analytics]}, tables: [acme-shop.shop.orders], where: x}]
"""
    metadata = Metadata(bigquery, lambda: compile_policy({"p.yaml": text}))
    assert "numRows" in await metadata.table(CODING, P, "shop", "orders")
    assert "numRows" in await metadata.table(ANALYTICS, P, "shop", "customers")
    assert "numRows" not in await metadata.table(ANALYTICS, P, "shop", "orders")


@pytest.mark.parametrize(
    ("type_", "column", "seen"),
    [
        ("TABLE", {"name": "id", "type": "INTEGER"}, {"numBytes", "numRows"}),
        ("TABLE", {"name": "ssn", "type": "STRING"}, {"numRows"}),
        ("TABLE", {"name": "id", "type": "OF_TOMORROW"}, set()),
        ("MATERIALIZED_VIEW", {"name": "id", "type": "INTEGER"}, set()),
    ],
)
async def test_the_size_of_a_table_does_not_tell_how_long_its_labelled_values_are(
    metadata: Metadata,
    monkeypatch: pytest.MonkeyPatch,
    type_: str,
    column: dict[str, str],
    seen: set[str],
) -> None:
    table = FakeBigQuery._table

    def as_asked(dataset: str, name: str) -> dict[str, Any]:
        return {**table(dataset, name), "type": type_, "schema": {"fields": [column]}}

    monkeypatch.setattr(FakeBigQuery, "_table", staticmethod(as_asked))
    told = await metadata.table(CODING, P, "shop", "orders")
    assert {"numBytes", "numRows"} & told.keys() == seen
