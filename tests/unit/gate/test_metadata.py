from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from tests.support.accounts import OneAccount

from keystile.config.policy_folder import read_policy
from keystile.gate.metadata import Metadata
from keystile.model.errors import InvalidRequestError, NotFoundError, RefusedError
from keystile.model.principal import Principal
from keystile.model.schema import RoutineId, TableId
from keystile.policy.compile import compile_policy
from keystile.wire.requests import PageRequest

DATASETS = {"shop": ("customers", "orders"), "payroll": ("salaries",), "analytics": ("events",)}
PAGE = PageRequest()
P = "acme-shop"


class FakeBigQuery(OneAccount):
    """Lists everything that there is, and remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, ...]] = []

    async def list_projects(self) -> list[dict[str, Any]]:
        names = (P, "acme-payroll")
        return [{"projectReference": {"projectId": name}, "secret": "s"} for name in names]

    async def list_datasets(self, _project: str) -> list[dict[str, Any]]:
        return [self._dataset(name) for name in DATASETS]

    async def get_dataset(self, project: str, dataset: str) -> dict[str, Any]:
        self.asked.append((project, dataset))
        if dataset not in DATASETS:
            raise NotFoundError("BigQuery's own words")
        return self._dataset(dataset)

    async def list_tables(self, project: str, dataset: str) -> list[dict[str, Any]]:
        self.asked.append((project, dataset))
        if dataset not in DATASETS:
            raise NotFoundError("BigQuery's own words")
        return [self._table(dataset, name) for name in DATASETS[dataset]]

    async def list_models(self, project: str, dataset: str) -> list[dict[str, Any]]:
        self.asked.append((project, dataset))
        if dataset not in DATASETS:
            raise NotFoundError("BigQuery's own words")
        return [{"modelReference": {"modelId": "m"}, "trainingRuns": [1]}]

    async def list_routines(self, project: str, dataset: str) -> list[dict[str, Any]]:
        self.asked.append((project, dataset))
        if dataset not in DATASETS:
            raise NotFoundError("BigQuery's own words")
        return [await self.get_routine(RoutineId(project, dataset, "same"))]

    async def get_routine(self, id: RoutineId) -> dict[str, Any]:  # noqa: A002 - as in `get_table`
        self.asked.append(id.path)
        if id.routine != "same":
            raise NotFoundError("BigQuery's own words")
        names = dict(zip(("projectId", "datasetId", "routineId"), id.path, strict=True))
        text = {"definitionBody": "SELECT secret", "remoteFunctionOptions": {"endpoint": "secret"}}
        return {"routineReference": names, "routineType": "SCALAR_FUNCTION", **text}

    async def get_table(self, id: TableId) -> dict[str, Any]:  # noqa: A002 - the word of the port
        self.asked.append((id.project, id.dataset, id.table))
        if id.table not in DATASETS.get(id.dataset, ()):
            raise NotFoundError("BigQuery's own words")
        return self._table(id.dataset, id.table)

    @staticmethod
    def _dataset(name: str) -> dict[str, Any]:
        reference = {"projectId": P, "datasetId": name}
        access = [{"userByEmail": "boss@example.com"}]
        return {"datasetReference": reference, "access": access, "labels": {"team": name}}

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


async def test_lists_leave_out_what_policy_hides(metadata: Metadata) -> None:
    for who, seen in ((CODING, ["shop", "analytics"]), (ANALYTICS, ["analytics"])):
        listed: Any = await metadata.datasets(who, P, PAGE)
        assert names(listed, "datasets", "datasetReference", "datasetId") == seen
    assert (await metadata.datasets(agent("nobody"), P, PAGE))["datasets"] == []
    listed = await metadata.tables(CODING, P, "shop", PAGE)
    assert names(listed, "tables", "tableReference", "tableId") == ["customers", "orders"]


async def test_what_policy_hides_is_absent_in_the_same_words_and_bigquery_is_not_asked(
    metadata: Metadata, bigquery: FakeBigQuery
) -> None:
    ways = (
        (lambda name: metadata.dataset(CODING, P, name), "payroll", "nothing"),
        (lambda name: metadata.tables(CODING, P, name, PAGE), "payroll", "nothing"),
        (lambda name: metadata.table(CODING, P, "payroll", name), "salaries", "nothing"),
        (lambda name: metadata.routines(CODING, P, name, PAGE), "payroll", "nothing"),
        (lambda name: metadata.models(CODING, P, name, PAGE), "payroll", "nothing"),
        (lambda name: metadata.routine(CODING, RoutineId(P, "payroll", name)), "same", "nothing"),
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


async def test_pages_and_their_tokens_tell_nothing_of_what_is_hidden(metadata: Metadata) -> None:
    seen: list[str] = []
    page = PageRequest(max_results=1)
    for last in (False, True):
        listed: Any = await metadata.datasets(CODING, P, page)
        seen += names(listed, "datasets", "datasetReference", "datasetId")
        assert len(listed["datasets"]) == 1
        token = listed.get("nextPageToken", "")
        assert (token == "") == last
        assert b"payroll" not in base64.urlsafe_b64decode(token)
        page = PageRequest(max_results=1, page_token=token)
    assert seen == ["shop", "analytics"]


async def test_a_token_is_good_for_its_own_list_only(metadata: Metadata) -> None:
    one = PageRequest(max_results=1)
    token: Any = (await metadata.datasets(CODING, P, one))["nextPageToken"]
    with pytest.raises(InvalidRequestError, match="another list"):
        await metadata.tables(CODING, P, "shop", PageRequest(page_token=token))


async def test_datasets_are_chosen_by_their_labels(metadata: Metadata) -> None:
    for text, found in (
        ("labels.team:shop", ["shop"]),
        ("labels.team", ["shop", "analytics"]),
        ("labels.team:payroll", []),
        ("labels.team:shop labels.other", []),
    ):
        listed: Any = await metadata.datasets(CODING, P, PAGE, text)
        assert names(listed, "datasets", "datasetReference", "datasetId") == found
    for text in ("team:shop", "labels.", "labels"):
        with pytest.raises(InvalidRequestError, match="filter"):
            await metadata.datasets(CODING, P, PAGE, text)


async def test_projects_are_those_that_a_rule_is_about(metadata: Metadata) -> None:
    listed: Any = await metadata.projects(CODING, PAGE)
    assert names(listed, "projects", "projectReference", "projectId") == [P]
    assert "secret" not in str(listed)
    assert (await metadata.projects(agent("nobody"), PAGE))["projects"] == []


async def test_a_routine_shows_what_it_does_to_whoever_may_replace_it(bigquery: Any) -> None:
    text = """
