"""Views as the texts that they stand for.

A reference to a view becomes its text in parentheses, so that analysis, masks and proof see tables
only. The text is made ready once: resolved by itself, with every table spelled in full, so that no
name of the query around it can take the place of one of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from keystile.analysis.calls import called, in_full
from keystile.analysis.parsing import identifiers, statement_tree
from keystile.analysis.places import line_and_column
from keystile.analysis.resolve import Resolved, ResolveRequest, Scan, resolve
from keystile.analysis.schema import result_schema
from keystile.analysis.scope import Scope
from keystile.analysis.text import Edit, quoted, splice, written
from keystile.analysis.tree import Span, descendants, kind, span
from keystile.googlesql.engine import Engine
from keystile.googlesql.protos import has, inherited
from keystile.model.errors import InvalidQueryError, RefusedError
from keystile.model.facts import OutputColumn
from keystile.model.schema import Field, TableId


class ViewRequest(msgspec.Struct, frozen=True):
    """A view's query in canonical spelling, what its names mean, and its columns at BigQuery."""

    sql: str
    scope: Scope
    fields: tuple[Field, ...]


class ViewText(msgspec.Struct, frozen=True):
    """A view ready to stand in another query.

    `sql` is a query that gives the view's columns, `fields`, in their order; `output` says what
    they derive from. `scans` are the tables and views that it reads, one for each reference. Where
    `doubt` says what is not understood, the rest is empty.
    """

    sql: str = ""
    fields: tuple[Field, ...] = ()
    output: tuple[OutputColumn, ...] = ()
    scans: tuple[TableId, ...] = ()
    doubt: str = ""


class ViewReference(msgspec.Struct, frozen=True):
    """A place that names a view, and the query to put there."""

    scan: Scan
    sql: str


class ExpandRequest(msgspec.Struct, frozen=True):
    """A statement in canonical spelling, and the views that it reads."""

    sql: str
    references: tuple[ViewReference, ...]


class ExpandedText(msgspec.Struct, frozen=True):
    """The same statement with the views' texts in the place of their names."""

    sql: str


def view_text(engine: Engine, request: ViewRequest) -> ViewText:
    """Make a view's text ready.

    Raises `InvalidQueryError` where it does not resolve against the tables as they are now.
    """
    resolved = resolve(engine, ResolveRequest(request.sql, request.scope))
    if resolved.opaque:
        return ViewText(doubt=resolved.opaque[0].what)
    given = result_schema(resolved.output)
    fields = _columns(given, request.fields)
    if fields is None:
        return ViewText(doubt="columns that are not those of its text")
    inner = _in_full(request, statement_tree(engine, request.sql), resolved.scans)
    ready = ViewText(
        sql=_naming(fields, given, inner),
        fields=fields,
        output=tuple(
            OutputColumn(field.name, column.type, column.sources)
            for field, column in zip(fields, resolved.output, strict=True)
        ),
        scans=tuple(scan.table for scan in resolved.scans),
    )
    return ready if _says_the_same(engine, request.scope, ready, resolved) else _UNCLEAR


# Names that BigQuery gives to columns that the text leaves without one.
_MADE_UP = re.compile(r"f\d+_|.*_\d+", re.DOTALL)
_UNCLEAR = ViewText(doubt="text that does not stand for a table")


def expand(engine: Engine, request: ExpandRequest) -> ExpandedText:
    """Put the views' texts in. Raises `RefusedError` where a reference has no place for one."""
    tree = statement_tree(engine, request.sql)
    wanted = {Span(r.scan.start, r.scan.end): r for r in request.references}
    edits = [
        _edit(request.sql, node, reference)
        for node in _table_paths(tree)
        if (reference := wanted.pop(span(node.path_expr) or Span(-1, -1), None))
    ]
    if wanted:
        scan = next(iter(wanted.values())).scan
        raise RefusedError(
            f"the view `{scan.table}` is named in a form that is not understood",
            hint="name it in a FROM clause",
            place=line_and_column(request.sql, scan.start),
        )
    return ExpandedText(splice(request.sql, edits))


def _edit(sql: str, node: Any, reference: ViewReference) -> Edit:
    odd = {
        "a hint": has(node, "hint"),
        "WITH OFFSET": has(node, "with_offset"),
        "FOR SYSTEM_TIME": has(node, "for_system_time"),
        "TABLESAMPLE": any(
            kind(inner) == "ASTSampleClause"
            for operator in inherited(node, "postfix_operators")
            for inner in descendants(operator)
        ),
    }
    for what, is_there in odd.items():
        if is_there:
            raise RefusedError(
                f"the view `{reference.scan.table}` cannot be read with {what}",
                hint="leave that out",
                place=line_and_column(sql, reference.scan.start),
            )
    alias = "" if has(node, "alias") else f" AS {quoted(identifiers(node.path_expr)[-1])}"
    return Edit(reference.scan.start, reference.scan.end, f"({reference.sql}){alias}")


