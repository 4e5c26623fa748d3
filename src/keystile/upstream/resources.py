"""Resources as BigQuery answers them: each caller leaves out what is not for its client."""

from __future__ import annotations

from typing import Any

from keystile.model.schema import RoutineId, TableId
from keystile.upstream.exchange import Exchange
from keystile.upstream.paths import dataset_path, routine_path, table_path


class Resources(Exchange):
    """What one account is told; nothing is remembered."""

    async def list_projects(self) -> list[dict[str, Any]]:
        """Give all entries of `projects.list` as BigQuery answers it."""
        return await self._every_entry(("projects",))

    async def list_datasets(self, project: str) -> list[dict[str, Any]]:
        """Give all entries of `datasets.list` as BigQuery answers it."""
        return await self._every_entry(("projects", project, "datasets"))

    async def get_service_account(self, project: str) -> dict[str, Any]:
        """Give `projects.getServiceAccount` as BigQuery answers it."""
        return await self._json("GET", ("projects", project, "serviceAccount"))

    async def get_dataset(self, project: str, dataset: str) -> dict[str, Any]:
        """Give `datasets.get` as BigQuery answers it, access list included: the caller strips."""
        return await self._json("GET", dataset_path(project, dataset))

    async def list_tables(self, project: str, dataset: str) -> list[dict[str, Any]]:
        """Give all entries of `tables.list` as BigQuery answers it."""
        return await self._every_entry((*dataset_path(project, dataset), "tables"))

    async def get_table(self, id: TableId) -> dict[str, Any]:  # noqa: A002 - the port's own word
        """Give `tables.get` as BigQuery answers it; never cached."""
        return await self._json("GET", table_path(id))

    async def list_models(self, project: str, dataset: str) -> list[dict[str, Any]]:
        """Give all entries of `models.list` as BigQuery answers it."""
        return await self._every_entry((*dataset_path(project, dataset), "models"))

    async def list_routines(self, project: str, dataset: str) -> list[dict[str, Any]]:
        """Give all entries of `routines.list` as BigQuery answers it."""
        return await self._every_entry((*dataset_path(project, dataset), "routines"))

    async def get_routine(self, id: RoutineId) -> dict[str, Any]:  # noqa: A002 - the port's own word
        """Give `routines.get` as BigQuery answers it, its text included; never cached."""
        return await self._json("GET", routine_path(id))
