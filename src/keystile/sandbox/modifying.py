"""DML as queries: each change becomes a SELECT of the rows and values that it writes.

The engine's own evaluator of DML knows no MERGE and loses rows without a primary key, so each
statement is taken apart along its syntax tree. Rows of the target are named by `ROW`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from keystile.googlesql import protos
from keystile.googlesql.engine import Engine
from keystile.googlesql.task import Task
from keystile.model.errors import InvalidQueryError
from keystile.model.schema import SqlType
from keystile.sandbox.casts import assigned_sql
from keystile.sandbox.dialect import Column, place
from keystile.sandbox.errors import unsupported
from keystile.sandbox.names import parse, path_of

ROW = "_keystile_row"
"""The pseudo column that numbers the target's rows."""

INSERT, UPDATE, DELETE = "INSERT", "UPDATE", "DELETE"

# `ASTMergeWhenClause.match_type` and `ASTMergeAction.action_type`.
_MATCHED, _ONLY_TARGET, _ONLY_SOURCE = 1, 2, 3
_MERGE_INSERT, _MERGE_UPDATE, _MERGE_DELETE = 1, 2, 3


class Modification(msgspec.Struct, frozen=True):
    """A DML statement, its target's columns with the pseudo columns last, and their defaults."""

    sql: str
    columns: tuple[Column, ...]
    hidden: int = 0
    defaults: dict[str, str] = {}


class Step(msgspec.Struct, frozen=True):
    """Rows to insert, update or delete: `sql` gives, but for INSERT, first the row's number.

    `columns` are the target's columns that the other columns of the result are for, in order.
    `matched` says that one row may come only once.
    """

    action: str
    sql: str
    columns: tuple[str, ...] = ()
    matched: bool = False


class Steps(msgspec.Struct, frozen=True):
    """All changes of one statement; they are found first and made together."""

    steps: tuple[Step, ...]


def compose(engine: Engine, modification: Modification) -> Steps:
    """Take a resolved DML statement apart. Raises `InvalidQueryError` for what is not had."""
    parsed = parse(engine, modification.sql)
    (wrapped,) = parsed.statement_list_node.statement_list
    composer = _Composer(protos.unwrapped(wrapped), modification)
    return Steps(tuple(composer.steps()))


