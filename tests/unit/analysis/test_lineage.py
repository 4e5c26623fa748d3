from __future__ import annotations

import time
from typing import Any

import pytest

from keystile.analysis.analyst import Analyst
from keystile.analysis.statement import Statement
from keystile.config.settings import EngineLimits
from keystile.googlesql.inline import InlineRunner
from keystile.model.schema import Field, Table, TableId, TableKind

WIDE = Table(
    TableId("acme-shop", "shop", "wide"),
    TableKind.TABLE,
    tuple(Field(f"column_{number}", "INT64") for number in range(10_000)),
    "1",
)
"""As many columns as BigQuery lets a table have."""


class Source:
    async def table(self, id: TableId) -> Table:  # noqa: A002 - the port's own word
        assert id == WIDE.id
        return WIDE


@pytest.mark.parametrize("sql", ["SELECT * FROM wide", "INSERT INTO wide SELECT * FROM wide"])
async def test_the_widest_table_could_not_be_read_within_the_deadline(
    runner: InlineRunner, sql: str
) -> None:
    source: Any = Source()
    began = time.process_time()
    found = await Analyst(runner, 1000).analyse(Statement(sql, "acme-shop", "shop", ()), source)
    assert time.process_time() - began < EngineLimits().deadline / 2
    assert len(found.facts.columns) == len(WIDE.fields)
