"""The methods of routines."""

from __future__ import annotations

import re
import time

import msgspec

from keystile.model.errors import DuplicateError, InvalidRequestError, NotFoundError
from keystile.model.schema import TableId
from keystile.sandbox import ddl
from keystile.sandbox.asks import Answers, Ask
from keystile.sandbox.binding import Question
from keystile.sandbox.bodies import Fields, check_match, reference
from keystile.sandbox.definitions import definition_of
from keystile.sandbox.pages import page_of_list
from keystile.sandbox.queries import Catalog
from keystile.sandbox.routines import Routine, listed_routine, routine_from_json, routine_resource
from keystile.wire.responses import Resource

_NAME = re.compile(r"[A-Za-z0-9_]{1,256}")
_FILTER = re.compile(r"\s*(?:routineType:(\w+))?\s*")
_FIELDS = Fields(
    kept=frozenset(
        (
            "dataGovernanceType",
            "description",
            "determinismLevel",
            "importedLibraries",
            "pythonOptions",
            "remoteFunctionOptions",
            "securityMode",
            "strictMode",
        )
    ),
    read=frozenset(
        (
            "arguments",
            "definitionBody",
            "language",
            "returnTableType",
            "returnType",
            "routineReference",
            "routineType",
        )
    ),
    output=frozenset(("buildStatus", "creationTime", "etag", "lastModifiedTime")),
    unserved=frozenset(("externalRuntimeOptions", "sparkOptions")),
)


class RoutineMethods:
    """Answers of routines."""

    def __init__(self, catalog: Catalog) -> None:
        """Answer of what `catalog` holds."""
        self._catalog = catalog
        self._store = catalog.store
        self.answers: Answers = {
            "routines.list": self._list,
            "routines.get": self._get,
            "routines.insert": self._insert,
            "routines.update": self._update,
            "routines.delete": self._delete,
        }

    async def _list(self, ask: Ask) -> Resource:
        asked = ask.call.parameters
        wanted = _FILTER.fullmatch(asked.get("filter", ""))
        if not wanted:
            raise InvalidRequestError(f"the `filter` `{asked['filter'][:100]}` is not understood")
        mask = {name.strip() for name in asked.get("readMask", "").split(",") if name.strip()}
        found = [
            _masked(routine, mask)
            for routine in self._store.routines_in((ask.call.project, ask.call.dataset))
            if wanted[1] in (None, routine.kind)
        ]
        listed, token = page_of_list(found, ask.call)
        resource: Resource = {"routines": list(listed)} if listed else {}
        return {**resource, "nextPageToken": token} if token else resource

    async def _get(self, ask: Ask) -> Resource:
        return routine_resource(self._found(ask))

    async def _insert(self, ask: Ask) -> Resource:
        dataset = ask.call.project, ask.call.dataset
        self._store.tables_in(dataset)
        given = _FIELDS.of(ask)
        named = reference(given, "routineReference")
        if (named.get("projectId"), named.get("datasetId")) != dataset:
            raise InvalidRequestError("`routineReference` does not name the dataset of the path")
        id_ = TableId(*dataset, named.get("routineId", ""))
        if not _NAME.fullmatch(id_.table):
            raise InvalidRequestError(f'Invalid routine ID "{id_.table[:100]}".')
        async with self._catalog.changing:
            if self._store.routine(id_):
                raise DuplicateError(
                    f"Already Exists: Routine {id_.project}:{id_.dataset}.{id_.table}"
                )
            return await self._put(id_, given, 0)

    async def _update(self, ask: Ask) -> Resource:
        given = _FIELDS.of(ask)
        async with self._catalog.changing:
            before = self._found(ask)
            check_match(ask, routine_resource(before)["etag"])
            return await self._put(before.id, given, before.created)

    async def _delete(self, ask: Ask) -> None:
        async with self._catalog.changing:
            self._store.drop_routine(self._found(ask).id)

    async def _put(self, id_: TableId, given: Resource, created: float) -> Resource:
        given.pop("routineReference", None)
        try:
            routine = routine_from_json(id_, given, time.time())
        except (KeyError, TypeError, AttributeError) as error:
            raise InvalidRequestError(f"the routine is not understood: {error}") from error
        if not routine.body and "remoteFunctionOptions" not in routine.details:
            raise InvalidRequestError("Required parameter is missing: definitionBody")
        if routine.is_sql:
            routine = await self._resolved(routine)
        routine = msgspec.structs.replace(routine, created=created or routine.created)
        self._store.put_routine(routine)
        return routine_resource(routine)

    async def _resolved(self, routine: Routine) -> Routine:
        """Resolve the body, as CREATE does; what it returns is found where it is not said.

        Raises `InvalidQueryError` and `NotFoundError` for what the body names.
        """
        plan = await self._catalog.plan(Question(ddl.of_routine(routine), routine.id.project))
        definition = await definition_of(self._catalog, plan)
        returns = definition.returns[1] if definition.returns else None
        return msgspec.structs.replace(routine, returns=routine.returns or returns)

    def _found(self, ask: Ask) -> Routine:
        call = ask.call
        self._store.tables_in((call.project, call.dataset))
        routine = self._store.routine(TableId(call.project, call.dataset, call.item))
        if routine is None:
            raise NotFoundError(f"Not found: Routine {call.project}:{call.dataset}.{call.item}")
        return routine


def _masked(routine: Routine, mask: set[str]) -> Resource:
    """Give a routine as a list tells it; with a `readMask` those parts of all of it."""
    listed = listed_routine(routine)
    if not mask:
        return listed
    return {name: value for name, value in routine_resource(routine).items() if name in mask}
