"""The methods of routines."""

from __future__ import annotations

from keystile.model.errors import NotFoundError
from keystile.model.schema import TableId
from keystile.sandbox.asks import Answers, Ask
from keystile.sandbox.pages import page_of_list
from keystile.sandbox.queries import Catalog
from keystile.sandbox.routines import listed_routine, routine_resource
from keystile.wire.responses import Resource


class RoutineMethods:
    """Answers of routines."""

    def __init__(self, catalog: Catalog) -> None:
        """Answer of what `catalog` holds."""
        self._store = catalog.store
        self.answers: Answers = {
            "routines.list": self._list,
            "routines.get": self._get,
        }

    async def _list(self, ask: Ask) -> Resource:
        found = self._store.routines_in((ask.call.project, ask.call.dataset))
        listed, token = page_of_list([listed_routine(routine) for routine in found], ask.call)
        resource: Resource = {"routines": list(listed)} if listed else {}
        return {**resource, "nextPageToken": token} if token else resource

    async def _get(self, ask: Ask) -> Resource:
        call = ask.call
        self._store.tables_in((call.project, call.dataset))
        routine = self._store.routine(TableId(call.project, call.dataset, call.item))
        if routine is None:
            raise NotFoundError(f"Not found: Routine {call.project}:{call.dataset}.{call.item}")
        return routine_resource(routine)