def _in_full(request: ViewRequest, tree: Any, scans: Iterable[Scan]) -> str:
    """Give the query alone, without what stands around it, tables and routines spelled in full.

    INVARIANT: a path of three parts is neither a common table expression nor, where the count of
    reads stays the same, a column of some range variable of the query around it.
    """
    sql = request.sql
    tables = {Span(scan.start, scan.end): scan.table for scan in scans}
    whole = span(tree) or Span(0, len(sql.encode()))
    edits = [Edit(0, whole.start, ""), Edit(whole.end, len(sql.encode()), "")]
    for node in _table_paths(tree):
        table = tables.pop(place := span(node.path_expr) or Span(-1, -1), None)
        # An alias that is not written is the path's last name, so that one must stay as it is.
        if table and identifiers(node.path_expr)[-1] == table.table:
            full = (table.project, table.dataset, table.table)
            edits.append(Edit(*place, ".".join(quoted(part) for part in full)))
        elif table:
            tables[place] = table
    routines = {spelled.path: spelled.routine.id for spelled in request.scope.routines}
    edits += [in_full(node, routines[path]) for node in descendants(tree) if (path := called(node))]
    if tables:
        raise InvalidQueryError("a table of the view is named in a form that is not understood")
    return splice(sql, edits)


def _table_paths(tree: Any) -> Iterable[Any]:
    for node in descendants(tree):
        if kind(node) == "ASTTablePathExpression" and has(node, "path_expr"):
            yield node


def _columns(given: tuple[Field, ...], stored: tuple[Field, ...]) -> tuple[Field, ...] | None:
    """Give the view's columns by what its text gives now and what BigQuery stored of them.

    BigQuery goes by the text when tables beneath have changed since, so what it stored may be out
    of date. Other names in the same places are those of `CREATE VIEW v (a, b)`.
    """
    types = [field.sql_type for field in given]
    if _names(given) != _names(stored) and types == [field.sql_type for field in stored]:
        return stored
    if not _is_within(_names(stored), _names(given)) and not _is_within(
        _names(given), _names(stored)
    ):
        return None
    known = {field.name.lower(): field for field in stored}
    same = ((field, known.get(field.name.lower())) for field in given)
    return tuple(field if old is None else _kept(field, old) for field, old in same)


def _kept(field: Field, old: Field) -> Field:
    """Give a column as its text gives it now, with what was said of it."""
    if old.sql_type == field.sql_type:
        return old
    return msgspec.structs.replace(field, description=old.description, policy_tags=old.policy_tags)


def _names(fields: Iterable[Field]) -> list[str]:
    return [field.name.lower() for field in fields]


def _is_within(some: list[str], all_: list[str]) -> bool:
    """Tell whether `some` are names of `all_` in the same order."""
    rest = iter(all_)
    return all(name in rest for name in some)


def _naming(fields: tuple[Field, ...], given: tuple[Field, ...], inner: str) -> str:
    """Give a query of the columns by their names."""
    if _names(fields) != _names(given) or any(_MADE_UP.fullmatch(name) for name in _names(given)):
        # A set operation takes its names from its first query.
        nulls = ", ".join(
            f"CAST(NULL AS {written(field.sql_type)}) AS {quoted(field.name)}" for field in fields
        )
        inner = f"(SELECT {nulls} LIMIT 0) UNION ALL ({inner}\n)"
    columns = ", ".join(quoted(field.name) for field in fields)
    # Names stand in backticks, and the text is a whole query that was parsed by itself.
    return f"SELECT {columns} FROM ({inner}\n)"  # noqa: S608


def _says_the_same(engine: Engine, scope: Scope, ready: ViewText, resolved: Resolved) -> bool:
    request = ResolveRequest(ready.sql, scope.in_full())
    again = resolve(engine, request)
    return (
        not again.opaque
        and sorted(scan.table for scan in again.scans) == sorted(ready.scans)
        and [(c.name, c.type) for c in again.output] == [(c.name, c.type) for c in ready.output]
        and [c.sources for c in again.output] == [c.sources for c in resolved.output]
    )
