"""Datasets and tables as the policy lets an agent see them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from keystile.gate.visible import not_found
from keystile.model.errors import NotFoundError, RefusedError
from keystile.model.principal import Principal
from keystile.model.schema import Table, TableId, TableKind
from keystile.policy.context import Context
from keystile.policy.policy import Policy
from keystile.upstream.bigquery import BigQuery
from keystile.upstream.tables import fields_of
from keystile.wire.requests import PageRequest
from keystile.wire.responses import (
    Resource,
    dataset_list,
    table_list,
    visible_dataset,
    visible_table,
)

_SIZES = frozenset({"numBytes", "numRows"})


class Metadata:
    """Answers datasets.* and tables.* reads. What policy hides looks absent."""

    def __init__(self, bigquery: BigQuery, policy: Callable[[], Policy]) -> None:
        """`policy` gives the snapshot that holds now."""
        self._bigquery = bigquery
        self._policy = policy

    async def datasets(self, principal: Principal, project: str, page: PageRequest) -> Resource:
        """Give datasets.list: a page of BigQuery's, less what the agent may not see."""
        listed = await self._bigquery.list_datasets(
            project, page_token=page.page_token, max_results=page.max_results
        )
        seen = [
            visible_dataset(dataset)
            for dataset in listed.get("datasets", ())
            if self._sees_dataset(principal, project, _word(dataset, "datasetReference"))
        ]
        return dataset_list(seen, str(listed.get("nextPageToken", "")))

    async def dataset(self, principal: Principal, project: str, dataset: str) -> Resource:
        """Give datasets.get. Raises `NotFoundError`."""
        hidden = NotFoundError(
            f"Not found: Dataset {project}:{dataset}", hint="check the name, or ask for access"
        )
        if not self._sees_dataset(principal, project, dataset):
            raise hidden
        try:
            return visible_dataset(await self._bigquery.get_dataset(project, dataset))
        except NotFoundError as error:
            raise hidden from error

    async def tables(
        self, principal: Principal, project: str, dataset: str, page: PageRequest
    ) -> Resource:
        """Give tables.list: a page of BigQuery's, less what the agent may not see."""
        await self.dataset(principal, project, dataset)
        listed = await self._bigquery.list_tables(
            project, dataset, page_token=page.page_token, max_results=page.max_results
        )
        policy, context = self._policy(), _context(project)
        seen = [
            visible_table(table)
            for table in listed.get("tables", ())
            if policy.may_see_table(
                principal,
                TableId(project, dataset, _word(table, "tableReference", "tableId")),
                context,
            )
        ]
        return table_list(seen, len(seen), str(listed.get("nextPageToken", "")))

    async def table(self, principal: Principal, project: str, dataset: str, table: str) -> Resource:
        """Give tables.get. Raises `NotFoundError`."""
        id_ = TableId(project, dataset, table)
        policy = self._policy()
        if not policy.may_see_table(principal, id_, _context(project)):
            raise not_found(id_)
        try:
            resource = await self._bigquery.get_table(id_)
        except NotFoundError as error:
            raise not_found(id_) from error
        if policy.row_filters.are_on(principal, id_):
            return visible_table(resource, _OF_ALL_ROWS)
        return visible_table(resource, self._telling(id_, resource))

    def _telling(self, id_: TableId, resource: dict[str, Any]) -> frozenset[str]:
        """Name what tells of masked values: how long those of a labelled column are, all together.

        What is no plain table may hold rows that were chosen by such values: a materialized view.
        """
        try:
            fields = fields_of(resource.get("schema", {}))
        except RefusedError:
            return _SIZES
        if resource.get("type") != TableKind.TABLE.value:
            return _SIZES
        labelled = self._policy().labels(Table(id_, TableKind.TABLE, fields, ""))
        return frozenset({"numBytes"}) if labelled else frozenset()

    def _sees_dataset(self, principal: Principal, project: str, dataset: str) -> bool:
        return self._policy().may_see_dataset(principal, project, dataset, _context(project))


_OF_ALL_ROWS = frozenset({"lastModifiedTime", "numBytes", "numRows"})
"""What tells of rows that are filtered out as well."""


def _context(project: str) -> Context:
    return Context(project, datetime.now(UTC))


def _word(resource: dict[str, Any], reference: str, name: str = "datasetId") -> str:
    return str(resource.get(reference, {}).get(name, ""))
