from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from keystile.analysis.analysed import Analysed
from keystile.analysis.analyst import Analyst
from keystile.analysis.statement import Statement
from keystile.googlesql.inline import InlineRunner
from keystile.model.errors import NotFoundError
from keystile.model.schema import (
    Field,
    Mode,
    Parameter,
    Routine,
    RoutineId,
    Table,
    TableId,
    TableKind,
)

STRING = "STRING"
CUSTOMERS = Table(
    TableId("acme-shop", "shop", "customers"),
    TableKind.TABLE,
    (
        Field("id", "INT64"),
        Field("name", STRING),
        Field("ssn", STRING),
        Field("address", "STRUCT", fields=(Field("city", STRING), Field("zip", STRING))),
        Field(
            "contacts", "STRUCT", Mode.REPEATED, fields=(Field("kind", STRING), Field("to", STRING))
        ),
        Field("created", "TIMESTAMP"),
    ),
    "1",
)
ORDERS = Table(
    TableId("acme-shop", "shop", "orders"),
    TableKind.TABLE,
    (Field("id", "INT64"), Field("customer_id", "INT64"), Field("amount", "NUMERIC")),
    "1",
)
RECENT = Table(
    TableId("acme-shop", "shop", "recent"), TableKind.VIEW, (Field("id", "INT64"),), "1", "SELECT 1"
)
SHEET = Table(TableId("acme-shop", "shop", "sheet"), TableKind.OTHER, (Field("a", STRING),), "1")


class Source:
    async def table(self, id: TableId) -> Table:  # noqa: A002 - the port's own word
        for table in (CUSTOMERS, ORDERS, RECENT, SHEET):
            if table.id == id:
                return table
        raise NotFoundError(f"Not found: Table {id.project}:{id.dataset}.{id.table}")

    async def routine(self, id: RoutineId) -> Routine:  # noqa: A002 - as above
        raise NotFoundError(f"Not found: Routine {id.project}:{id.dataset}.{id.routine}")

    async def tables_like(self, id: TableId) -> tuple[Table, ...]:  # noqa: A002 - as above
        raise NotFoundError(f"Not found: Table {id.project}:{id.dataset}.{id.table}")


Analyse = Callable[..., Analysed]


@pytest.fixture(scope="session")
def runner() -> InlineRunner:
    return InlineRunner()


@pytest.fixture(scope="session")
def analyse(runner: InlineRunner) -> Analyse:
    analyst = Analyst(runner, 100_000)

    def run(sql: str, parameters: tuple[Parameter, ...] = (), dataset: str = "shop") -> Analysed:
        statement = Statement(sql, "acme-shop", dataset, parameters)
        return asyncio.run(analyst.analyse(statement, Source()))

    return run
