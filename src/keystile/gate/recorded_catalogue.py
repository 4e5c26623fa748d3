"""Tables and routines as recorded decisions saw them, in the place of BigQuery."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec

from keystile.gate.basis import ABSENT, Catalogue, Digests, Object, object_name
from keystile.model.errors import KeystileError, NotFoundError
from keystile.model.schema import Routine, RoutineId, Table, TableId, TableKind
from keystile.recording.own_events import SchemaBody
from keystile.upstream.values import NOBODY, ListedTable

_AT_ONCE = 8

ObjectT = TypeVar("ObjectT", Table, Routine)


class UnknownSchemaError(KeystileError):
    """The schema of a table, or the text of a routine, is neither on record nor to be had."""


class RecordedSchemas:
    """All schemas on record, by digest, and the newest of each name.

    `now` is BigQuery as it is; None where it cannot be asked. `asked_now` has what was taken from
    there since no recording has it, by name.
    """

    def __init__(self, now: Catalogue | None = None) -> None:
        """Begin with none."""
        self._now = now
        self._by_digest: dict[str, Object] = {}
        self._newest: dict[str, Object] = {}
        self._of_now: dict[str, Object | None] = {}

    def add(self, body: SchemaBody) -> None:
        """Have one more; the newest of a name comes last. What is not understood is left out."""
        found = self._by_digest.get(body.digest)
        if found is None:
            kind: type[Table | Routine] = Routine if body.kind == "routine" else Table
            try:
                found = msgspec.convert(body.object, kind)
            except msgspec.ValidationError:
                return
            self._by_digest[body.digest] = found
        self._newest[object_name(found.id)] = found

    def of(self, objects: Mapping[str, str], *, complete: bool) -> RecordedCatalogue:
        """Give what one decision saw. Raises `UnknownSchemaError` where that is gone.

        `complete` tells that it came to a decision, so that nothing else was looked for.
        """
        seen: dict[str, Object | None] = {}
        for name, digest in objects.items():
            if digest != ABSENT and digest not in self._by_digest:
                raise UnknownSchemaError(name)
            seen[name] = None if digest == ABSENT else self._by_digest[digest]
        return RecordedCatalogue(seen, self, complete=complete)

    async def otherwise(self, id_: TableId | RoutineId) -> Object | None:
        """Give an object that a decision had not looked up: the newest on record, or that of now.

        None where it is not there now. Raises `UnknownSchemaError` where nobody can tell.
        """
        name = object_name(id_)
        if name in self._newest:
            return self._newest[name]
        if name not in self._of_now:
            self._of_now[name] = await self._ask(id_)
        return self._of_now[name]

    async def listed(self, project: str, dataset: str) -> tuple[ListedTable, ...]:
        """List a dataset as it is now. Raises `UnknownSchemaError` where nobody can tell."""
        if self._now is None:
            raise UnknownSchemaError(f"{project}.{dataset}")
        try:
            return await self._now.every_table(project, dataset)
        except NotFoundError:
            return ()
        except KeystileError as error:
            raise UnknownSchemaError(f"{project}.{dataset}") from error

    async def changed(self, names: Iterable[str]) -> tuple[str, ...] | None:
        """Name the tables and routines that are not now as the newest recording has them.

        None where BigQuery cannot be asked.
        """
        if self._now is None:
            return None
        newest = [self._newest[name] for name in names if name in self._newest]
        recorded = [each for each in newest if _is_one(each)]
        turns, digests = asyncio.Semaphore(_AT_ONCE), Digests()

        async def differs(each: Object) -> bool:
            """Compare one with that of now, together with few others."""
            async with turns:
                found = await self._ask(each.id)
            return found is None or digests.of(found) != digests.of(each)

        try:
            differ = await asyncio.gather(*map(differs, recorded))
        except UnknownSchemaError:
            return None
        changed = (each for each, other in zip(recorded, differ, strict=True) if other)
        return tuple(sorted(object_name(each.id) for each in changed))

    async def _ask(self, id_: TableId | RoutineId) -> Object | None:
        if self._now is None:
            raise UnknownSchemaError(object_name(id_))
        try:
            if isinstance(id_, RoutineId):
                return await self._now.routine(id_)
            return await self._now.table(id_)
        except NotFoundError:
            return None
        except KeystileError as error:
            raise UnknownSchemaError(object_name(id_)) from error


def _is_one(each: Object) -> bool:
    """Tell whether this is one table, view or routine: of a wildcard its members are."""
    return not (isinstance(each, Table) and each.kind is TableKind.WILDCARD)


class RecordedCatalogue:
    """What one decision saw. `others` names what it did not see and was looked up otherwise."""

    account = NOBODY

    def __init__(
        self, seen: Mapping[str, Object | None], schemas: RecordedSchemas, *, complete: bool
    ) -> None:
        """Look up in `schemas` what was not `seen`; lists are of what was, if `complete`."""
        self._seen = seen
        self._complete = complete
        self._schemas = schemas
        self.others: list[str] = []

    async def of(self, connection: str) -> RecordedCatalogue:
        """Be the same for every connection."""
        del connection
        return self

    async def table(self, id: TableId) -> Table:  # noqa: A002 - the word of the shared port
        """Give a table. Raises `NotFoundError` and `UnknownSchemaError`."""
        return await self._object(id, Table)

    async def routine(self, id: RoutineId) -> Routine:  # noqa: A002 - as above
        """Give a routine. Raises as `table` does."""
        return await self._object(id, Routine)

    async def _object(self, id_: TableId | RoutineId, kind: type[ObjectT]) -> ObjectT:
        name = object_name(id_)
        if name in self._seen:
            found = self._seen[name]
        else:
            found = await self._schemas.otherwise(id_)
            self.others.append(name)
        if not isinstance(found, kind):
            raise NotFoundError(f"Not found: {kind.__name__} {id_}")
        return found

    async def every_table(self, project: str, dataset: str) -> tuple[ListedTable, ...]:
        """Give those tables of a dataset that were looked up; of a wildcard's, the newest first.

        Raises `UnknownSchemaError`.
        """
        if not self._complete:
            self.others.append(f"{project}.{dataset}")
            return await self._schemas.listed(project, dataset)
        found: dict[TableId, Table] = {}
        for each in self._seen.values():
            for table in each.read if isinstance(each, Table) else ():
                if (table.id.project, table.id.dataset) == (project, dataset):
                    found[table.id] = table
        count = len(found)
        return tuple(
            ListedTable(table.id, table.kind, count - place)
            for place, table in enumerate(found.values())
        )

    async def every_dataset(self, project: str) -> tuple[str, ...]:
        """Name the datasets of a project in which tables were looked up."""
        tables = (each.id for each in self._seen.values() if isinstance(each, Table))
        return tuple(sorted({one.dataset for one in tables if one.project == project}))
