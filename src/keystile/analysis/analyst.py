"""Finds out what a statement does."""

from __future__ import annotations

import asyncio

from keystile.analysis.analysed import Analysed
from keystile.analysis.catalog import ObjectSource
from keystile.analysis.outline import Outline, OutlineRequest
from keystile.analysis.resolve import Resolved, ResolveRequest
from keystile.analysis.schema import result_schema
from keystile.analysis.scope import Scope, SpelledTable, declared
from keystile.analysis.statement import Statement
from keystile.analysis.tasks import OUTLINE, RESOLVE
from keystile.googlesql.task import TaskRunner
from keystile.model.errors import NotFoundError, RefusedError
from keystile.model.facts import Opaque, QueryFacts
from keystile.model.schema import Table, TableId, TableKind

_NO_TABLES = {
    TableKind.VIEW: "view",
    TableKind.MATERIALIZED_VIEW: "materialized view",
    TableKind.OTHER: "external or special table",
}

_NO_FACTS = Resolved(columns=(), output=(), functions=(), opaque=())


class Analyst:
    """Turns statements into facts, with an engine for the SQL and a source for the schemas."""

    def __init__(self, runner: TaskRunner, max_sql_bytes: int) -> None:
        """`max_sql_bytes` bounds the text in UTF-8."""
        self._runner = runner
        self._max_sql_bytes = max_sql_bytes

    async def analyse(self, statement: Statement, source: ObjectSource) -> Analysed:
        """Find out what the statement does; what is not understood is in `facts.opaque`.

        Raises `InvalidQueryError` in GoogleSQL's words where it does not parse or resolve,
        `NotFoundError` where a table of a SELECT is missing, and `RefusedError` where it is too
        long, ambiguous or takes too much to analyse.
        """
        self._check_size(statement.sql)
        request = OutlineRequest(statement.sql, statement.project, statement.dataset)
        outline = await self._runner.run(OUTLINE, request)
        tables, unknown = await _tables(outline, source)
        names = tuple(
            SpelledTable(named.path, tables[named.id])
            for named in outline.named
            if named.id in tables
        )
        scope = Scope(names, parameters=declared(statement.parameters))
        resolved = _NO_FACTS
        if outline.resolve and not unknown:
            resolved = await self._runner.run(RESOLVE, ResolveRequest(outline.sql, scope))
        facts = _facts(outline, resolved, unknown)
        schema = () if facts.opaque or facts.statement != "SELECT" else result_schema(facts.output)
        return Analysed(statement, outline.sql, scope, facts, schema, resolved.scans)

    def _check_size(self, sql: str) -> None:
        size = len(sql.encode())
        if size > self._max_sql_bytes:
            raise RefusedError(
                f"the query is {size:,} bytes long, more than the {self._max_sql_bytes:,} allowed",
                hint="pass long lists as an array parameter",
            )


async def _tables(
    outline: Outline, source: ObjectSource
) -> tuple[dict[TableId, Table], tuple[Opaque, ...]]:
    """Look up every named table, and note those that are no plain tables.

    In other statements than SELECT a missing one is noted, not raised: a statement that policy
    denies is denied whether its tables exist or not.
    """
    named = {table.id: table for table in outline.named}
    found = await asyncio.gather(*(source.table(id_) for id_ in named), return_exceptions=True)
    tables: dict[TableId, Table] = {}
    unknown = []
    for table, answer in zip(named.values(), found, strict=True):
        if isinstance(answer, Table):
            tables[table.id] = answer
            if words := _NO_TABLES.get(answer.kind):
                unknown.append(Opaque(f"{words} `{table.id}`", table.line, table.column))
        elif isinstance(answer, NotFoundError) and outline.statement != "SELECT":
            what = f"table `{table.id}`, which was not found"
            unknown.append(Opaque(what, table.line, table.column))
        else:
            raise answer
    return tables, tuple(unknown)


def _facts(outline: Outline, resolved: Resolved, unknown: tuple[Opaque, ...]) -> QueryFacts:
    return QueryFacts(
        statement=outline.statement,
        actions=outline.actions,
        reads=outline.reads,
        writes=outline.writes,
        columns=resolved.columns,
        output=resolved.output,
        functions=resolved.functions,
        opaque=tuple(dict.fromkeys((*outline.opaque, *unknown, *resolved.opaque))),
    )


__all__ = ["Analysed", "Analyst"]
