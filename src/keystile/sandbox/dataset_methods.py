"""The methods of datasets."""

from __future__ import annotations

from keystile.model.errors import NotFoundError
from keystile.sandbox import resources
from keystile.sandbox.asks import Answers, Ask
from keystile.sandbox.pages import page_of_list
from keystile.sandbox.queries import Catalog
from keystile.wire import responses
from keystile.wire.responses import Resource


class DatasetMethods:
    """Answers of datasets."""

    def __init__(self, catalog: Catalog) -> None:
        """Answer of what `catalog` holds."""
        self._catalog = catalog
        self._store = catalog.store
        self.answers: Answers = {
            "datasets.list": self._list,
            "datasets.get": self._get,
        }

    async def _list(self, ask: Ask) -> Resource:
        found = [
            resources.dataset_resource(self._store.dataset(id_))
            for id_ in self._store.datasets
            if id_[0] == ask.call.project
        ]
        if not found:
            raise NotFoundError(f"Not found: Project {ask.call.project}")
        listed, token = page_of_list(found, ask.call)
        return responses.dataset_list(listed, token)

    async def _get(self, ask: Ask) -> Resource:
        id_ = ask.call.project, ask.call.dataset
        self._store.tables_in(id_)
        return resources.dataset_resource(self._store.dataset(id_))