rules:
  - {name: read, allow: [read]}
  - name: make
    agents: {groups: [makers]}
    resources: {datasets: [acme-shop.shop]}
    allow: [routine, schema_change]
  - {name: half, agents: {groups: [half]}, allow: [routine]}
  - {name: not-now, agents: {groups: [paused]}, deny: [routine]}
"""
    metadata = Metadata(bigquery, lambda: compile_policy({"p.yaml": text}))
    makers, paused = agent("makers"), Principal("i", "s", "a", "r", groups=("makers", "paused"))
    for who, dataset, shown in (
        (CODING, "shop", False),
        (makers, "shop", True),
        (agent("half"), "shop", False),
        (makers, "analytics", False),
        (paused, "shop", False),
    ):
        told = await metadata.routine(who, RoutineId(P, dataset, "same"))
        assert ("definitionBody" in told) == shown
        assert "remoteFunctionOptions" not in told
        assert "secret" not in str(await metadata.routines(who, P, dataset, PAGE))


@pytest.mark.parametrize("name", ["customers$20240101", "customers@-3600", "custom*"])
async def test_a_decorated_name_tells_nothing(
    metadata: Metadata, bigquery: FakeBigQuery, name: str
) -> None:
    with pytest.raises(NotFoundError, match=r"Not found: Table acme-shop:shop\."):
        await metadata.table(CODING, P, "shop", name)
    assert bigquery.asked == []


async def test_a_table_that_bigquery_knows_by_another_name_is_refused(
    metadata: Metadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = FakeBigQuery._table("shop", "customers")
    monkeypatch.setattr(FakeBigQuery, "_table", staticmethod(lambda *_: known))
    with pytest.raises(RefusedError, match=r"write `acme-shop\.shop\.customers`"):
        await metadata.table(CODING, P, "shop", "orders")


@pytest.mark.parametrize("hidden", [False, True])
async def test_a_dataset_that_ignores_case_is_asked_about_by_bigquerys_own_names(
    bigquery: Any, monkeypatch: pytest.MonkeyPatch, *, hidden: bool
) -> None:
    known = FakeBigQuery._table("shop", "customers")
    monkeypatch.setattr(FakeBigQuery, "_table", staticmethod(lambda *_: known))
    monkeypatch.setitem(DATASETS, "shop", ("customers", "CUSTOMERS"))
    only = "resources: {tables: [acme-shop.shop.CUSTOMERS]}, " if hidden else ""
    policy = compile_policy({"p.yaml": f"rules: [{{name: read, {only}allow: [read]}}]"})
    asked = Metadata(bigquery, lambda: policy).table(CODING, P, "shop", "CUSTOMERS")
    if not hidden:
        assert (await asked)["tableReference"]["tableId"] == "customers"
        return
    # Not even how it is spelled is told.
    with pytest.raises(NotFoundError, match=r"shop\.CUSTOMERS was not found"):
        await asked


async def test_default_values_are_shown_to_whoever_may_change_them_but_of_labelled_columns(
    bigquery: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("team", "ssn")
    fields = [
        {"name": name, "type": "STRING", "defaultValueExpression": f"'{name}'"} for name in names
    ]
    made = FakeBigQuery._table
    monkeypatch.setattr(
        FakeBigQuery,
        "_table",
        staticmethod(lambda *of: {**made(*of), "schema": {"fields": fields}}),
    )
    text = """
