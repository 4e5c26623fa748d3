"""The methods of tables and of their rows."""

from __future__ import annotations

import re
from collections.abc import Iterator

from keystile.model.errors import InvalidRequestError
from keystile.model.schema import TableId, TableKind
from keystile.sandbox import resources
from keystile.sandbox.asks import Answers, Ask
from keystile.sandbox.bodies import check_match, patched, reference, truth
from keystile.sandbox.changes import with_rows
from keystile.sandbox.data import Stored
from keystile.sandbox.errors import unsupported
from keystile.sandbox.fitting import refitted
from keystile.sandbox.pages import page_of_list, page_of_rows, selected
from keystile.sandbox.queries import Catalog
from keystile.sandbox.rights import Right
from keystile.sandbox.store import LOCATION
from keystile.sandbox.streaming import Streams
from keystile.sandbox.table_bodies import FIELDS, changed_table, new_table
from keystile.wire import job_resources
from keystile.wire.jsonbody import parse_object
from keystile.wire.list_parameters import parse_page
from keystile.wire.metadata import table_list, with_fields
from keystile.wire.responses import Resource

_READING = frozenset(("bigquery.tables.get", "bigquery.tables.getData", "bigquery.tables.export"))
_TABLE_NAME = re.compile(r"[\w -]{1,1024}")


class TableMethods:
    """Answers of tables, views and the results of jobs."""

    def __init__(self, catalog: Catalog) -> None:
        """Answer of what `catalog` holds."""
        self._catalog = catalog
        self._store = catalog.store
        self._streams = Streams(catalog)
        self.answers: Answers = {
            "tables.list": self._list,
            "tables.get": self._get,
            "tables.insert": self._insert,
            "tables.patch": self._patch,
            "tables.update": self._update,
            "tables.delete": self._delete,
            "tables.testIamPermissions": self._permissions,
            "tabledata.list": self._rows,
            "tabledata.insertAll": self._insert_all,
            "rowAccessPolicies.list": self._row_policies,
            "models.list": self._models,
        }

    async def _list(self, ask: Ask) -> Resource:
        stored = self._store.tables_in((ask.call.project, ask.call.dataset))
        found = [resources.table_resource(each) for each in stored]
        listed, token = page_of_list(found, ask.call)
        answer = table_list(listed, len(stored), token)
        for told, each in zip(_tables(answer), listed, strict=True):
            if "view" in each:
                told["view"] = {"useLegacySql": False}
        return answer

    async def _get(self, ask: Ask) -> Resource:
        told = await self._told(self._store.table(_table_id(ask)))
        wanted = ask.call.parameters.get("selectedFields", "")
        return with_fields(told, [*filter(None, wanted.split(","))])

    async def _told(self, stored: Stored) -> Resource:
        found = await self._catalog.look_up(stored.id)
        return resources.table_resource(found, self._store.location(stored.id) or LOCATION)

    async def _insert(self, ask: Ask) -> Resource:
        given = FIELDS.of(ask)
        named = reference(given, "tableReference")
        dataset = ask.call.project, ask.call.dataset
        self._store.tables_in(dataset)
        if (named.get("projectId"), named.get("datasetId")) != dataset:
            raise InvalidRequestError("`tableReference` does not name the dataset of the path")
        id_ = TableId(*dataset, named.get("tableId", ""))
        if not _TABLE_NAME.fullmatch(id_.table):
            raise InvalidRequestError(f'Invalid table ID "{id_.table[:100]}".')
        async with self._catalog.changing:
            made = await new_table(self._catalog, id_, given)
            self._store.put_table(made, new=True)
        return await self._told(made)

    async def _patch(self, ask: Ask) -> Resource:
        return await self._changed(ask, patch=True)

    async def _update(self, ask: Ask) -> Resource:
        return await self._changed(ask, patch=False)

    async def _changed(self, ask: Ask, *, patch: bool) -> Resource:
        if truth(ask, "autodetect_schema"):
            raise unsupported("`autodetect_schema`")
        given = FIELDS.of(ask)
        if given.get("schema", ...) is None:
            del given["schema"]  # so `bq` says that it leaves the columns as they are
        async with self._catalog.changing:
            before = self._store.table(_table_id(ask))
            check_match(ask, before.etag)
            if patch:
                current = await self._told(before)
                body = {name: current[name] for name in current if name in FIELDS.writable}
                if before.kind is not TableKind.TABLE and "schema" not in given:
                    body.pop("schema", None)  # it follows from the query
                given = patched(body, given)
            after = await changed_table(self._catalog, before, given)
            if after.kind is TableKind.TABLE and after.fields != before.fields:
                content = await self._catalog.content(before)
                after = with_rows(after, refitted(content, before, after))
            self._store.put_table(after)
        return await self._told(after)

    async def _delete(self, ask: Ask) -> None:
        async with self._catalog.changing:
            self._store.drop_table(self._store.table(_table_id(ask)).id)

    async def _permissions(self, ask: Ask) -> Resource:
        """Answer that the account may do all that it asks about, where it may write."""
        self._store.table(_table_id(ask))
        right = self._catalog.rights.of(ask.account, (ask.call.project, ask.call.dataset))
        asked = [*_flat(parse_object(ask.body).get("permissions"))]
        may = [name for name in asked if right >= Right.WRITE or (right and name in _READING)]
        return {"permissions": may}

    async def _row_policies(self, ask: Ask) -> Resource:
        self._store.table(_table_id(ask))
        return {}

    async def _models(self, ask: Ask) -> Resource:
        self._store.tables_in((ask.call.project, ask.call.dataset))
        return {}

    async def _rows(self, ask: Ask) -> Resource:
        page = parse_page(ask.call)
        id_ = _table_id(ask)
        stored = self._store.table(id_)
        if stored.view_query:
            raise InvalidRequestError(f"Cannot list a table of type {stored.kind.value}.")
        rows = await self._catalog.rows(id_)
        shown, token = page_of_rows(rows, stored.fields, page, str(id_))
        if page.selected_fields:
            shown = selected(shown, stored.fields, page.selected_fields)
        return job_resources.table_data_resource(
            shown, len(rows), token, [str(id_), stored.modified, page.selected_fields]
        )

    async def _insert_all(self, ask: Ask) -> Resource:
        return await self._streams.insert(ask, _table_id(ask))


def _table_id(ask: Ask) -> TableId:
    return TableId(ask.call.project, ask.call.dataset, ask.call.table)


def _tables(answer: Resource) -> list[dict[str, object]]:
    found = answer["tables"]
    return found if isinstance(found, list) else []


def _flat(given: object) -> Iterator[str]:
    """Read a list of texts. Google's own reader of JSON takes lists within it for their items."""
    for item in given if isinstance(given, list) else ():
        if isinstance(item, str):
            yield item
        else:
            yield from _flat(item)
