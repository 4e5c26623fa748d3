from __future__ import annotations

from typing import Any

import pytest

from keystile.model.errors import NotFoundError
from keystile.model.schema import TableId

TABLE = TableId("acme-shop", "shop", "customers")
OF_TABLES = ("get", "getData", "export", "updateData", "update", "delete")
ASKED = (*(f"bigquery.tables.{name}" for name in OF_TABLES), "bigquery.tables.setIamPolicy", "x")


async def granted(bench: Any, one: Any, table: TableId = TABLE) -> list[str]:
    found = await one.gate.permissions(bench.principal(), table, ASKED)
    return [name.removeprefix("bigquery.tables.") for name in found]


@pytest.mark.parametrize(
    ("rules", "names"),
    [
        ("{name: r, allow: [read]}", "get getData"),
        ("{name: w, allow: [write]}", "get updateData"),
        ("{name: e, allow: [read, export]}", "get getData export"),
        ("{name: e, allow: [export]}", "get"),
        ("{name: s, allow: [schema_change]}", "get update delete"),
        ("{name: a, allow: [access_change]}", "get"),
        ("{name: r, allow: [read, write]}, {name: d, deny: [write]}", "get getData"),
        (
            (
                "{name: r, allow: [read]}, {name: ask, when: 'true',"
                " require_approval: {from: [s], count: 1, expires: 1h}}"
            ),
            "get getData",
        ),
        (
            (
                "{name: r, allow: [read], resources: {datasets: [acme-shop.shop]}},"
                " {name: w, allow: [write], resources: {datasets: [acme-shop.lab]}}"
            ),
            "get getData",
        ),
    ],
)
async def test_permissions_are_what_policy_says(
    bench: Any, one: Any, rules: str, names: str
) -> None:
    bench.policy = f"rules: [{rules}]"
    assert await granted(bench, one) == names.split()
    assert bench.bigquery.started == []


@pytest.mark.parametrize(
    "table",
    [
        TableId("acme-shop", "lab", "hidden"),
        TableId("acme-shop", "shop", "absent"),
        TableId("acme-shop", "shop", "customers$20240101"),
        TableId("acme-shop", "_anon", "x"),
    ],
)
async def test_a_table_that_is_hidden_or_absent_is_not_found(
    bench: Any, one: Any, table: TableId
) -> None:
    bench.policy = "rules: [{name: r, allow: [read], resources: {datasets: [acme-shop.shop]}}]"
    with pytest.raises(NotFoundError, match="was not found"):
        await granted(bench, one, table)
