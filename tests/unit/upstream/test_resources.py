from __future__ import annotations

from typing import Any

from tests.support.upstream import REF

from keystile.model.schema import RoutineId
from keystile.upstream.bigquery import BigQuery


async def test_cancel_and_lists(stub: Any, bigquery: BigQuery) -> None:
    root = "/bigquery/v2/projects/acme-shop"
    stub.routes[f"POST {root}/jobs/j1/cancel"] = {"kind": "bigquery#jobCancelResponse"}
    stub.routes["GET /bigquery/v2/projects"] = {"projects": [{"id": "acme-shop"}]}
    stub.routes[f"GET {root}/datasets"] = {"datasets": [{"id": "1"}]}
    stub.routes[f"GET {root}/datasets/shop"] = {"id": "acme-shop:shop"}
    stub.routes[f"GET {root}/datasets/shop/tables"] = {}
    stub.routes[f"GET {root}/datasets/shop/routines"] = {"routines": [{"id": "2"}]}
    stub.routes[f"GET {root}/datasets/shop/routines/same"] = {"definitionBody": "x"}
    await bigquery.cancel(REF)
    assert await bigquery.list_projects() == [{"id": "acme-shop"}]
    assert await bigquery.list_datasets("acme-shop") == [{"id": "1"}]
    assert await bigquery.get_dataset("acme-shop", "shop") == {"id": "acme-shop:shop"}
    assert await bigquery.list_tables("acme-shop", "shop") == []
    assert await bigquery.list_routines("acme-shop", "shop") == [{"id": "2"}]
    routine = RoutineId("acme-shop", "shop", "same")
    assert await bigquery.get_routine(routine) == {"definitionBody": "x"}
    compact = {"prettyPrint": "false"}
    whole = {"maxResults": "1000", **compact}
    queries = [dict(request.query) for request in stub.requests]
    assert queries == [{"location": "EU", **compact}, whole, whole, compact, whole, whole, compact]
