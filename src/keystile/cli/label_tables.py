"""What the commands on labels share: where tables are, and what is put on record first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, NamedTuple

import typer

from keystile.cli.store import database
from keystile.config.settings import Settings
from keystile.deciding import planning
from keystile.gate.inherited_labels import InheritedLabels
from keystile.googlesql.inline import InlineRunner
from keystile.model.errors import InvalidRequestError
from keystile.model.schema import TableId
from keystile.policy.policy import Policy
from keystile.store.database import Database
from keystile.telemetry import logs
from keystile.telemetry.metrics import Metrics
from keystile.upstream.bigquery import BigQuery

_NAME_PARTS = 3

DatasetOption = Annotated[
    list[str] | None, typer.Option(help="A dataset, `project.dataset`; may be given several times.")
]
TableOption = Annotated[
    list[str] | None,
    typer.Option(help="A table, `project.dataset.table`; may be given several times."),
]
ConnectionOption = Annotated[
    str, typer.Option(help="The gateway's connection to BigQuery; the default one if left out.")
]


class Looking(NamedTuple):
    """What it takes to look at tables."""

    bigquery: BigQuery
    policy: Policy
    inherited: InheritedLabels
    store: Database


@asynccontextmanager
async def looking(found: Settings, connection: str) -> AsyncIterator[Looking]:
    """Open the store, the policy that holds, and BigQuery under a connection."""
    async with database(found) as store:
        # What a gateway would log is no part of what the command prints.
        logs.configure()
        async with planning(found, InlineRunner(), Metrics(), store) as plans:
            bigquery = await plans.accounts.of(connection)
            yield Looking(bigquery, plans.policy.current(), InheritedLabels(store), store)


def tables_named(names: Sequence[str]) -> tuple[TableId, ...]:
    """Read names of tables, `project.dataset.table`. Raises `InvalidRequestError`."""
    found = []
    for name in names:
        parts = name.rsplit(".", _NAME_PARTS - 1)
        if len(parts) != _NAME_PARTS or not all(parts):
            raise InvalidRequestError(
                f"`{name}` is no table's name", hint="write `project.dataset.table`"
            )
        found.append(TableId(*parts))
    return tuple(found)
