"""The methods of tables and of their rows."""

from __future__ import annotations

from keystile.model.errors import InvalidRequestError
from keystile.model.schema import TableId, TableKind
from keystile.sandbox import resources
from keystile.sandbox.asks import Answers, Ask
from keystile.sandbox.jobs import Jobs
from keystile.sandbox.pages import page_of_list, page_of_rows, selected
from keystile.sandbox.queries import Catalog
from keystile.wire import responses
from keystile.wire.requests import parse_page
from keystile.wire.responses import Resource


class TableMethods:
    """Answers of tables, views and the results of jobs."""

    def __init__(self, catalog: Catalog, jobs: Jobs) -> None:
        """Answer of what `catalog` holds, and of the anonymous tables of `jobs`."""
        self._catalog = catalog
        self._store = catalog.store
        self._jobs = jobs
        self.answers: Answers = {
            "tables.list": self._list,
            "tables.get": self._get,
            "tabledata.list": self._rows,
        }

    async def _list(self, ask: Ask) -> Resource:
        stored = self._store.tables_in((ask.call.project, ask.call.dataset))
        listed, token = page_of_list([resources.table_resource(each) for each in stored], ask.call)
        return responses.table_list(listed, len(stored), token)

    async def _get(self, ask: Ask) -> Resource:
        id_ = _table_id(ask)
        if job := self._jobs.holding(id_):
            return resources.result_resource(id_, job.view)
        self._store.table(id_)
        return resources.table_resource(await self._catalog.look_up(id_))

    async def _rows(self, ask: Ask) -> Resource:
        page = parse_page(ask.call)
        id_ = _table_id(ask)
        if job := self._jobs.holding(id_):
            rows, fields = job.rows, job.view.schema or ()
        elif self._store.table(id_).kind is not TableKind.TABLE:
            raise InvalidRequestError("Cannot list a table of type VIEW.")
        else:
            rows, fields = await self._catalog.rows(id_), self._store.table(id_).fields
        if page.selected_fields:
            rows, fields = selected(rows, fields, page.selected_fields)
        shown, token = page_of_rows(rows, fields, page, str(id_))
        return responses.table_data_resource(shown, len(rows), token)


def _table_id(ask: Ask) -> TableId:
    return TableId(ask.call.project, ask.call.dataset, ask.call.table)
