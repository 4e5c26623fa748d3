"""Row filters as SQL: what a predicate may say, and what it says for one agent.

A predicate is the operator's, and sees the raw values of its table's columns. What it knows of the
agent stands in it as literals.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from keystile.analysis.analysed import Analysed
from keystile.analysis.functions import ALLOWED
from keystile.analysis.mentions import refused
from keystile.analysis.parsing import identifiers, statement_tree
from keystile.analysis.resolve import ResolveRequest, resolved_tree
from keystile.analysis.scope import Scope, fully_spelled
from keystile.analysis.statements import walk_statement
from keystile.analysis.text import Edit, quoted, splice
from keystile.analysis.tree import Span, descendants, kind, span
from keystile.googlesql.engine import Engine
from keystile.googlesql.protos import has, inherited, unwrapped
from keystile.googlesql.task import Task
from keystile.masking.literals import text
from keystile.model.decision import RowFilter
from keystile.model.errors import InvalidQueryError, RefusedError
from keystile.model.schema import RoutineId, Table, TableId

# Chance would show other rows each time; an error that is raised on purpose would tell of rows that
# are not shown.
_UNSOUND = frozenset({"error", "generate_uuid", "rand"})
_IN_PREDICATES = frozenset(
    {"ASTExpressionSubquery", "ASTParameterExpr", "ASTQuery", "ASTSystemVariableExpr"}
)
_CHANGES_ROWS = frozenset({"CREATE_TABLE_AS_SELECT", "DELETE", "MERGE", "TRUNCATE_TABLE", "UPDATE"})
_BEFORE = "SELECT 1 FROM t WHERE ("
_AFTER = "\n)"


class Predicates(msgspec.Struct, frozen=True):
    """The predicates of row filters, to be looked at before any table is known."""

    texts: tuple[str, ...]


class Problems(msgspec.Struct, frozen=True):
    """What is wrong with each predicate; empty for a good one."""

    found: tuple[str, ...]


def problems(engine: Engine, request: Predicates) -> Problems:
    """Say what is wrong with predicates, as far as that shows without their tables."""
    found = []
    for where in request.texts:
        try:
            parsed(engine, where)
        except (InvalidQueryError, RefusedError) as error:
            found.append(error.message)
        else:
            found.append("")
    return Problems(tuple(found))


PROBLEMS = Task(problems, Predicates, Problems)
"""Look at predicates before any table is known."""


def predicate(engine: Engine, table: Table, filters: Iterable[RowFilter], row: str) -> str:
    """Give the condition under which a row of a table, called `row`, is read.

    Raises `RefusedError`, naming the filter, where its predicate is not sound for the table.
    """
    found = []
    for one in filters:
        try:
            found.append(_for_agent(one, parsed(engine, one.where)))
            _check(engine, table, found[-1], row)
        except (InvalidQueryError, RefusedError) as error:
            raise RefusedError(
                f"row filter `{one.rule}` does not fit `{table.id}`: {error.message}",
                hint="show this to the owner of the policy",
            ) from error
    return " AND ".join(_closed(one) for one in found)


def _closed(condition: str) -> str:
    # A comment at its end would swallow the parenthesis.
    return f"({condition}\n)" if "--" in condition or "#" in condition else f"({condition})"


def check(analysed: Analysed, filters: Iterable[RowFilter]) -> None:
    """Raise `RefusedError` where a statement uses rows of a filtered table without reading them."""
    facts = analysed.facts
    filtered = {scan.table for scan in analysed.scans}
    unfiltered: dict[TableId, RoutineId] = {}
    for routine in analysed.scope.routines:
        if routine.masked:  # what a script makes reads only some rows already
            filtered.update(routine.tables)
        else:
            unfiltered |= dict.fromkeys(routine.tables, routine.routine.id)
    places = {call.id: (call.line, call.column) for call in analysed.calls}
    for one in filters:
        table = one.table
        if table in facts.writes and facts.statement in _CHANGES_ROWS:
            _refuse(
                analysed,
                one,
                f"`{facts.statement}` might change others",
                "ask somebody who sees all of them to change it, or insert rows",
            )
        if table in facts.writes and facts.statement == "ALTER_TABLE" and facts.written:
            _refuse(analysed, one, "none of its columns may be renamed")
        if table in analysed.copied:
            _refuse(
                analysed,
                one,
                "it cannot be copied as it is",
                "use CREATE TABLE AS SELECT, which copies the rows that you see",
            )
        read = table in facts.reads or table in facts.wildcards
        if table in unfiltered:
            # Which table it is stands in a text that the agent may not know.
            called = unfiltered[table]
            raise RefusedError(
                f"the routine `{called}` reads a table of which you see only some rows",
                hint="write what the routine does into the query",
                place=places.get(called, (0, 0)),
            )
        if read and table not in filtered:
            _refuse(
                analysed, one, "it is named in a form that cannot be filtered", "name it in FROM"
            )


def _refuse(
    analysed: Analysed, one: RowFilter, why: str, hint: str = "ask whoever owns the table"
) -> None:
    sentence = f"you see only some rows of {{}}, so {why}"
    raise refused(analysed.mentions, one.table, sentence, hint=hint)


def parsed(engine: Engine, where: str) -> Any:
    """Parse one expression over a table's columns, as a statement that has it for its condition.

    Raises `RefusedError` for what is more, or less, and `InvalidQueryError` for what is no SQL.
    """
    statement = statement_tree(engine, f"{_BEFORE}{where}{_AFTER}")
    select = unwrapped(unwrapped(statement.query).query_expr) if has(statement, "query") else None
    if select is None or kind(select) != "ASTSelect" or not _is_all(statement, select):
        raise RefusedError("it is no single condition", hint="write one SQL expression")
    for node in descendants(unwrapped(select.where_clause.expression)):
        if kind(node) in _IN_PREDICATES:
            raise RefusedError(
                "it may use its table's own columns only, no subquery, parameter or variable"
            )
        if kind(node) == "ASTFunctionCall":
            name = ".".join(identifiers(node.function)).lower().removeprefix("safe.")
            if name in _UNSOUND:
                raise RefusedError(f"it may not call `{name.upper()}`")
            if "." in name and name not in ALLOWED:
                raise RefusedError(f"it may not call the routine `{name}`")
    return statement


def _is_all(statement: Any, select: Any) -> bool:
    """Tell whether a text is one pair of parentheses after WHERE, and nothing behind them."""
    query = unwrapped(statement.query)
    plain = {field.name for field, _ in query.ListFields()} <= {
        "parent",
        "query_expr",
        "is_nested",
        "is_pivot_input",
    }
    clauses = {"parent", "distinct", "select_list", "from_clause", "where_clause"}
    alone = {field.name for field, _ in select.ListFields()} == clauses
    return plain and alone and inherited(unwrapped(select.where_clause.expression), "parenthesized")


def _for_agent(one: RowFilter, statement: Any) -> str:
    """Put what is known of the agent into a predicate."""
    values = dict(one.agent)
    sql = f"{_BEFORE}{one.where}{_AFTER}"
    filled = splice(sql, _literals(statement, values))
    return filled.removeprefix(_BEFORE).removesuffix(_AFTER)


def _literals(statement: Any, values: dict[str, str | tuple[str, ...]]) -> Iterator[Edit]:
    for node in descendants(statement):
        if kind(node) != "ASTPathExpression" or identifiers(node)[0].lower() != "agent":
            continue
        first, *rest = identifiers(node)[1:] or ("",)
        word = f"attributes.{rest[0]}" if first.lower() == "attributes" and rest else first.lower()
        place: Span | None = span(node)
        if word not in values or len(rest) != word.startswith("attributes.") or place is None:
            raise RefusedError(f"there is no `{'.'.join(identifiers(node))}`")
        value = values[word]
        # INVARIANT: what an agent's token says never becomes SQL but as the value of a literal.
        if isinstance(value, str):
            yield Edit(*place, text(value))
        else:
            yield Edit(*place, f"ARRAY<STRING>[{', '.join(map(text, value))}]")


def _check(engine: Engine, table: Table, where: str, row: str) -> None:
    """Resolve a predicate against its table alone, and walk it."""
    if any(field.name.lower() == "agent" for field in table.fields):
        raise RefusedError("a column of the table is called `agent`")
    spelled = fully_spelled(table)
    path = ".".join(quoted(part) for part in spelled.path)
    # Names stand in backticks, and the predicate was parsed by itself.
    sql = f"SELECT 1 FROM {path} AS {row} WHERE ({where}\n)"  # noqa: S608
    scope = Scope((spelled,))
    walk = walk_statement(resolved_tree(engine, ResolveRequest(sql, scope)), scope).walk
    if walk.opaque:
        raise RefusedError(f"{next(iter(walk.opaque))} is not understood")
    if unsound := walk.functions & _UNSOUND:
        raise RefusedError(f"it may not call `{min(unsound).upper()}`")
    if len(walk.scans) != 1 or walk.called:
        raise RefusedError("it may read its table only")
