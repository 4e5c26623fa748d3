"""The names of a statement tied to what they mean: tables, routines, variables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from keystile.model.errors import InvalidQueryError
from keystile.model.schema import TableId
from keystile.sandbox.binding import Question, Scope, routine_id, table_id, temporary_id
from keystile.sandbox.dialect import Callee, Given, replaced
from keystile.sandbox.errors import unsupported
from keystile.sandbox.names import FIND_NAMES, Names, Path
from keystile.sandbox.routines import AGGREGATE, TABLE, Routine

if TYPE_CHECKING:
    from keystile.sandbox.queries import Catalog

_MAX_CALL_DEPTH = 16


class Bound(msgspec.Struct, frozen=True):
    """What a statement's names mean. `names` is the statement with no `@@name` left in it.

    `paths` are the tables by how the statement, or a routine that it calls, spells them; `routines`
    are the called ones that are stored.
    """

    names: Names = Names("", "")
    paths: tuple[tuple[Path, TableId], ...] = ()
    callees: tuple[Callee, ...] = ()
    variables: tuple[Given, ...] = ()
    routines: tuple[TableId, ...] = ()

    @property
    def ids(self) -> dict[Path, TableId]:
        """The tables by their paths."""
        return dict(self.paths)


async def bind(catalog: Catalog, names: Names, question: Question) -> Bound:
    """Find what all names of a statement mean.

    Raises `InvalidQueryError` for a name that cannot be, `NotFoundError` is left to the look-up.
    """
    binder = _Binder(catalog)
    for path in names.paths:
        binder.add(path, binder.table(path, question))
    if names.kind.startswith("AlterTable"):
        target = binder.table(names.target, question)
        if catalog.store.has_table(target):
            binder.add(names.target, target)
    for path in names.calls:
        await binder.call(path, path, question, 0)
    ids = {id_ for _, id_ in binder.paths}
    if len(ids) != len({str(id_).lower() for id_ in ids}):
        raise unsupported("two tables whose names differ by case alone in one query")
    shown, variables = _without_system(names, question)
    return Bound(
        shown,
        tuple(dict.fromkeys(binder.paths)),
        tuple(binder.callees.values()),
        variables,
        tuple(binder.routines),
    )


class _Binder:
    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.paths: list[tuple[Path, TableId]] = []
        self.callees: dict[Path, Callee] = {}
        self.routines: dict[TableId, None] = {}

    def add(self, path: Path, id_: TableId) -> None:
        self.paths.append((path, id_))

    def table(self, path: Path, question: Question) -> TableId:
        temporary = temporary_id(path, question)
        if temporary and self._catalog.store.has_table(temporary):
            return temporary
        return table_id(path, question)

    async def call(self, path: Path, spelled: Path, question: Question, depth: int) -> None:
        """Add the routine that a path calls, with all that its body needs."""
        safe = spelled[1:] if spelled[0].upper() == "SAFE" and len(spelled) > 1 else spelled
        if safe in self.callees:
            return
        routine = self._routine(path, question)
        if routine is None:
            return
        if depth > _MAX_CALL_DEPTH:
            raise InvalidQueryError("functions call each other too deeply")
        self.routines[routine.id] = None
        body = await self._body(routine, question, depth) if routine.is_sql else ""
        self.callees[safe] = Callee(
            safe,
            body,
            routine.arguments,
            routine.returns,
            is_table=routine.kind == TABLE,
            is_aggregate=routine.kind == AGGREGATE,
            opaque=not routine.is_sql,
        )

    def _routine(self, path: Path, question: Question) -> Routine | None:
        store = self._catalog.store
        for id_ in (temporary_id(path, question), routine_id(path, question)):
            if id_ and (found := store.routine(id_)):
                return found
        return None

    async def _body(self, routine: Routine, caller: Question, depth: int) -> str:
        """Spell the tables of a body by their full names, which are found whatever calls it."""
        temporary = routine.id.dataset == caller.scope.dataset
        question = caller if temporary else Question("", routine.id.project)
        is_table = routine.kind == TABLE
        sql = routine.body if is_table else f"SELECT ({routine.body}\n)"
        names = await self._catalog.run(FIND_NAMES, sql)
        ids = {path: self.table(path, question) for path in names.paths}
        edits = {}
        for place in names.places:
            if place.time_sql:
                raise unsupported("FOR SYSTEM_TIME AS OF in a function")
            if place.path in ids:
                alias = "" if place.named else f" AS `{place.path[-1]}`"
                edits[place.start, place.end] = f"`{ids[place.path]}`{alias}"
        for id_ in ids.values():
            self.add((str(id_),), id_)
        for path in names.calls:
            await self.call(path, path, question, depth + 1)
        text = replaced(names.sql, edits)
        return text if is_table else text[len("SELECT (") : -len("\n)")]


def _without_system(names: Names, question: Question) -> tuple[Names, tuple[Given, ...]]:
    """Put a name of the same length in place of each `@@name`, so that all else stays in place."""
    scope: Scope = question.scope
    known = {given.name.lower(): given for given in scope.system}
    edits, made = {}, []
    for at, (start, end, name) in enumerate(names.system):
        if name.lower() not in known:
            raise unsupported(f"the system variable `@@{name}`")
        given = known[name.lower()]
        short = f"${at}"  # a column of it gets no name by it
        edits[start, end] = f"`{short}`".ljust(end - start)
        made.append(Given(short, given.type, given.value))
    sql = replaced(names.sql, edits)
    return msgspec.structs.replace(names, sql=sql), (*scope.variables, *made)
