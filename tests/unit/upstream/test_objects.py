from __future__ import annotations

from typing import Any

import pytest
from tests.support.upstream import CUSTOMERS, LIST_PATH, REFERENCE, TABLE_PATH, table_answer

from keystile.model.errors import NotFoundError, RefusedError
from keystile.model.schema import Mode, TableId, TableKind
from keystile.upstream import objects as module
from keystile.upstream.bigquery import BigQuery


async def test_a_table_comes_with_its_schema(stub: Any, bigquery: BigQuery) -> None:
    stub.routes[TABLE_PATH] = table_answer()
    table = await bigquery.table(CUSTOMERS)
    assert (table.id, table.kind, table.etag) == (CUSTOMERS, TableKind.TABLE, "e1")
    assert [(f.name, f.type, f.mode) for f in table.fields] == [("id", "INT64", Mode.REQUIRED)]


async def test_a_table_is_asked_for_again_by_etag_when_it_is_old(
    stub: Any, bigquery: BigQuery, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.routes[TABLE_PATH] = [table_answer(), (304, None), table_answer(etag="e2", type="VIEW")]
    first = await bigquery.table(CUSTOMERS)
    assert await bigquery.table(CUSTOMERS) is first
    assert len(stub.requests) == 1
    monkeypatch.setattr(module, "_OBJECT_SECONDS", -1.0)
    assert await bigquery.table(CUSTOMERS) is first
    assert (await bigquery.table(CUSTOMERS)).kind is TableKind.VIEW
    sent = [request.headers.get("If-None-Match") for request in stub.requests]
    assert sent == [None, "e1", "e1"]


async def test_a_table_that_a_job_has_changed_is_asked_for_anew(
    stub: Any, bigquery: BigQuery
) -> None:
    stub.routes[TABLE_PATH] = [table_answer(), table_answer(etag="e2")]
    await bigquery.table(CUSTOMERS)
    bigquery.forget([CUSTOMERS, TableId("acme-shop", "shop", "never_seen")])
    assert (await bigquery.table(CUSTOMERS)).etag == "e2"


async def test_a_dropped_table_is_forgotten(
    stub: Any, bigquery: BigQuery, error: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = error(404, "notFound", "Not found: Table acme-shop:shop.customers")
    stub.routes[TABLE_PATH] = [table_answer(), gone, table_answer(etag="e9")]
    await bigquery.table(CUSTOMERS)
    monkeypatch.setattr(module, "_OBJECT_SECONDS", -1.0)
    with pytest.raises(NotFoundError, match="Not found: Table"):
        await bigquery.table(CUSTOMERS)
    assert (await bigquery.table(CUSTOMERS)).etag == "e9"
    assert "If-None-Match" not in stub.requests[-1].headers


@pytest.mark.parametrize(
    ("more", "kind", "view"),
    [
        (
            {"type": "VIEW", "view": {"query": "SELECT 1", "useLegacySql": False}},
            "VIEW",
            "SELECT 1",
        ),
        (
            {"type": "VIEW", "view": {"query": "SELECT 1", "useLegacySql": True}},
            "OTHER",
            "SELECT 1",
        ),
        (
            {"type": "MATERIALIZED_VIEW", "materializedView": {"query": "q"}},
            "MATERIALIZED_VIEW",
            "q",
        ),
        ({"type": "EXTERNAL"}, "EXTERNAL", ""),
        ({"type": "SNAPSHOT"}, "SNAPSHOT", ""),
        ({"type": "WILDCARD"}, "OTHER", ""),
        ({"type": "MODEL"}, "OTHER", ""),
    ],
)
async def test_kinds_of_tables(
    stub: Any, bigquery: BigQuery, more: dict[str, Any], kind: str, view: str
) -> None:
    stub.routes[TABLE_PATH] = table_answer(**more)
    table = await bigquery.table(CUSTOMERS)
    assert (table.kind, table.view_query) == (kind, view)


@pytest.mark.parametrize(
    ("more", "names", "by"),
    [
        ({}, [], ""),
        ({"timePartitioning": {"type": "DAY", "field": "day"}}, [], "day"),
        ({"rangePartitioning": {"field": "id"}}, [], "id"),
        ({"timePartitioning": {"type": "DAY"}}, ["_PARTITIONTIME", "_PARTITIONDATE"], ""),
        ({"type": "EXTERNAL"}, ["_FILE_NAME"], ""),
    ],
)
async def test_pseudo_columns_and_partitioning_come_with_the_table(
    stub: Any, bigquery: BigQuery, more: dict[str, Any], names: list[str], by: str
) -> None:
    stub.routes[TABLE_PATH] = table_answer(**more)
    table = await bigquery.table(CUSTOMERS)
    assert ([field.name for field in table.pseudo_columns], table.partitioned_by) == (names, by)
    assert [field.name for field in table.fields] == ["id"]


async def test_every_table_of_a_dataset_is_listed_page_by_page(
    stub: Any, bigquery: BigQuery
) -> None:
    view = {"tableReference": REFERENCE | {"tableId": "v"}, "type": "VIEW", "creationTime": "7"}
    day = {"tableReference": REFERENCE, "timePartitioning": {"type": "DAY", "field": "day"}}
    number = {"tableReference": REFERENCE, "rangePartitioning": {"field": "n"}}
    stub.routes[LIST_PATH] = [
        {"tables": [{"tableReference": REFERENCE, "type": "TABLE"}], "nextPageToken": "more"},
        {"tables": [view, day, number]},
    ]
    found = await bigquery.every_table("acme-shop", "shop")
    assert [(one.id.table, one.kind, one.created) for one in found[:2]] == [
        ("customers", TableKind.TABLE, 0),
        ("v", TableKind.VIEW, 7),
    ]
    assert [one.partitioned_by for one in found] == ["", "", "day", "n"]
    assert [request.query.get("pageToken") for request in stub.requests] == [None, "more"]


async def test_every_dataset_of_a_project_is_listed(stub: Any, bigquery: BigQuery) -> None:
    names = [{"datasetReference": {"datasetId": name}} for name in ("shop", "payroll")]
    stub.routes["GET /bigquery/v2/projects/acme-shop/datasets"] = {"datasets": names}
    assert await bigquery.every_dataset("acme-shop") == ("shop", "payroll")


async def test_a_table_known_under_another_name_is_refused(stub: Any, bigquery: BigQuery) -> None:
    stub.routes[TABLE_PATH] = table_answer(tableReference=REFERENCE | {"tableId": "Customers"})
    with pytest.raises(RefusedError, match=r"another name; write `acme-shop\.shop\.Customers`"):
        await bigquery.table(CUSTOMERS)


async def test_odd_names_stay_inside_their_path_segment(stub: Any, bigquery: BigQuery) -> None:
    raw = "GET /bigquery/v2/projects/acme-shop/datasets/..%2Fx/tables/a%3Fb%20%C3%A9"
    stub.routes[raw] = {"etag": "x"}
    assert await bigquery.get_table(TableId("acme-shop", "../x", "a?b é")) == {"etag": "x"}
