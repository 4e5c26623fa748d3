"""Finds out what a statement does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from keystile.analysis.analysed import Analysed, DerivedColumn
from keystile.analysis.catalog import ObjectSource
from keystile.analysis.expansion import Expansion
from keystile.analysis.information_schema import view_of
from keystile.analysis.kinds import SCRIPT
from keystile.analysis.mentions import mentions
from keystile.analysis.objects import Objects
from keystile.analysis.outlined import Outline, OutlineRequest
from keystile.analysis.places import Translation
from keystile.analysis.resolve import Resolved, ResolveRequest
from keystile.analysis.routines import KnownRoutine
from keystile.analysis.schema import result_schema
from keystile.analysis.scope import Scope, SpelledTable, declared
from keystile.analysis.scripts.analysis import Around, analyse_script
from keystile.analysis.scripts.session import analyse_in_session
from keystile.analysis.statement import Statement
from keystile.analysis.tasks import OUTLINE, RESOLVE, WITHOUT
from keystile.analysis.text import unspliced
from keystile.analysis.wildcard import is_wildcard, with_members
from keystile.analysis.without import WithoutRequest
from keystile.googlesql.task import TaskRunner
from keystile.model.errors import InvalidQueryError, RefusedError
from keystile.model.facts import (
    Action,
    ColumnUse,
    Opaque,
    OutputColumn,
    QueryFacts,
    Use,
    ViewReads,
    WrittenColumn,
)
from keystile.model.schema import ColumnRef, Table, TableId, TableKind

_VIEWS = frozenset({"CREATE_MATERIALIZED_VIEW", "CREATE_VIEW"})
_NO_FACTS = Resolved(columns=(), output=(), functions=(), opaque=())


class Analyst:
    """Turns statements into facts, with an engine for the SQL and a source for the schemas."""

    def __init__(self, runner: TaskRunner, max_sql_bytes: int) -> None:
        """`max_sql_bytes` bounds the text in UTF-8, with the texts of its views."""
        self._runner = runner
        self._max_sql_bytes = max_sql_bytes

    async def analyse(self, statement: Statement, source: ObjectSource) -> Analysed:
        """Find out what the statement does; what is not understood is in `facts.opaque`.

        Raises `InvalidQueryError` in GoogleSQL's words where it does not parse or resolve,
        `NotFoundError` where a table of a SELECT is missing, and `RefusedError` where it is too
        long, ambiguous or takes too much to analyse.
        """
        if statement.in_session:
            self._check_size("".join((*(one.sql for one in statement.earlier), statement.sql)))
            return await analyse_in_session(statement, source, self._runner, self._part)
        self._check_size(statement.sql)
        request = OutlineRequest(statement.sql, statement.project, statement.dataset)
        outline = await self._runner.run(OUTLINE, request)
        if outline.statement == SCRIPT.statement:
            return await analyse_script(statement, outline, source, self._runner, self._part)
        return await self._analysed(statement, outline, source, Around(), self._runner)

    async def without(self, sql: str, names: tuple[str, ...]) -> str:
        """Give the query without the result columns that name one of these columns.

        Empty where that cannot be said simply. Raises as `analyse` does.
        """
        return (await self._runner.run(WITHOUT, WithoutRequest(sql, names))).sql

    async def _part(
        self, statement: Statement, source: ObjectSource, around: Around, runner: TaskRunner
    ) -> Analysed:
        """Analyse a statement of a script."""
        request = OutlineRequest(
            statement.sql, statement.project, statement.dataset, around.temporary
        )
        outline = await runner.run(OUTLINE, request)
        return await self._analysed(statement, outline, source, around, runner)

    async def _analysed(
        self,
        statement: Statement,
        outline: Outline,
        source: ObjectSource,
        around: Around,
        runner: TaskRunner,
    ) -> Analysed:
        objects = Objects(runner, source, self._max_sql_bytes)
        tables, unknown = await objects.find(outline)
        unknown += await objects.routines.find(outline)
        names = tuple(
            SpelledTable(named.path, tables[named.id])
            for named in outline.named
            if named.id in tables
        )
        scope = Scope(
            names,
            (*around.routines, *objects.routines.spelled(outline.calls)),
            variables=around.variables,
            parameters=declared(statement.parameters),
            connections=outline.connections,
        )
        found = Expansion(outline.sql, scope, _NO_FACTS)
        if outline.resolve and not unknown:
            places = _places(statement, outline)
            try:
                resolved = await runner.run(RESOLVE, ResolveRequest(outline.sql, scope))
            except InvalidQueryError as error:
                raise places.error(error) from error
            resolved = msgspec.structs.replace(resolved, opaque=places.opaque(resolved.opaque))
            found = Expansion(outline.sql, scope, resolved)
            if not resolved.opaque:
                found = await objects.expanded(found, places)
        called = objects.routines.beneath(
            each.routine.id for each in found.scope.routines if not each.masked
        )
        found = objects.with_tables_of(called, found)
        facts = _facts(outline, objects, found, called, unknown)
        return Analysed(
            statement,
            found.sql,
            found.scope,
            facts,
            () if facts.opaque or facts.statement != "SELECT" else result_schema(facts.output),
            found.resolved.scans,
            _derived(objects, (view.view for view in facts.views)),
            made=tuple(_made(outline, facts)),
            copied=facts.reads if outline.copied else (),
            resolved=outline.resolve,
            routines=tuple(known.routine for known in called),
            calls=outline.calls,
            mentions=tuple(mentions(outline.mentions, facts.views)),
        )

    def _check_size(self, sql: str) -> None:
        try:
            size = len(sql.encode())
        except UnicodeEncodeError as error:
            raise InvalidQueryError("the query is no valid Unicode text") from error
        if size > self._max_sql_bytes:
            raise RefusedError(
                f"the query is {size:,} bytes long, more than the {self._max_sql_bytes:,} allowed",
                hint="pass long lists as an array parameter",
            )


def _places(statement: Statement, outline: Outline) -> Translation:
    """Say the places of the canonical text as those of the agent's own."""
    return Translation(outline.sql, statement.sql, lambda at: unspliced(at, outline.splits))


