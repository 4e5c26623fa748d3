"""The tables that an operator names: some by name, and all of some datasets."""

from __future__ import annotations

from collections.abc import Sequence

from keystile.model.errors import InvalidRequestError
from keystile.model.schema import TableId
from keystile.upstream.bigquery import BigQuery


async def tables_of(
    bigquery: BigQuery, datasets: Sequence[str], tables: Sequence[TableId]
) -> tuple[TableId, ...]:
    """Name the tables to look at: those of the datasets, `project.dataset`, too; sorted.

    Raises `InvalidRequestError`, and `NotFoundError` for a dataset that is not there.
    """
    found = set(tables)
    for dataset in datasets:
        project, _, name = dataset.rpartition(".")
        if not project or not name:
            raise InvalidRequestError(
                f"`{dataset}` is no dataset's name", hint="write `project.dataset`"
            )
        found.update(one.id for one in await bigquery.every_table(project, name))
    return tuple(sorted(found))
