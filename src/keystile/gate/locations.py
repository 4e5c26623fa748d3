"""Where in the world a query runs that does not say so itself."""

from __future__ import annotations

from keystile.model.schema import TableId
from keystile.upstream.bigquery import BigQuery

DEFAULT = "US"
"""Where BigQuery runs what names neither a location nor a table."""


async def lies_in(bigquery: BigQuery, table: TableId) -> str:
    """Say where the dataset of a table lies. Raises `NotFoundError` where there is none."""
    dataset = await bigquery.get_dataset(table.project, table.dataset)
    return str(dataset.get("location") or DEFAULT)
