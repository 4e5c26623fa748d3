"""The routines that one statement calls, with all that their texts read and call in turn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from keystile.analysis.beneath import Above, NotReadyError, what_of, within, without_names
from keystile.analysis.catalog import ObjectSource
from keystile.analysis.expansion import Expansion
from keystile.analysis.outlined import NamedRoutine, Outline, OutlineRequest
from keystile.analysis.places import Translation
from keystile.analysis.resolve import Resolved, ResolveRequest
from keystile.analysis.routines import (
    SQL,
    KnownRoutine,
    body,
    definition,
    doubt_of_templated,
    is_callable,
    is_templated,
    of_another_language,
    question,
)
from keystile.analysis.schema import result_schema
from keystile.analysis.scope import SpelledRoutine
from keystile.analysis.tasks import OUTLINE, RESOLVE
from keystile.model.errors import NotFoundError, RefusedError
from keystile.model.facts import Opaque, Use
from keystile.model.schema import Field, Routine, RoutineId, RoutineKind, TableKind

if TYPE_CHECKING:
    from keystile.analysis.objects import Objects

_SPELLING = "check how its name is spelled: upper and lower case matter"
_INSTEAD = "write what it does into the query"


class Callees:
    """Looks routines up and finds out what their texts do.

    INVARIANT: what lies beneath a routine is named in the facts and nowhere else: who may call it
    need not know its text.
    """

    def __init__(self, source: ObjectSource, objects: Objects) -> None:
        """Ask `source` for routines, and `objects` for what their texts read."""
        self._source = source
        self._objects = objects
        self._known: dict[RoutineId, KnownRoutine] = {}

    async def find(self, outline: Outline) -> tuple[Opaque, ...]:
        """Look up every routine that a statement calls, and give those that are not understood.

        In other statements than SELECT a missing one is noted, not raised, as a missing table is.
        """
        found = [await self._look_up(call, outline) for call in outline.calls if outline.resolve]
        return tuple(doubt for doubt in found if doubt)

    async def known(self, id_: RoutineId, above: Above) -> KnownRoutine:
        """Look up a routine that a view or another routine calls. Raises `NotReadyError`."""
        return await self._ready(await self._source.routine(id_), above)

    def spelled(self, calls: Iterable[NamedRoutine]) -> tuple[SpelledRoutine, ...]:
        """Give routines as a text spells them; those that are not understood are left out."""
        return tuple(self._spelled(c.id, c.path) for c in calls if c.id in self._known)

    def in_full(self, ids: Iterable[RoutineId]) -> tuple[SpelledRoutine, ...]:
        """Give routines under their full names."""
        return tuple(self._spelled(id_, id_.path) for id_ in ids)

    def beneath(self, ids: Iterable[RoutineId]) -> tuple[KnownRoutine, ...]:
        """Give routines and all that they call, sorted by name."""
        found: dict[RoutineId, KnownRoutine] = {}
        waiting = list(ids)
        while waiting:
            id_ = waiting.pop()
            if id_ not in found:
                found[id_] = self._known[id_]
                waiting += found[id_].calls
        return tuple(found[id_] for id_ in sorted(found))

    def _spelled(self, id_: RoutineId, path: tuple[str, ...]) -> SpelledRoutine:
        return self._known[id_].spelled(path, self.beneath((id_,)))

    async def _look_up(self, call: NamedRoutine, outline: Outline) -> Opaque | None:
        place = (call.line, call.column)
        try:
            routine = await self._source.routine(call.id)
        except NotFoundError as error:
            if outline.statement == "SELECT":
                raise error.at(place) from error
            return Opaque(f"routine `{call.id}`, which was not found", *place, _SPELLING)
        except RefusedError as error:
            raise error.at(place) from error
        try:
            await self._ready(routine, ())
        except NotReadyError as error:
            return Opaque(f"routine `{call.id}`{what_of(error)}", *place, _INSTEAD)
        except NotFoundError as error:
            raise RefusedError(
                f"the routine `{call.id}` reads or calls what you may not, or what is gone",
                hint="ask the routine's owner, or for access to what it reads",
                place=place,
            ) from error
        return None

    async def _ready(self, routine: Routine, above: Above) -> KnownRoutine:
        above = within(above, routine.id)
        if routine.id not in self._known:
            self._known[routine.id] = await self._made_ready(routine, above)
        return self._known[routine.id]

    async def _made_ready(self, routine: Routine, above: Above) -> KnownRoutine:
        if not is_callable(routine):
            raise NotReadyError("a kind that a query cannot call")
        if routine.language != SQL or routine.remote:
            known = of_another_language(routine)
            if known is None:
                raise NotReadyError("a result whose type is not declared")
            return known
        request = OutlineRequest(question(routine), routine.id.project, "")
        outline = await self._objects.of_text(OUTLINE, request)
        if outline.opaque:
            raise NotReadyError(without_names(outline.opaque[0].what))
        if outline.statement != "SELECT" or outline.writes or not outline.resolve:
            raise NotReadyError("a text that is no query")
        if is_templated(routine):
            if doubt := doubt_of_templated(routine, outline):
                raise NotReadyError(without_names(doubt))
            return KnownRoutine(routine)
        return await self._resolved(routine, outline, above)

    async def _resolved(self, routine: Routine, outline: Outline, above: Above) -> KnownRoutine:
        scope, _ = await self._objects.scope(outline, above)
        sql = definition(routine, body(routine, outline.sql))
        resolved = await self._objects.of_text(RESOLVE, ResolveRequest(sql, scope))
        if resolved.opaque:
            raise NotReadyError(without_names(resolved.opaque[0].what))
        try:
            here = Translation(sql, sql, lambda at: at)
            found = await self._objects.expanded(Expansion(sql, scope, resolved), here)
        except RefusedError as error:
            raise NotReadyError("a view that cannot be seen through in it") from error
        if any(spelled.table.kind is TableKind.METADATA for spelled in found.scope.tables):
            # INVARIANT: of INFORMATION_SCHEMA nobody reads all rows, and this text stays as it is.
            raise NotReadyError("a text that reads INFORMATION_SCHEMA")
        if any(scan.past for scan in found.resolved.scans):
            # INVARIANT: what a table had once and has no more, no label tells of.
            raise NotReadyError("a text that reads an older state of a table")
        return KnownRoutine(
            _with_types(routine, resolved),
            texts=tuple(_without_output(text) for text in found.texts),
            tables=tuple(spelled.table.id for spelled in found.scope.tables),
            calls=tuple(spelled.routine.id for spelled in found.scope.routines),
        )


def _without_output(text: Resolved) -> Resolved:
    """Say what a text does with columns to whoever calls: what it gives may go no further."""
    columns = (
        msgspec.structs.replace(
            use,
            uses=tuple(
                dict.fromkeys(Use.ARGUMENT if one is Use.OUTPUT else one for one in use.uses)
            ),
        )
        for use in text.columns
    )
    return msgspec.structs.replace(text, columns=tuple(columns))


def _with_types(routine: Routine, resolved: Resolved) -> Routine:
    """Give a routine with the types of its result, declared or as its text gives them now."""
    if routine.kind is not RoutineKind.TABLE_VALUED:
        return msgspec.structs.replace(routine, returns=resolved.output[0].type)
    given = result_schema(resolved.output)
    if routine.columns and _names(routine.columns) != _names(given):
        raise NotReadyError("columns that are not those of its text")
    return msgspec.structs.replace(routine, columns=routine.columns or given)


def _names(columns: Iterable[Field]) -> list[str]:
    return [column.name.lower() for column in columns]
