"""What BigQuery has: tables and routines as analyses need them, some seconds old at most."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TypeVar

from keystile.model.schema import Routine, RoutineId, Table, TableId
from keystile.upstream.answers import DatasetsAnswer, RoutineAnswer, TableAnswer, TablesAnswer
from keystile.upstream.exchange import Exchange
from keystile.upstream.paths import dataset_path, routine_path, table_path
from keystile.upstream.routines import routine_of
from keystile.upstream.tables import listed, table_of
from keystile.upstream.transport import Answer, Call, Transport
from keystile.upstream.values import ListedTable

# How stale a schema may be. The dry run is the second witness against a change in between.
_OBJECT_SECONDS = 10.0
_OBJECTS_KEPT = 4096
_NOT_MODIFIED = 304

Noted = Callable[[Table], Table]
"""Adds to a table what the gateway itself has noted of it."""

IdT = TypeVar("IdT", TableId, RoutineId)
ObjectT = TypeVar("ObjectT", Table, Routine)


class _Known(OrderedDict[IdT, tuple[float, ObjectT]]):
    """What was asked for, with the time when; what was used last comes last."""


class Objects(Exchange):
    """Tables, routines and datasets that one account may see."""

    def __init__(self, transport: Transport, noted: Noted | None) -> None:
        """Ask by `transport`; `noted` tells what the gateway knows of tables beside."""
        super().__init__(transport)
        self._noted = noted
        self._tables = _Known[TableId, Table]()
        self._routines = _Known[RoutineId, Routine]()

    async def table(self, id: TableId) -> Table:  # noqa: A002  the word of the shared port
        """Give a table's schema, at most some seconds old, with the labels of what it holds.

        INVARIANT: these are as they are now. Raises `NotFoundError`.
        """
        table = await self._fresh(
            self._tables,
            id,
            table_path(id),
            lambda answer: table_of(id, self._decoded(answer, TableAnswer)),
        )
        return self.noted(table)

    def noted(self, table: Table) -> Table:
        """Give a table with the labels of what it holds."""
        return self._noted(table) if self._noted else table

    def forget(self, tables: Iterable[TableId]) -> None:
        """Ask anew for tables that a job may have changed, however young what is known of them."""
        for table in tables:
            self._tables.pop(table, None)

    async def routine(self, id: RoutineId) -> Routine:  # noqa: A002  the word of the shared port
        """Give a routine with its text, at most some seconds old. Raises `NotFoundError`."""
        return await self._fresh(
            self._routines,
            id,
            routine_path(id),
            lambda answer: routine_of(id, self._decoded(answer, RoutineAnswer)),
        )

    async def every_table(self, project: str, dataset: str) -> tuple[ListedTable, ...]:
        """Give all that a dataset holds. Raises `RefusedError` where that is too much to list."""
        path = (*dataset_path(project, dataset), "tables")
        pages = await self._every_page(path, TablesAnswer)
        return tuple(listed(table) for page in pages for table in page.tables)

    async def every_dataset(self, project: str) -> tuple[str, ...]:
        """Give the names of a project's datasets. Raises `RefusedError` where they are too many."""
        pages = await self._every_page(("projects", project, "datasets"), DatasetsAnswer)
        return tuple(one.dataset_reference.dataset_id for page in pages for one in page.datasets)

    async def _fresh(
        self,
        kept: _Known[IdT, ObjectT],
        id_: IdT,
        path: tuple[str, ...],
        read: Callable[[Answer], ObjectT],
    ) -> ObjectT:
        """Give what is known where it is new enough, else ask whether it is still the same."""
        fetched, known = kept.get(id_, (0.0, None))
        if known and time.monotonic() - fetched < _OBJECT_SECONDS:
            return known
        answer = await self._transport.send(Call("GET", path, etag=known.etag if known else ""))
        if not (known and answer.status == _NOT_MODIFIED):
            kept.pop(id_, None)
            known = read(answer)
        kept[id_] = (time.monotonic(), known)
        kept.move_to_end(id_)
        if len(kept) > _OBJECTS_KEPT:
            kept.popitem(last=False)
        return known