def _facts(
    outline: Outline,
    objects: Objects,
    found: Expansion,
    called: tuple[KnownRoutine, ...],
    unknown: tuple[Opaque, ...],
) -> QueryFacts:
    own = found.through[0] if found.through else found.resolved
    beneath = {table for known in called for table in known.tables}
    views = _views(objects, {*outline.reads, *beneath})
    by_itself = {*outline.reads, *(t for v in _views(objects, outline.reads) for t in v.reads)}
    tables = {spelled.table.id: spelled.table for spelled in found.scope.tables}
    reads = {
        *outline.reads,
        *beneath,
        *(table for view in views for table in view.reads),
        # INVARIANT: a target is read as well where any value of it is used.
        *(use.column.table for use in own.columns),
        *(scan.table for scan in own.scans),
    }
    metadata = {id_ for id_ in reads if view_of(id_)}
    return QueryFacts(
        statement=outline.statement,
        actions=_actions(outline, called),
        reads=with_members(reads - metadata, tables),
        writes=outline.writes,
        columns=_columns((*found.texts, *(text for known in called for text in known.texts))),
        output=_output(found.texts),
        functions=found.resolved.functions,
        opaque=tuple(dict.fromkeys((*outline.opaque, *unknown, *own.opaque))),
        wildcards=tuple(sorted(id_ for id_ in reads if is_wildcard(id_))),
        metadata=tuple(sorted(metadata)),
        views=views,
        unseen=outline.unseen,
        written=(*outline.renamed, *found.resolved.written, *_filled(outline, found.resolved)),
        uris=outline.uris,
        connections=(
            *(".".join(path) for path in outline.connections),
            *dict.fromkeys(known.routine.remote for known in called if known.routine.remote),
        ),
        redefined=outline.redefined,
        lineage=tuple(_lineage(outline, found)),
        anew=outline.anew,
        routines=tuple(known.routine.id for known in called),
        through_routines=with_members(beneath - by_itself, tables),
    )


def _actions(outline: Outline, called: tuple[KnownRoutine, ...]) -> tuple[Action, ...]:
    """Add what calling routines is, where nobody here reads their texts."""
    found = {*outline.actions, *(known.action for known in called)}
    return tuple(action for action in Action if action in found)


def _filled(outline: Outline, resolved: Resolved) -> Iterator[WrittenColumn]:
    """Give the columns of a table that CREATE OR REPLACE … AS SELECT fills anew.

    A view has none: OR REPLACE puts it in the place of another view and, at BigQuery, of nothing
    else, so that all values that either reads stay where they are. What is written from it later
    derives from what its text reads, masked or not.
    """
    if outline.replaces and outline.statement not in _VIEWS:
        for table in outline.writes:
            for column in resolved.output:
                yield WrittenColumn(ColumnRef(table, (column.name,)), column.sources)


def _lineage(outline: Outline, found: Expansion) -> Iterator[WrittenColumn]:
    """Give what each column that is written derives from, by every text that says so."""
    yield from outline.renamed
    makes_table = outline.statement == "CREATE_TABLE_AS_SELECT"
    for text in found.texts:
        yield from text.written
        for table in outline.writes if makes_table else ():
            for column in text.output:
                ref = ColumnRef(table, (column.name,))
                yield WrittenColumn(ref, column.sources, column.same)


def _made(outline: Outline, facts: QueryFacts) -> Iterator[Table]:
    """Give a table that takes the place of one there may be, as it will be.

    Labels may fit its columns by their names, so that a mask over what was there is noticed.
    """
    if outline.replaces and facts.output and not facts.opaque:
        for id_ in facts.unseen:
            yield Table(id_, TableKind.TABLE, result_schema(facts.output), "")


def _views(objects: Objects, tables: Iterable[TableId]) -> tuple[ViewReads, ...]:
    """Give every view that is read, and those that they read in turn."""
    found: dict[TableId, ViewReads] = {}
    waiting = list(tables)
    while waiting:
        table = waiting.pop()
        if table not in found and objects.view(table) is not None:
            found[table] = ViewReads(table, objects.beneath(table))
            waiting += found[table].reads
    return tuple(found[table] for table in sorted(found))


def _columns(texts: tuple[Resolved, ...]) -> tuple[ColumnUse, ...]:
    """Unite the uses of tables' columns with those of views', each from the text that names it.

    A text in which a view still is a table has all uses of its columns; what it says of tables the
    last text says again.
    """
    uses: dict[ColumnRef, set[Use]] = {}
    for use in (use for text in texts for use in text.columns):
        uses.setdefault(use.column, set()).update(use.uses)
    order = list(Use)
    return tuple(
        ColumnUse(column, tuple(sorted(uses[column], key=order.index))) for column in sorted(uses)
    )


def _output(texts: tuple[Resolved, ...]) -> tuple[OutputColumn, ...]:
    return tuple(
        msgspec.structs.replace(
            columns[-1], sources=tuple(sorted({ref for c in columns for ref in c.sources}))
        )
        for columns in zip(*(text.output for text in texts), strict=True)
    )


def _derived(objects: Objects, views: Iterable[TableId]) -> tuple[DerivedColumn, ...]:
    return tuple(
        DerivedColumn(ColumnRef(view, (column.name,)), column.sources)
        for view in views
        if (text := objects.view(view)) is not None
        for column in text.output
    )


__all__ = ["Analysed", "Analyst"]
