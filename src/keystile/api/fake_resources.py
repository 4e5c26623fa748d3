"""A stand-in for all that the gate tells of datasets, tables and routines, and does to them."""

from __future__ import annotations

from collections.abc import Collection

from keystile.model.principal import Principal
from keystile.model.schema import TableId
from keystile.wire.metadata import (
    dataset_list,
    model_list,
    project_list,
    routine_list,
    service_account,
    table_list,
)
from keystile.wire.requests import PageRequest
from keystile.wire.resources import NewDataset, NewTable
from keystile.wire.responses import Resource
from keystile.wire.routines import NewRoutine
from keystile.wire.updates import Update


class FakeResources:
    """Has whatever it is asked for, and changes nothing."""

    async def projects(self, principal: Principal, page: PageRequest) -> Resource:
        """Give one project."""
        del principal, page
        return project_list([{"id": "acme-shop", "numericId": "1", "friendlyName": "Shop"}], 1)

    async def datasets(
        self, principal: Principal, project: str, page: PageRequest, labels: str
    ) -> Resource:
        """Give one dataset."""
        del page, labels
        return dataset_list([await self.dataset(principal, project, "shop")])

    async def dataset(self, principal: Principal, project: str, dataset: str) -> Resource:
        """Give any dataset that is asked for."""
        del principal
        reference = {"projectId": project, "datasetId": dataset}
        return {"id": f"{project}:{dataset}", "datasetReference": reference, "location": "US"}

    async def tables(
        self, principal: Principal, project: str, dataset: str, page: PageRequest
    ) -> Resource:
        """Give one table."""
        del page
        return table_list([await self.table(principal, project, dataset, "customers")], 1)

    async def table(self, principal: Principal, project: str, dataset: str, table: str) -> Resource:
        """Give any table that is asked for."""
        del principal
        reference = {"projectId": project, "datasetId": dataset, "tableId": table}
        return {
            "id": f"{project}:{dataset}.{table}",
            "tableReference": reference,
            "type": "TABLE",
            "schema": {"fields": [{"name": "id", "type": "INTEGER", "mode": "NULLABLE"}]},
        }

    async def permissions(
        self, principal: Principal, table: TableId, asked: Collection[str]
    ) -> list[str]:
        """Give those that read."""
        del principal, table
        return [name for name in asked if name.endswith(("get", "getData"))]

    async def routines(
        self, principal: Principal, project: str, dataset: str, page: PageRequest
    ) -> Resource:
        """Give one routine."""
        del page
        return routine_list([await self.routine(principal, project, dataset, "same")])

    async def service_account(self, _principal: Principal, project: str) -> Resource:
        """Give an address."""
        return service_account({"email": f"bq-{project}@example.com"})

    async def models(
        self, _principal: Principal, project: str, dataset: str, _page: PageRequest
    ) -> Resource:
        """Give one model."""
        reference = {"projectId": project, "datasetId": dataset, "modelId": "m"}
        return model_list([{"modelReference": reference, "modelType": "LINEAR_REGRESSION"}])

    async def routine(
        self, principal: Principal, project: str, dataset: str, routine: str
    ) -> Resource:
        """Give any routine that is asked for."""
        del principal
        reference = {"projectId": project, "datasetId": dataset, "routineId": routine}
        return {"routineReference": reference, "routineType": "SCALAR_FUNCTION"}

    async def create_dataset(self, principal: Principal, new: NewDataset) -> Resource:
        """Make nothing, and give it."""
        return await self.dataset(principal, new.project, new.dataset)

    async def update_dataset(
        self, principal: Principal, project: str, dataset: str, update: Update
    ) -> Resource:
        """Change nothing, and give it."""
        del update
        return await self.dataset(principal, project, dataset)

    async def delete_dataset(
        self, principal: Principal, project: str, dataset: str, *, contents: bool
    ) -> None:
        """Drop nothing."""

    async def create_table(self, principal: Principal, new: NewTable) -> Resource:
        """Make nothing, and give it."""
        return await self.table(principal, new.id.project, new.id.dataset, new.id.table)

    async def update_table(
        self, principal: Principal, project: str, dataset: str, table: str, update: Update
    ) -> Resource:
        """Change nothing, and give it."""
        del update
        return await self.table(principal, project, dataset, table)

    async def delete_table(
        self, principal: Principal, project: str, dataset: str, table: str
    ) -> None:
        """Drop nothing."""

    async def create_routine(self, principal: Principal, new: NewRoutine) -> Resource:
        """Make nothing, and give it."""
        return await self.routine(principal, *new.id.path)

    async def replace_routine(self, principal: Principal, new: NewRoutine, etag: str) -> Resource:
        """Replace nothing, and give it."""
        del etag
        return await self.routine(principal, *new.id.path)

    async def delete_routine(
        self, principal: Principal, project: str, dataset: str, routine: str
    ) -> None:
        """Drop nothing."""
