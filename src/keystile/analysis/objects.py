"""The tables that one statement names, and its views with everything beneath them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable

import msgspec

from keystile.analysis import names
from keystile.analysis.beneath import (
    DEEPEST,
    Above,
    NotReadyError,
    too_deep,
    what_of,
    within,
    without_names,
)
from keystile.analysis.callees import Callees
from keystile.analysis.catalog import ObjectSource
from keystile.analysis.expansion import Expansion
from keystile.analysis.outlined import NamedTable, Outline, OutlineRequest
from keystile.analysis.places import Translation
from keystile.analysis.resolve import Resolved, ResolveRequest
from keystile.analysis.routines import KnownRoutine
from keystile.analysis.scope import Scope, SpelledTable, fully_spelled
from keystile.analysis.tasks import EXPAND, OUTLINE, RESOLVE, VIEW_TEXT
from keystile.analysis.views import ExpandRequest, ViewReference, ViewRequest, ViewText
from keystile.analysis.wildcard import look_up
from keystile.googlesql.task import AnswerT, RequestT, Task, TaskRunner
from keystile.model.errors import InvalidQueryError, NotFoundError, RefusedError
from keystile.model.facts import Opaque
from keystile.model.schema import RoutineId, Table, TableId, TableKind

VIEWS = frozenset({TableKind.VIEW, TableKind.MATERIALIZED_VIEW})

_SPELLING = "check how its name is spelled: upper and lower case matter"
_OTHER_VIEW = "read tables or other views, or ask the view's owner to write it in another way"


class _Ready(msgspec.Struct, frozen=True):
    """A view made ready. `table` has the columns that its text gives now, `calls` its routines."""

    table: Table
    text: ViewText
    calls: tuple[RoutineId, ...]
    depth: int


class Objects:
    """Looks up the tables of one statement.

    INVARIANT: what lies beneath a view is named in the facts and nowhere else: who may read the
    view need not know its text.
    """

    def __init__(self, runner: TaskRunner, source: ObjectSource, max_sql_bytes: int) -> None:
        """Ask `source` for tables and let `runner` make the texts of views ready.

        `max_sql_bytes` bounds a statement with the texts of its views.
        """
        self._max_sql_bytes = max_sql_bytes
        self._runner = runner
        self._source = source
        self._views: dict[TableId, _Ready] = {}
        self._tables: dict[TableId, Table] = {}
        self._outline: Outline | None = None
        self.routines = Callees(source, self)

    async def find(self, outline: Outline) -> tuple[dict[TableId, Table], tuple[Opaque, ...]]:
        """Look up every named table, and note those that are not understood.

        In other statements than SELECT a missing one is noted, not raised: a statement that policy
        denies is denied whether its tables exist or not.
        """
        self._outline = outline
        named = {table.id: table for table in outline.named}
        looking = (look_up(self._source, id_) for id_ in named)
        answers = await asyncio.gather(*looking, return_exceptions=True)
        tables: dict[TableId, Table] = {}
        unknown = []
        for table, answer in zip(named.values(), answers, strict=True):
            if isinstance(answer, Table):
                tables[table.id], doubt = await self._understood(answer, table, outline)
            elif isinstance(answer, NotFoundError) and outline.statement != "SELECT":
                doubt = Opaque(f"table `{table.id}`, which was not found", hint=_SPELLING)
            elif isinstance(answer, NotFoundError | RefusedError):
                raise answer.at((table.line, table.column))
            else:
                raise answer
            if doubt:
                placed = msgspec.structs.replace(doubt, line=table.line, column=table.column)
                unknown.append(placed)
        return tables, tuple(unknown)

    async def expanded(self, statement: Expansion, places: Translation) -> Expansion:
        """Put the texts of views in the place of their names, until there are none.

        `places` says those of the statement as the agent's own. Raises `RefusedError` where that
        changes what the statement reads.
        """
        expansion = statement
        while any(scan.table in self._views for scan in expansion.resolved.scans):
            expansion = await self._one_level(expansion, places)
        if _shape(expansion.resolved) != _shape(statement.resolved):
            raise self._hidden_names()
        if expansion.resolved.opaque:
            raise self._hidden_form()
        return expansion

    def with_tables_of(self, called: Iterable[KnownRoutine], found: Expansion) -> Expansion:
        """Give a statement with what the texts of routines read among its tables.

        It is decided on like all that the statement reads itself.
        """
        ids = {id_ for known in called for id_ in known.tables}
        return msgspec.structs.replace(found, scope=self._with_tables(found.scope, ids))

    def beneath(self, table: TableId) -> tuple[TableId, ...]:
        """Give what a view's text names, itself not among it; nothing for a table."""
        view = self._views.get(table)
        return tuple(sorted(set(view.text.scans))) if view else ()

    def view(self, table: TableId) -> ViewText | None:
        """Give the text of a view that was made ready; None for a table."""
        view = self._views.get(table)
        return view.text if view else None

    async def _one_level(self, before: Expansion, places: Translation) -> Expansion:
        references = tuple(
            ViewReference(scan, self._views[scan.table].text.sql)
            for scan in before.resolved.scans
            if scan.table in self._views
        )
        try:
            text = await self._run(EXPAND, ExpandRequest(before.sql, references))
        except RefusedError as error:
            raise (self._hidden_form() if before.through else places.error(error)) from error
        if len(text.sql.encode()) > self._max_sql_bytes:
            raise RefusedError(
                f"the query is longer than {self._max_sql_bytes:,} bytes with the texts of its"
                " views",
                hint="read fewer views at once",
                place=self._first_view(),
            )
        expected = Counter(scan.table for scan in before.resolved.scans)
        for reference in references:
            expected[reference.scan.table] -= 1
            expected.update(self._views[reference.scan.table].text.scans)
        scope = self._with_beneath(before.scope, references)
        try:
            resolved = await self._run(RESOLVE, ResolveRequest(text.sql, scope))
        except InvalidQueryError as error:
            raise self._hidden_names() from error
        if Counter(scan.table for scan in resolved.scans) != +expected:
            # INVARIANT: a name of the query, such as an alias that is called like the project, has
            # not taken the place of a table of the view.
            raise self._hidden_names()
        return Expansion(text.sql, scope, resolved, (*before.through, before.resolved))

    def _with_beneath(self, scope: Scope, references: tuple[ViewReference, ...]) -> Scope:
        ids = {id_ for reference in references for id_ in self.beneath(reference.scan.table)}
        scope = self._with_tables(scope, ids)
        calls = {id_ for reference in references for id_ in self._views[reference.scan.table].calls}
        called = (*scope.routines, *self.routines.in_full(sorted(calls)))
        routines = tuple({spelled.path: spelled for spelled in called}.values())
        names.check_cases(
            {path for one in routines for path in (one.path, one.routine.id.path)},
            lambda _: self._first_view(),
        )
        return msgspec.structs.replace(scope, routines=routines)

    def _with_tables(self, scope: Scope, ids: Iterable[TableId]) -> Scope:
        more = tuple(fully_spelled(self._tables[id_]) for id_ in sorted(ids))
        tables = tuple({spelled.path: spelled for spelled in (*scope.tables, *more)}.values())
        # Two that differ by case alone the catalog takes for one, however each is spelled.
        try:
            names.check_cases(
                {
                    path
                    for spelled in tables
                    for path in (spelled.path, fully_spelled(spelled.table).path)
                },
                lambda _: self._first_view(),
            )
        except RefusedError as error:
            raise RefusedError(
                "the views of this query read tables whose names differ by upper and lower case"
                " only, or differ so from those that it reads itself",
                hint="read them in queries of their own",
                place=error.place,
            ) from None
        return msgspec.structs.replace(scope, tables=tables)

    async def _understood(
        self, table: Table, named: NamedTable, outline: Outline
    ) -> tuple[Table, Opaque | None]:
        """Give the table as it is read, and what of it is not understood."""
        if table.kind is TableKind.OTHER:
            hint = "read a table whose rows lie in BigQuery"
            return table, Opaque(f"external or special table `{table.id}`", hint=hint)
        if table.kind not in VIEWS or not outline.resolve:
            return table, None
        if named.id in outline.writes:
            return table, Opaque(f"view `{table.id}` as a target", hint="change a table")
        try:
            return (await self._ready(table, ())).table, None
        except NotReadyError as error:
            return table, Opaque(f"view `{table.id}`{what_of(error)}", hint=_OTHER_VIEW)
        except NotFoundError as error:
            raise RefusedError(
                f"the view `{table.id}` reads a table that you may not read, or that is gone",
                hint="ask the view's owner, or for access to what it reads",
                place=(named.line, named.column),
            ) from error

    async def _ready(self, view: Table, above: Above) -> _Ready:
        beneath = within(above, view.id)
        if view.id not in self._views:
            self._views[view.id] = await self._made_ready(view, beneath)
        ready = self._views[view.id]
        if len(above) + ready.depth > DEEPEST:
            raise too_deep()
        return ready

    async def _made_ready(self, view: Table, above: Above) -> _Ready:
        request = OutlineRequest(view.view_query, view.id.project, "")
        outline = await self.of_text(OUTLINE, request)
        if outline.opaque:
            raise NotReadyError(without_names(outline.opaque[0].what))
        if outline.statement != "SELECT" or outline.writes or not outline.resolve:
            raise NotReadyError("a text that is no query")
        scope, depth = await self.scope(outline, above)
        text = await self.of_text(VIEW_TEXT, ViewRequest(outline.sql, scope, view.fields))
        if text.doubt:
            raise NotReadyError(without_names(text.doubt))
        calls = tuple(call.id for call in outline.calls)
        return _Ready(msgspec.structs.replace(view, fields=text.fields), text, calls, depth)

    async def scope(self, outline: Outline, above: Above) -> tuple[Scope, int]:
        """Give what the names in the text of a view or a routine mean, and how deep it goes.

        All that lies beneath it is made ready. Raises `NotReadyError` and `NotFoundError`.
        """
        depth = 1
        for named in outline.named:
            table = await look_up(self._source, named.id)
            if table.kind is TableKind.OTHER:
                raise NotReadyError("an external or special table")
            if table.kind in VIEWS:
                ready = await self._ready(table, above)
                table, depth = ready.table, max(depth, ready.depth + 1)
            self._tables[named.id] = table
        for call in outline.calls:
            await self.routines.known(call.id, above)
        tables = (SpelledTable(named.path, self._tables[named.id]) for named in outline.named)
        return Scope(tuple(tables), routines=self.routines.spelled(outline.calls)), depth

    async def of_text(self, task: Task[RequestT, AnswerT], request: RequestT) -> AnswerT:
        """Run a task on the text of a view or a routine. Raises `NotReadyError`."""
        # The engine's words quote the view's text, which the agent may not know.
        try:
            return await self._run(task, request)
        except InvalidQueryError as error:
            raise NotReadyError("a text that is not valid, or no longer") from error
        except RefusedError as error:
            raise NotReadyError("") from error

    def _hidden_names(self) -> RefusedError:
        return RefusedError(
            "a name of this query takes the place of a name in the text of a view that it reads",
            hint="choose other aliases, not the name of a project",
            place=self._first_view(),
        )

    def _hidden_form(self) -> RefusedError:
        return RefusedError(
            "a view of this query reads another view in a form that is not understood",
            hint=_OTHER_VIEW,
            place=self._first_view(),
        )

    def _first_view(self) -> tuple[int, int]:
        """Give the place where the agent's text names a view first."""
        named = self._outline.named if self._outline else ()
        return min(
            ((one.line, one.column) for one in named if one.id in self._views), default=(0, 0)
        )

    async def _run(self, task: Task[RequestT, AnswerT], request: RequestT) -> AnswerT:
        return await self._runner.run(task, request)


def _shape(resolved: Resolved) -> list[tuple[str, object]]:
    return [(column.name, column.type) for column in resolved.output]
