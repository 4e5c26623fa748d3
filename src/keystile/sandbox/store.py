"""What the sandbox holds now: datasets, tables, views and routines, and tables as they were.

All of it is in memory; the folder is read once and never written.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import msgspec

from keystile.model.errors import DuplicateError, InvalidQueryError, NotFoundError
from keystile.model.schema import TableId
from keystile.sandbox.data import Folder, Stored
from keystile.sandbox.routines import Routine

LOCATION = "US"
"""Where the sandbox says that all its data is."""

_VERSIONS_KEPT = 20

DatasetId = tuple[str, str]


class Dataset(msgspec.Struct, frozen=True):
    """A dataset. `details` are parts of its resource as they stand (`description`, `labels`)."""

    id: DatasetId
    created: float
    details: Mapping[str, object] = {}


class Store:
    """Everything by its full name. `changes` counts up with each change of anything."""

    def __init__(self, folder: Folder) -> None:
        """Start with what the folder holds."""
        now = time.time()
        self._datasets = {id_: Dataset(id_, now) for id_ in folder.datasets}
        self._tables = dict(folder.tables)
        self._routines = dict(folder.routines)
        self._versions: dict[TableId, list[tuple[float, Stored]]] = {}
        self.changes = 0

    @property
    def datasets(self) -> tuple[DatasetId, ...]:
        """Pairs of project and dataset, but for the hidden ones of scripts."""
        return tuple(id_ for id_ in self._datasets if not id_[1].startswith("_"))

    def dataset(self, id_: DatasetId) -> Dataset:
        """Give a dataset. Raises `NotFoundError` in BigQuery's words."""
        if id_ not in self._datasets:
            raise NotFoundError(
                f"Not found: Dataset {id_[0]}:{id_[1]} was not found in location {LOCATION}"
            )
        return self._datasets[id_]

    def tables_in(self, id_: DatasetId) -> list[Stored]:
        """List a dataset's tables and views. Raises `NotFoundError`."""
        if id_ not in self._datasets:
            raise NotFoundError(f"Not found: Dataset {id_[0]}:{id_[1]}")
        return [self._tables[at] for at in sorted(self._tables) if (at.project, at.dataset) == id_]

    def routines_in(self, id_: DatasetId) -> list[Routine]:
        """List a dataset's routines. Raises `NotFoundError`."""
        if id_ not in self._datasets:
            raise NotFoundError(f"Not found: Dataset {id_[0]}:{id_[1]}")
        found = self._routines
        return [found[at] for at in sorted(found) if (at.project, at.dataset) == id_]

    def tables(self) -> Mapping[TableId, Stored]:
        """Give all tables and views as they are now."""
        return dict(self._tables)

    def has_table(self, id_: TableId) -> bool:
        """Tell whether there is a table or view."""
        return id_ in self._tables

    def table(self, id_: TableId) -> Stored:
        """Give a table or view. Raises `NotFoundError` in BigQuery's words."""
        self.dataset((id_.project, id_.dataset))
        if id_ not in self._tables:
            raise NotFoundError(
                f"Not found: Table {id_.project}:{id_.dataset}.{id_.table} was not found in "
                f"location {LOCATION}"
            )
        return self._tables[id_]

    def table_at(self, id_: TableId, at: float) -> Stored:
        """Give a table as it was. One that the folder holds was always as it is there."""
        now = self.table(id_)
        before = [stored for until, stored in self._versions.get(id_, ()) if at < until]
        found = before[0] if before else now
        made_here = not before or len(before) == len(self._versions[id_])
        if at < found.created and made_here and found.content is not None:
            raise InvalidQueryError(
                f"Invalid time travel timestamp {int(at * 1000)} for table "
                f"{id_.project}:{id_.dataset}.{id_.table}@{int(at * 1000)}. "
                f"Cannot read before {int(found.created * 1000)}"
            )
        return found

    def routine(self, id_: TableId) -> Routine | None:
        """Find a routine."""
        return self._routines.get(id_)

    def put_dataset(self, dataset: Dataset) -> None:
        """Add or replace a dataset."""
        self._datasets[dataset.id] = dataset
        self.changes += 1

    def drop_dataset(self, id_: DatasetId) -> None:
        """Drop a dataset and all that is in it."""
        del self._datasets[id_]
        self._tables = {
            at: it for at, it in self._tables.items() if (at.project, at.dataset) != id_
        }
        self._routines = {
            at: it for at, it in self._routines.items() if (at.project, at.dataset) != id_
        }
        for gone in [at for at in self._versions if (at.project, at.dataset) == id_]:
            del self._versions[gone]
        self.changes += 1

    def put_table(self, stored: Stored, *, new: bool = False) -> None:
        """Add or replace a table or view, and remember what was there.

        With `new` it raises `DuplicateError` where there is one.
        """
        id_ = stored.id
        if new and id_ in self._tables:
            raise DuplicateError(f"Already Exists: Table {id_.project}:{id_.dataset}.{id_.table}")
        if id_ in self._tables:
            kept = self._versions.setdefault(id_, [])
            kept.append((stored.modified, self._tables[id_]))
            del kept[:-_VERSIONS_KEPT]
        self._tables[id_] = stored
        self.changes += 1

    def drop_table(self, id_: TableId) -> None:
        """Drop a table or view."""
        del self._tables[id_]
        self._versions.pop(id_, None)
        self.changes += 1

    def put_routine(self, routine: Routine) -> None:
        """Add or replace a routine."""
        self._routines[routine.id] = routine
        self.changes += 1

    def drop_routine(self, id_: TableId) -> None:
        """Drop a routine."""
        del self._routines[id_]
        self.changes += 1
