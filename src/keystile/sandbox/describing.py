"""What a statement is: its kind, the shape of its result, the columns that it reads."""

from __future__ import annotations

from typing import Any

import msgspec

from keystile.googlesql import protos
from keystile.googlesql.engine import Engine
from keystile.googlesql.messages import service
from keystile.googlesql.task import Task
from keystile.sandbox import dialect
from keystile.sandbox.dialect import Column, Statement, kind_of, nodes, place
from keystile.sandbox.names import parse


class Described(msgspec.Struct, frozen=True):
    """What a statement is. `used` are the columns that it reads, by full table name.

    `columns` is the result's shape; `scans` are the byte ranges of the table paths that it scans,
    with the tables' full names, `marks` those of positional parameters; `flat` says that the
    result's rows are structs whose fields are the columns.
    """

    kind: str
    columns: tuple[Column, ...]
    used: dict[str, tuple[str, ...]]
    flat: bool
    scans: tuple[tuple[int, int, str], ...] = ()
    marks: tuple[tuple[int, int, int], ...] = ()


def describe(engine: Engine, statement: Statement) -> Described:
    """Resolve a statement. Raises `InvalidQueryError` in GoogleSQL's words."""
    wrapped = resolved(engine, statement)
    inner = protos.unwrapped(wrapped)
    kind = kind_of(wrapped, "Resolved", "StmtProto")
    if kind == "Drop":
        kind += inner.object_type.title().replace(" ", "")
    columns = (
        tuple(
            (column.name, protos.sql_type(column.column.type))
            for column in inner.output_column_list
        )
        if kind == "Query"
        else ()
    )
    scans = list(nodes(inner, "ResolvedTableScanProto"))
    return Described(
        kind=kind,
        columns=columns,
        used=_used(scans),
        flat=kind == "Query" and inner.is_value_table,
        scans=tuple(dict.fromkeys((*place(scan), scan.table.name) for scan in scans)),
        marks=_question_marks(engine, statement),
    )


def resolved(engine: Engine, statement: Statement) -> Any:
    """Give the resolved tree. Raises `InvalidQueryError` in GoogleSQL's words."""
    catalog = dialect.catalog(engine, statement, by_full_name=False)
    request = service.AnalyzeRequest(
        options=dialect.options(engine, statement.parameters),
        registered_catalog_id=engine.registered(catalog),
        sql_statement=statement.sql,
    )
    return engine.call("Analyze", request, service.AnalyzeResponse).resolved_statement


def _used(scans: list[Any]) -> dict[str, tuple[str, ...]]:
    used: dict[str, dict[str, None]] = {}
    for scan in scans:
        names = used.setdefault(scan.table.name, {})
        names.update((column.name, None) for column in protos.inherited(scan, "column_list"))
    return {table: tuple(names) for table, names in used.items()}


def _question_marks(engine: Engine, statement: Statement) -> tuple[tuple[int, int, int], ...]:
    if not statement.parameters or statement.parameters[0].name:
        return ()
    parsed = parse(engine, statement.sql)
    marks = nodes(parsed, "ASTParameterExprProto")
    return tuple((*place(mark), mark.position) for mark in marks)


DESCRIBE = Task(describe, Statement, Described)
