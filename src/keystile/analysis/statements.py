"""Walks whole statements: queries, DML and the DDL that computes something."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from keystile.analysis.lineage import NOTHING, Value
from keystile.analysis.scans import Walk
from keystile.analysis.tree import children, kind
from keystile.googlesql.protos import has, inherited, sql_type
from keystile.model.facts import OutputColumn, Use
from keystile.model.schema import SqlType, Table


class Walked(NamedTuple):
    """A finished walk and the statement's result columns."""

    walk: Walk
    output: tuple[OutputColumn, ...]


def walk_statement(statement: Any, tables: Mapping[str, Table]) -> Walked:
    """Walk a resolved statement. `tables` are by the full name that the catalog gave them."""
    walk = Walk(tables)
    method = _STATEMENTS.get(kind(statement))
    if method is None:
        walk.doubt(f"`{kind(statement).removeprefix('Resolved')}`", statement)
        return Walked(walk, ())
    output = method(walk, statement)
    walk.finish()
    return Walked(walk, output)


def _query(walk: Walk, node: Any) -> tuple[OutputColumn, ...]:
    walk.scan(node.query)
    if node.is_value_table and len(node.output_column_list) == 1:
        return _value_table(walk, node.output_column_list[0].column)
    return _outputs(walk, node.output_column_list)


def _outputs(walk: Walk, columns: Any) -> tuple[OutputColumn, ...]:
    found = []
    for column in columns:
        value = walk.column(column.column)
        walk.use(value, Use.OUTPUT)
        found.append((column.name, sql_type(column.column.type), value))
    return _named(found)


def _value_table(walk: Walk, column: Any) -> tuple[OutputColumn, ...]:
    """Give the columns of `SELECT AS STRUCT` and `SELECT AS VALUE` as BigQuery returns them."""
    value = walk.column(column)
    walk.use(value, Use.OUTPUT)
    type_ = sql_type(column.type)
    if type_.kind != "STRUCT":
        return _named([("", type_, value)])
    fields = enumerate(type_.fields)
    return _named([(name, inner, value.field(index, name)) for index, (name, inner) in fields])


def _named(columns: Iterable[tuple[str, SqlType, Value]]) -> tuple[OutputColumn, ...]:
    """Name what has no name `f0_`, `f1_` and so on, as BigQuery does."""
    found = []
    unnamed = 0
    for given, type_, value in columns:
        name = given
        if not name or name.startswith("$"):
            name, unnamed = f"f{unnamed}_", unnamed + 1
        found.append(OutputColumn(name, type_, tuple(sorted(value.sources))))
    return tuple(found)


def _create_with_query(walk: Walk, node: Any) -> tuple[OutputColumn, ...]:
    """Walk CREATE TABLE AS SELECT and CREATE VIEW."""
    walk.scan(inherited(node, "query"))
    outputs = _outputs(walk, inherited(node, "output_column_list"))
    _create(walk, node)
    return outputs


def _create(walk: Walk, node: Any) -> tuple[OutputColumn, ...]:
    """Walk what CREATE TABLE computes beside its query: defaults, partitions, options."""
    for definition in inherited(node, "column_definition_list"):
        if has(definition, "column"):
            walk.bind(definition.column, NOTHING)
        if has(definition, "generated_column_info"):
            walk.doubt("generated column", definition)
        if has(definition, "default_value"):
            walk.used(definition.default_value.expression, Use.ARGUMENT)
    for field, child in children(node):
        if field in {"partition_by_list", "cluster_by_list"}:
            walk.used(child, Use.ARGUMENT)
        elif field == "option_list":
            walk.used(child.value, Use.ARGUMENT)
        elif field not in _CREATE_FIELDS:
            walk.doubt(f"`{field}` of this statement", child)
    return ()


def _insert(walk: Walk, node: Any) -> tuple[OutputColumn, ...]:
    walk.table(node.table_scan, written=True)
    if has(node, "query"):
        walk.scan(node.query)
        for column in node.query_output_column_list:
            walk.use(walk.column(column), Use.OUTPUT)
    for row in node.row_list:
        _row(walk, row)
    _only(walk, node, {"table_scan", "query", "row_list"})
    return ()


def _update(walk: Walk, node: Any) -> tuple[OutputColumn, ...]:
    walk.table(node.table_scan, written=True)
    if has(node, "from_scan"):
        walk.scan(node.from_scan)
    if has(node, "where_expr"):
        walk.used(node.where_expr, Use.FILTER)
    _assignments(walk, node.update_item_list)
    _only(walk, node, {"table_scan", "from_scan", "where_expr", "update_item_list"})
    return ()


def _delete(walk: Walk, node: Any) -> tuple[OutputColumn, ...]:
    walk.table(node.table_scan, written=True)
    if has(node, "where_expr"):
        walk.used(node.where_expr, Use.FILTER)
    _only(walk, node, {"table_scan", "where_expr"})
    return ()


def _merge(walk: Walk, node: Any) -> tuple[OutputColumn, ...]:
    walk.table(node.table_scan, written=True)
    walk.scan(node.from_scan)
    walk.used(node.merge_expr, Use.JOIN)
    for when in node.when_clause_list:
        if has(when, "match_expr"):
            walk.used(when.match_expr, Use.FILTER)
        if has(when, "insert_row"):
            _row(walk, when.insert_row)
        _assignments(walk, when.update_item_list)
    _only(walk, node, {"table_scan", "from_scan", "merge_expr", "when_clause_list"})
    return ()


def _row(walk: Walk, row: Any) -> None:
    for value in row.value_list:
        walk.used(value, Use.OUTPUT)


def _assignments(walk: Walk, items: Any) -> None:
    for item in items:
        for field, child in children(item):
            if field == "set_value":
                walk.used(child, Use.OUTPUT)
            elif field != "target":
                walk.doubt("DML on a nested field", child)


def _only(walk: Walk, node: Any, fields: set[str]) -> None:
    """Doubt everything of a statement that was not walked."""
    for field, child in children(node):
        if field not in fields | {"hint_list", "query_parameter_list"}:
            walk.doubt(f"`{field}` of this statement", child)


_CREATE_FIELDS = frozenset(
    {
        "query",
        "output_column_list",
        "column_definition_list",
        "primary_key",
        "foreign_key_list",
        "hint_list",
    }
)

_STATEMENTS = {
    "ResolvedQueryStmt": _query,
    "ResolvedCreateTableAsSelectStmt": _create_with_query,
    "ResolvedCreateTableStmt": _create,
    "ResolvedCreateViewStmt": _create_with_query,
    "ResolvedInsertStmt": _insert,
    "ResolvedUpdateStmt": _update,
    "ResolvedDeleteStmt": _delete,
    "ResolvedMergeStmt": _merge,
    "ResolvedTruncateStmt": _delete,
}
