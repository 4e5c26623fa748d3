"""Puts the names that BigQuery knows in the place of names that only the gateway gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from keystile.analysis.parsing import identifiers, statement_tree
from keystile.analysis.resolve import Resolved, ResolveRequest, resolve
from keystile.analysis.scope import Scope, fully_spelled
from keystile.analysis.text import Edit, quoted, splice
from keystile.analysis.tree import Span, descendants, kind, span
from keystile.googlesql.engine import Engine
from keystile.googlesql.protos import has
from keystile.googlesql.task import Task
from keystile.model.errors import RefusedError
from keystile.model.facts import OutputColumn
from keystile.model.schema import ColumnRef, TableId


class Place(msgspec.Struct, frozen=True):
    """A table by the name that a text has for it, and by the name that it has at BigQuery."""

    named: TableId
    at: TableId


class MoveRequest(msgspec.Struct, frozen=True):
    """A query, what its names mean, and the tables that lie elsewhere."""

    sql: str
    scope: Scope
    places: tuple[Place, ...]


class MovedText(msgspec.Struct, frozen=True):
    """The query with the names that BigQuery knows."""

    sql: str


def moved(engine: Engine, request: MoveRequest) -> MovedText:
    """Name tables as BigQuery does, and prove that the query is otherwise the same.

    Raises `RefusedError` where a name stands in a form that cannot be replaced.
    """
    places = {place.named: place.at for place in request.places}
    before = resolve(engine, ResolveRequest(request.sql, request.scope))
    wanted = {Span(s.start, s.end): places[s.table] for s in before.scans if s.table in places}
    edits: list[Edit] = []
    for node in descendants(statement_tree(engine, request.sql)):
        if kind(node) == "ASTTablePathExpression" and has(node, "path_expr"):
            place = span(node.path_expr)
            if place and (target := wanted.pop(place, None)):
                edits += _edits(node, place, target)
    if wanted:
        raise _not_movable()
    sql = splice(request.sql, edits)
    after = resolve(engine, ResolveRequest(sql, _moved_scope(request.scope, places)))
    # INVARIANT: the same columns of the same tables, used and put out alike.
    if _meaning(after, {}) != _meaning(before, places):
        raise _not_movable()
    return MovedText(sql)


MOVE = Task(moved, MoveRequest, MovedText)
"""Name tables as BigQuery does."""


def _edits(node: Any, place: Span, target: TableId) -> Iterator[Edit]:
    path = ".".join(map(quoted, (target.project, target.dataset, target.table)))
    alias = "" if has(node, "alias") else f" AS {quoted(identifiers(node.path_expr)[-1])}"
    yield Edit(*place, f"{path}{alias}")


def _moved_scope(scope: Scope, places: Mapping[TableId, TableId]) -> Scope:
    tables = []
    for spelled in scope.tables:
        if at := places.get(spelled.table.id):
            tables.append(fully_spelled(msgspec.structs.replace(spelled.table, id=at)))
        else:
            tables.append(spelled)
    once = {spelled.path: spelled for spelled in tables}
    return msgspec.structs.replace(scope, tables=tuple(once.values()))


def _meaning(resolved: Resolved, places: Mapping[TableId, TableId]) -> tuple[object, ...]:
    def there(ref: ColumnRef) -> ColumnRef:
        return ColumnRef(places.get(ref.table, ref.table), ref.path)

    def put_out(column: OutputColumn) -> tuple[object, ...]:
        return column.name, column.type, sorted(map(there, column.sources))

    return (
        sorted((there(use.column), use.uses) for use in resolved.columns),
        [put_out(column) for column in resolved.output],
        sorted((one.column, sorted(map(there, one.sources))) for one in resolved.written),
        sorted(places.get(scan.table, scan.table) for scan in resolved.scans),
        resolved.functions,
        resolved.opaque,
    )


def _not_movable() -> RefusedError:
    return RefusedError(
        "the result of an earlier query is named in a form that is not understood",
        hint="name it in a FROM clause, or run the earlier query again as a subquery",
    )
