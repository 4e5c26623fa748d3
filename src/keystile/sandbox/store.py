"""What the sandbox holds now: datasets, tables, views and routines, and tables as they were.

All of it is in memory; the folder is read once and never written.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from keystile.googlesql.messages import service
from keystile.model.errors import DuplicateError, InvalidQueryError, NotFoundError
from keystile.model.schema import TableId, TableKind
from keystile.sandbox.data import Folder, Stored
from keystile.sandbox.routines import Routine
from keystile.sandbox.sizes import value_bytes

LOCATION = "US"
"""Where a dataset and a job are if they do not say."""

_VERSIONS_KEPT = 20

DatasetId = tuple[str, str]


class Dataset(msgspec.Struct, frozen=True):
    """A dataset. `details` are parts of its resource as they stand (`description`, `labels`).

    Times are seconds since 1970; `modified` is 0 where nothing was changed since it was made.
    """

    id: DatasetId
    created: float
    details: Mapping[str, object] = {}
    modified: float = 0

    @property
    def location(self) -> str:
        """Where its data is said to be."""
        return str(self.details.get("location") or LOCATION)

    @property
    def is_case_insensitive(self) -> bool:
        """Whether one table's name may be written in capital and in small letters."""
        return bool(self.details.get("isCaseInsensitive"))


class _Dropped(NamedTuple):
    """A dataset that was dropped, with all that was in it."""

    dataset: Dataset
    tables: dict[TableId, Stored]
    routines: dict[TableId, Routine]