class _Composer:
    def __init__(self, statement: Any, modification: Modification) -> None:
        self._statement = statement
        self._data = modification.sql.encode()
        self._types = {name.lower(): type_ for name, type_ in modification.columns}
        shown = modification.columns[: len(modification.columns) - modification.hidden]
        self._shown = tuple(name for name, _ in shown)
        self._names = {name.lower(): name for name, _ in modification.columns}
        self._defaults = {name.lower(): sql for name, sql in modification.defaults.items()}
        path = statement.target_path
        given = protos.has(statement, "alias")
        self._alias = statement.alias.identifier.id_string if given else path_of(path)[-1]
        self._target = f"{self._text(path)} AS `{self._alias}`"
        self._row = f"`{self._alias}`.{ROW}"

    def steps(self) -> Iterator[Step]:
        for field in ("returning", "assert_rows_modified", "on_conflict", "offset_alias"):
            if protos.has(self._statement, field):
                raise unsupported(f"{field.replace('_', ' ').upper()} in DML")
        kind = self._statement.DESCRIPTOR.name
        if kind == "ASTInsertStatementProto":
            yield self._insert()
        elif kind == "ASTUpdateStatementProto":
            yield self._update()
        elif kind == "ASTDeleteStatementProto":
            where = self._where()
            sql = f"SELECT {self._row} FROM {self._target} WHERE {where}"  # noqa: S608  # the text's own
            yield Step(DELETE, sql)
        elif kind == "ASTMergeStatementProto":
            yield from self._merge()
        else:
            raise unsupported(f"DML of the kind {kind}")

    def _text(self, node: Any) -> str:
        start, end = place(protos.unwrapped(node) or node)
        return self._data[start:end].decode()

    def _where(self) -> str:
        return f"({self._text(self._statement.where)})"

    def _insert(self) -> Step:
        statement = self._statement
        columns = self._insert_columns(statement, "column_list")
        if protos.has(statement, "query"):
            return Step(INSERT, self._text(statement.query), columns)
        rows = (f"SELECT {self._row_values(row, columns)}" for row in statement.rows.rows)
        return Step(INSERT, " UNION ALL ".join(rows), columns)

    def _insert_columns(self, node: Any, field: str) -> tuple[str, ...]:
        if not protos.has(node, field):
            return self._shown
        names = protos.inherited(node, field).identifiers
        return tuple(self._names[name.id_string.lower()] for name in names)

    def _row_values(self, row: Any, columns: Sequence[str]) -> str:
        if not row.values:  # INSERT ROW
            return "*"
        pairs = zip(row.values, columns, strict=True)
        return ", ".join(self._value(value, name) for value, name in pairs)

    def _value(self, node: Any, column: str) -> str:
        if protos.unwrapped(node).DESCRIPTOR.name == "ASTDefaultLiteralProto":
            return f"({self._defaults.get(column.lower(), 'NULL')})"
        return assigned_sql(f"({self._text(node)})", self._types[column.lower()])

    def _update(self) -> Step:
        statement = self._statement
        columns, values = self._assignments(statement.update_item_list)
        tables = self._target
        if protos.has(statement, "from_clause"):
            tables += f", {self._text(statement.from_clause.table_expression)}"
        select = ", ".join((self._row, *values))
        sql = f"SELECT {select} FROM {tables} WHERE {self._where()}"  # noqa: S608  # the text's own
        return Step(UPDATE, sql, columns, matched=True)

    def _assignments(self, items: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Give the columns that are set and the expressions of their new values."""
        set_: dict[str, dict[tuple[str, ...], str]] = {}
        for item in items.update_items:
            if not item.HasField("set_value"):
                raise unsupported("DML on the elements of an array")
            path, value = item.set_value.path, item.set_value.value
            if protos.unwrapped(path).DESCRIPTOR.name != "ASTPathExpressionProto":
                raise unsupported("an assignment to a part of an array")
            names = path_of(protos.unwrapped(path))
            if names[0].lower() == self._alias.lower() and len(names) > 1:
                names = names[1:]
            column = self._names[names[0].lower()]
            parts = tuple(name.lower() for name in names[1:])
            type_ = self._types[column.lower()]
            for part in parts:
                type_ = next(inner for name, inner in type_.fields if name.lower() == part)
            is_default = protos.unwrapped(value).DESCRIPTOR.name == "ASTDefaultLiteralProto"
            new = (
                self._value(value, column)
                if is_default
                else assigned_sql(f"({self._text(value)})", type_)
            )
            set_.setdefault(column, {})[parts] = new
        values = (
            _rebuilt(f"`{self._alias}`.`{column}`", self._types[column.lower()], (), parts)
            for column, parts in set_.items()
        )
        return tuple(set_), tuple(values)

    def _merge(self) -> Iterator[Step]:
        earlier: dict[int, list[str]] = {}
        for clause in self._statement.when_clauses.clause_list:
            before = earlier.setdefault(clause.match_type, [])
            condition = (
                self._text(clause.search_condition)
                if clause.HasField("search_condition")
                else "TRUE"
            )
            # The first clause that holds for a row is the one that applies to it.
            applies = [f"IFNULL(({condition}), FALSE)", *(f"NOT {other}" for other in before)]
            before.append(applies[0])
            yield self._merge_step(clause, " AND ".join(applies))

    def _merge_step(self, clause: Any, applies: str) -> Step:
        source = self._text(self._statement.table_expression)
        on = self._text(self._statement.merge_condition)
        matched = clause.match_type == _MATCHED
        if matched:
            tables = f"{self._target} INNER JOIN {source} ON ({on})"
        elif clause.match_type == _ONLY_TARGET:
            tables = self._target
            applies = f"NOT EXISTS(SELECT 1 FROM {source} WHERE {on}) AND {applies}"  # noqa: S608
        else:
            tables = source
            applies = f"NOT EXISTS(SELECT 1 FROM {self._target} WHERE {on}) AND {applies}"  # noqa: S608
        action = clause.action
        if action.action_type == _MERGE_INSERT:
            columns = self._insert_columns(action, "insert_column_list")
            values = self._row_values(action.insert_row, columns)
            sql = f"SELECT {values} FROM {tables} WHERE {applies}"  # noqa: S608  # the text's own
            return Step(INSERT, sql, columns)
        if action.action_type == _MERGE_DELETE:
            sql = f"SELECT {self._row} FROM {tables} WHERE {applies}"  # noqa: S608  # the text's own
            return Step(DELETE, sql, matched=matched)
        columns, given = self._assignments(action.update_item_list)
        select = ", ".join((self._row, *given))
        sql = f"SELECT {select} FROM {tables} WHERE {applies}"  # noqa: S608  # the text's own
        return Step(UPDATE, sql, columns, matched=matched)


def _rebuilt(
    value: str, type_: SqlType, path: tuple[str, ...], given: dict[tuple[str, ...], str]
) -> str:
    """Write a value of which some parts are new: a struct is made anew around them."""
    if path in given:
        if len(given) > 1 and any(each[: len(path)] == path for each in given if each != path):
            raise InvalidQueryError(f"Update item {value} assigned more than once")
        return given[path]
    if not any(each[: len(path)] == path for each in given):
        return value
    parts = (
        f"{_rebuilt(f'{value}.`{name}`', inner, (*path, name.lower()), given)} AS `{name}`"
        for name, inner in type_.fields
    )
    return f"STRUCT({', '.join(parts)})"


COMPOSE = Task(compose, Modification, Steps)
