from __future__ import annotations

from typing import Any

import pytest
from tests.support.upstream import CUSTOMERS, REFERENCE, TABLE_PATH, table_answer

from keystile.model.errors import DuplicateError, NotFoundError
from keystile.upstream.bigquery import BigQuery
from keystile.wire.resources import NewTable, Partitioning, Words


async def test_a_table_without_columns_is_made_once_and_looked_up_anew(
    stub: Any, bigquery: BigQuery, error: Any
) -> None:
    stub.routes[TABLE_PATH] = [table_answer(), table_answer(etag="e2", schema={})]
    stub.routes["POST /bigquery/v2/projects/acme-shop/datasets/shop/tables"] = [
        table_answer(schema={}),
        error(409, "duplicate", "Already Exists: Table acme-shop:shop.customers"),
    ]
    cut = Partitioning("HOUR", expiration_ms=3_600_000)
    words = Words(friendly_name="Customers")
    new = NewTable(CUSTOMERS, words, (), "", 9_000, cut, (), require_partition_filter=True)
    assert (await bigquery.table(CUSTOMERS)).fields
    await bigquery.create_table(new)
    assert stub.bodies[-1] == {
        "tableReference": REFERENCE,
        "friendlyName": "Customers",
        "expirationTime": "9000",
        "requirePartitionFilter": True,
        "timePartitioning": {"type": "HOUR", "expirationMs": "3600000"},
    }
    assert (await bigquery.table(CUSTOMERS)).fields == ()
    with pytest.raises(DuplicateError):
        await bigquery.create_table(new)


async def test_what_a_table_is_clustered_by_is_all_of_a_patch(
    stub: Any, bigquery: BigQuery, error: Any
) -> None:
    stub.routes[TABLE_PATH] = [table_answer(), table_answer(etag="e2", schema={})]
    stub.routes[TABLE_PATH.replace("GET", "PATCH")] = [
        table_answer(),
        table_answer(),
        error(404, "notFound", "Not found: Table acme-shop:shop.customers"),
    ]
    assert (await bigquery.table(CUSTOMERS)).fields
    await bigquery.cluster_table(CUSTOMERS, ("id", "name"))
    assert stub.bodies[-1] == {"clustering": {"fields": ["id", "name"]}}
    assert (await bigquery.table(CUSTOMERS)).fields == ()
    await bigquery.cluster_table(CUSTOMERS, ())
    assert stub.bodies[-1] == {"clustering": None}
    with pytest.raises(NotFoundError):
        await bigquery.cluster_table(CUSTOMERS, ())