class Store:
    """Everything by its full name. `changes` counts up with each change of anything."""

    def __init__(self, folder: Folder) -> None:
        """Start with what the folder holds."""
        now = time.time()
        self._datasets = {id_: Dataset(id_, now) for id_ in folder.datasets}
        self._tables = dict(folder.tables)
        self._routines = dict(folder.routines)
        self._versions: dict[TableId, list[tuple[float, Stored]]] = {}
        self._dropped: dict[DatasetId, _Dropped] = {}
        self._results: dict[TableId, Stored] = {}
        self._projects = {project for project, _ in folder.datasets}
        self._next_expiry = float("inf")
        self.changes = 0

    @property
    def projects(self) -> tuple[str, ...]:
        """The projects of the folder, and of all datasets that came later."""
        return tuple(sorted(self._projects))

    @property
    def datasets(self) -> tuple[DatasetId, ...]:
        """Pairs of project and dataset, but for the hidden ones of scripts."""
        return tuple(id_ for id_ in self._datasets if not id_[1].startswith("_"))

    @property
    def all_datasets(self) -> tuple[DatasetId, ...]:
        """All of them, the hidden ones too."""
        return tuple(self._datasets)

    def dataset(self, id_: DatasetId) -> Dataset:
        """Give a dataset. Raises `NotFoundError` in BigQuery's words."""
        if id_ not in self._datasets:
            raise NotFoundError(
                f"Not found: Dataset {id_[0]}:{id_[1]} was not found in location {LOCATION}"
            )
        return self._datasets[id_]

    def tables_in(self, id_: DatasetId) -> list[Stored]:
        """List a dataset's tables and views. Raises `NotFoundError`."""
        self._drop_expired()
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
        self._drop_expired()
        return dict(self._tables)

    def has_table(self, id_: TableId) -> bool:
        """Tell whether there is a table or view."""
        self._drop_expired()
        return id_ in self._results or self._spelled(id_) in self._tables

    def table(self, id_: TableId) -> Stored:
        """Give a table, a view or a kept result. Raises `NotFoundError` in BigQuery's words."""
        if id_ in self._results:
            return self._result(id_)
        self._drop_expired()
        self.dataset((id_.project, id_.dataset))
        id_ = self._spelled(id_)
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
        self._projects.add(dataset.id[0])
        self._datasets[dataset.id] = dataset
        self.changes += 1

    def drop_dataset(self, id_: DatasetId) -> None:
        """Drop a dataset and all that is in it; `restore_dataset` brings all of it back."""
        tables = {at: it for at, it in self._tables.items() if (at.project, at.dataset) == id_}
        routines = {at: it for at, it in self._routines.items() if (at.project, at.dataset) == id_}
        if not id_[1].startswith("_"):
            self._dropped[id_] = _Dropped(self._datasets[id_], tables, routines)
        del self._datasets[id_]
        for table in tables:
            del self._tables[table]
            self._versions.pop(table, None)
        for routine in routines:
            del self._routines[routine]
        self.changes += 1

    def restore_dataset(self, id_: DatasetId) -> Dataset:
        """Bring back a dataset as it was when it was last dropped.

        Raises `NotFoundError`, and `DuplicateError` where there is one of this name.
        """
        if id_ in self._datasets:
            raise DuplicateError(f"Already Exists: Dataset {id_[0]}:{id_[1]}")
        if id_ not in self._dropped:
            raise NotFoundError(f"Not found: Dataset {id_[0]}:{id_[1]}")
        dataset, tables, routines = self._dropped.pop(id_)
        self._tables |= tables
        self._routines |= routines
        self.put_dataset(dataset)
        return dataset

    def put_table(self, stored: Stored, *, new: bool = False) -> None:
        """Add or replace a table or view, and remember what was there.

        With `new` it raises `DuplicateError` where there is one.
        """
        self._drop_expired()
        id_ = self._spelled(stored.id)
        if id_ != stored.id:
            stored = msgspec.structs.replace(stored, id=id_)
        if new and id_ in self._tables:
            raise DuplicateError(f"Already Exists: Table {id_.project}:{id_.dataset}.{id_.table}")
        if id_ not in self._tables:
            stored = self._with_default_expiry(stored)
        if id_ in self._tables:
            kept = self._versions.setdefault(id_, [])
            kept.append((stored.modified, self._tables[id_]))
            del kept[:-_VERSIONS_KEPT]
        self._tables[id_] = stored
        self._next_expiry = min(self._next_expiry, stored.expires)
        self.changes += 1

    def drop_table(self, id_: TableId) -> None:
        """Drop a table or view."""
        id_ = self._spelled(id_)
        del self._tables[id_]
        self._versions.pop(id_, None)
        self.changes += 1

    def know_hidden(self, id_: DatasetId) -> None:
        """Have the hidden dataset of results: its account may put tables of its own there."""
        if id_ not in self._datasets:
            self._datasets[id_] = Dataset(id_, time.time())

    def put_result(self, stored: Stored) -> None:
        """Keep the result of a query as an anonymous table. No other table changes by it."""
        self._results[stored.id] = stored

    def drop_result(self, id_: TableId) -> None:
        """Forget a result, if it is there."""
        self._results.pop(id_, None)

    def location(self, id_: TableId) -> str:
        """Tell where a table or a kept result is; nothing for what is in no dataset here."""
        if id_ in self._results:
            return str(self._results[id_].details["location"])
        dataset = self._datasets.get((id_.project, id_.dataset))
        return dataset.location if dataset and not id_.dataset.startswith("_") else ""

    @property
    def elsewhere(self) -> bool:
        """Whether some dataset is not where most are."""
        return any(dataset.location != LOCATION for dataset in self._datasets.values())

    def _result(self, id_: TableId) -> Stored:
        """Give a result; how large it is is counted when someone looks."""
        stored = self._results[id_]
        if stored.row_count and not stored.sizes and stored.content:
            rows = service.TableContent.FromString(stored.content).table_data.row
            sizes = {
                field.name: sum(value_bytes(row.cell[at], field.sql_type) for row in rows)
                for at, field in enumerate(stored.fields)
            }
            stored = self._results[id_] = msgspec.structs.replace(stored, sizes=sizes)
        return stored

    def put_routine(self, routine: Routine) -> None:
        """Add or replace a routine."""
        self._routines[routine.id] = routine
        self.changes += 1

    def drop_routine(self, id_: TableId) -> None:
        """Drop a routine."""
        del self._routines[id_]
        self.changes += 1

    def _spelled(self, id_: TableId) -> TableId:
        """Give the name that is stored, where the case of letters makes no difference."""
        dataset = self._datasets.get((id_.project, id_.dataset))
        if id_ in self._tables or dataset is None or not dataset.is_case_insensitive:
            return id_
        lower = id_.table.lower()
        return next(
            (
                at
                for at in self._tables
                if (at.project, at.dataset) == dataset.id and at.table.lower() == lower
            ),
            id_,
        )

    def _with_default_expiry(self, stored: Stored) -> Stored:
        """Give a new table the lifetime that its dataset gives to tables that name none."""
        dataset = self._datasets.get((stored.id.project, stored.id.dataset))
        lifetime = dataset.details.get("defaultTableExpirationMs") if dataset else None
        if not lifetime or stored.kind is not TableKind.TABLE or "expirationTime" in stored.details:
            return stored
        until = str(int(stored.created * 1000) + int(str(lifetime)))
        return msgspec.structs.replace(stored, details={**stored.details, "expirationTime": until})

    def _drop_expired(self) -> None:
        now = time.time()
        if now < self._next_expiry:
            return
        for id_ in [id_ for id_, stored in self._tables.items() if stored.expires <= now]:
            self.drop_table(id_)
        self._next_expiry = min(
            (stored.expires for stored in self._tables.values()), default=float("inf")
        )