labels: [{label: pii, columns: [ssn]}]
rules:
  - {name: read, allow: [read]}
  - {name: make, agents: {groups: [makers]}, allow: [schema_change]}
  - {name: not-now, agents: {groups: [paused]}, deny: [schema_change]}
"""
    metadata = Metadata(bigquery, lambda: compile_policy({"p.yaml": text}))
    paused = Principal("i", "s", "a", "r", groups=("makers", "paused"))
    for who, shown in ((CODING, []), (agent("makers"), ["'team'"]), (paused, [])):
        told: Any = await metadata.table(who, P, "shop", "orders")
        columns = told["schema"]["fields"]
        assert [one["name"] for one in columns] == list(names)
        found = [one["defaultValueExpression"] for one in columns if len(one) > 2]
        assert found == shown


async def test_bigquerys_own_account_is_told_to_whoever_sees_the_project(
    metadata: Metadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def found(_self: object, project: str) -> dict[str, Any]:
        if project != P:
            raise NotFoundError("BigQuery's own words")
        return {"email": "bq-1@example.com", "secret": "s"}

    monkeypatch.setattr(FakeBigQuery, "get_service_account", found, raising=False)
    told = await metadata.service_account(CODING, P)
    assert told == {"kind": "bigquery#getServiceAccountResponse", "email": "bq-1@example.com"}
    for who, project in ((agent("nobody"), P), (CODING, "acme-payroll")):
        with pytest.raises(NotFoundError, match=f"Not found: Project {project}"):
            await metadata.service_account(who, project)


async def test_a_schema_tells_no_default_value_and_no_policy_tag(
    bigquery: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = {"name": "x", "type": "STRING", "policyTags": {"names": ["secret"]}}
    field = {"name": "s", "type": "RECORD", "description": "d", "fields": [inner]}
    hidden = {"defaultValueExpression": "secret", "dataPolicies": ["secret"], "tomorrow": "secret"}
    made = FakeBigQuery._table
    monkeypatch.setattr(
        FakeBigQuery,
        "_table",
        staticmethod(lambda *of: {**made(*of), "schema": {"fields": [field | hidden]}}),
    )
    policy = compile_policy({"p.yaml": "rules: [{name: read, allow: [read]}]"})
    told: Any = await Metadata(bigquery, lambda: policy).table(CODING, P, "shop", "orders")
    wanted = {"name": "x", "type": "STRING"}
    assert told["schema"] == {"fields": [{**field, "fields": [wanted]}]}
    assert "secret" not in str(told)
