"""The task of this room that runs beside an engine: splice, resolve anew, prove."""

from __future__ import annotations

import msgspec

from keystile.analysis.parsing import statement_tree
from keystile.analysis.resolve import (
    Declared,
    ResolveRequest,
    SpelledTable,
    by_full_name,
    resolved_tree,
)
from keystile.analysis.statements import walk_statement
from keystile.analysis.tree import Span
from keystile.googlesql.engine import Engine
from keystile.googlesql.task import Task
from keystile.masking.proof import Template, prove
from keystile.masking.splice import ProtectedTable, spliced
from keystile.model.errors import InvalidQueryError, RefusedError
from keystile.model.facts import OutputColumn
from keystile.model.masks import Mask
from keystile.model.schema import Table, TableId


class MaskedColumn(msgspec.Struct, frozen=True):
    """A column or nested field of a table, and the mask that it gets."""

    table: TableId
    path: tuple[str, ...]
    mask: Mask


class MaskRequest(msgspec.Struct, frozen=True):
    """A SELECT in canonical spelling with its tables and parameters, those of masks included."""

    sql: str
    tables: tuple[SpelledTable, ...]
    parameters: tuple[Declared, ...]
    masks: tuple[MaskedColumn, ...]


class MaskedQuery(msgspec.Struct, frozen=True):
    """The rewritten and proved text."""

    sql: str


def mask_query(engine: Engine, request: MaskRequest) -> MaskedQuery:
    """Rewrite the query so that every masked column is read masked, and prove it.

    Raises `RefusedError` where that cannot be done.
    """
    original = ResolveRequest(request.sql, request.tables, request.parameters)
    walked = walk_statement(resolved_tree(engine, original), by_full_name(request.tables))
    scans = walked.walk.scans
    protected = _protected(request)
    sql = spliced(request.sql, statement_tree(engine, request.sql), scans, protected)
    expected = _count(scans, protected)
    if sql == request.sql or not expected:
        raise RefusedError("this query reads no masked table", hint="ask it again")
    _prove(engine, msgspec.structs.replace(request, sql=sql), protected, expected, walked.output)
    return MaskedQuery(sql)


MASK = Task(mask_query, MaskRequest, MaskedQuery)
"""Put masks into a query and prove it."""


def _protected(request: MaskRequest) -> list[ProtectedTable]:
    tables = {spelled.table.id: spelled.table for spelled in request.tables}
    masks: dict[TableId, dict[tuple[str, ...], Mask]] = {}
    for column in request.masks:
        masks.setdefault(column.table, {})[column.path] = column.mask
    return [ProtectedTable(tables[id_], of_table) for id_, of_table in masks.items()]


def _count(scans: dict[Span, Table], protected: list[ProtectedTable]) -> int:
    ids = {table.table.id for table in protected}
    return sum(table.id in ids for table in scans.values())


def _prove(
    engine: Engine,
    request: MaskRequest,
    protected: list[ProtectedTable],
    expected: int,
    output: tuple[OutputColumn, ...],
) -> None:
    tables = (*request.tables, *(_fully_spelled(table.table) for table in protected))
    tables = tuple({spelled.path: spelled for spelled in tables}.values())

    def resolve(sql: str) -> ResolveRequest:
        return ResolveRequest(sql, tables, request.parameters)

    try:
        templates = {
            str(table.table.id): Template(
                resolved_tree(engine, resolve(table.subquery()), prune=False), table.columns
            )
            for table in protected
        }
        statement = resolved_tree(engine, resolve(request.sql), prune=False)
    except InvalidQueryError as error:
        raise RefusedError(
            f"the masked form of this query is not valid: {error.message}",
            hint="write it in a simpler way",
        ) from error
    prove(statement, templates, expected)
    walked = walk_statement(statement, by_full_name(tables))
    if walked.walk.opaque or _shape(walked.output) != _shape(output):
        raise RefusedError(
            "the masked form of this query has another result than the query itself",
            hint="write it in a simpler way",
        )


def _fully_spelled(table: Table) -> SpelledTable:
    return SpelledTable((table.id.project, table.id.dataset, table.id.table), table)


def _shape(output: tuple[OutputColumn, ...]) -> list[tuple[str, object]]:
    return [(column.name, column.type) for column in output]
