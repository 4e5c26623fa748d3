"""Walks whole statements: queries, DML and the DDL that computes something."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from keystile.analysis import dml
from keystile.analysis.dml import StatementWalk, only
from keystile.analysis.lineage import NOTHING, Value
from keystile.analysis.scans import Walk
from keystile.analysis.scope import Scope
from keystile.analysis.tree import children, kind
from keystile.googlesql.protos import has, inherited, sql_type
from keystile.model.facts import OutputColumn, Use, WrittenColumn
from keystile.model.schema import SqlType


class Walked(NamedTuple):
    """A finished walk, the statement's result columns and the columns that it fills."""

    walk: Walk
    output: tuple[OutputColumn, ...]
    written: tuple[WrittenColumn, ...] = ()


def walk_statement(statement: Any, scope: Scope) -> Walked:
    """Walk a resolved statement, whose names mean what they do in this scope."""
    walk = StatementWalk(scope.tables_by_full_name())
    walk.routines = scope.routines_by_full_name()
    method = _STATEMENTS.get(kind(statement))
    if method is None:
        walk.doubt(f"`{kind(statement).removeprefix('Resolved')}`", statement)
        return Walked(walk, ())
    output = method(walk, statement)
    walk.finish()
    return Walked(walk, output, walk.written)


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
        same = value.place.ref if value.place else None
        found.append(OutputColumn(name, type_, tuple(sorted(value.sources)), same))
    return tuple(found)


def _export(walk: Walk, node: Any) -> tuple[OutputColumn, ...]:
    walk.scan(node.query)
    for option in node.option_list:
        walk.used(option.value, Use.ARGUMENT)
    only(walk, node, {"query", "option_list", "output_column_list", "connection"})
    return _outputs(walk, node.output_column_list)


def _assert(walk: Walk, node: Any) -> tuple[OutputColumn, ...]:
    walk.used(node.expression, Use.FILTER)
    return ()


def _create_model(walk: Walk, node: Any) -> tuple[OutputColumn, ...]:
    walk.scan(node.query)
    outputs = _outputs(walk, node.output_column_list)
    for option in inherited(node, "option_list"):
        walk.used(option.value, Use.ARGUMENT)
    # What TRANSFORM computes, it computes of the query's columns.
    inputs = zip(node.transform_input_column_list, node.output_column_list, strict=False)
    for definition, output in inputs:
        walk.bind(definition.column, walk.column(output.column))
    for group in node.transform_analytic_function_group_list:
        walk.doubt("window function in TRANSFORM", group)
    for computed in node.transform_list:
        walk.computed(computed)
    only(walk, node, _MODEL_FIELDS)
    return outputs


def _create_with_query(walk: Walk, node: Any) -> tuple[OutputColumn, ...]:
    """Walk CREATE TABLE AS SELECT, CREATE VIEW and CREATE MATERIALIZED VIEW."""
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

_MODEL_FIELDS = frozenset(
    {
        "option_list",
        "output_column_list",
        "query",
        "transform_analytic_function_group_list",
        "transform_input_column_list",
        "transform_list",
        "transform_output_column_list",
    }
)


def _function(walk: Walk, node: Any) -> tuple[OutputColumn, ...]:
    """Walk the definition of a function as a query of its only value."""
    for column in node.aggregate_expression_list:
        walk.computed(column)
    only(walk, node, {"aggregate_expression_list", "function_expression", "option_list"})
    for option in node.option_list:
        walk.used(option.value, Use.ARGUMENT)
    if not has(node, "function_expression"):
        # JavaScript, or arguments of any type: then the outline vouches for the text.
        return _named([("", sql_type(node.return_type), NOTHING)])
    value = walk.used(node.function_expression, Use.OUTPUT)
    return _named([("", sql_type(node.return_type), value)])


def _table_function(walk: Walk, node: Any) -> tuple[OutputColumn, ...]:
    """Walk the definition of a table function as its query."""
    if not has(node, "query"):
        walk.doubt("a table function without a type", node)
        return ()
    only(walk, node, {"option_list", "output_column_list", "query"})
    for option in node.option_list:
        walk.used(option.value, Use.ARGUMENT)
    return _query(walk, node)


_STATEMENTS = {
    "ResolvedCreateFunctionStmt": _function,
    "ResolvedCreateTableFunctionStmt": _table_function,
    "ResolvedAssertStmt": _assert,
    "ResolvedCreateMaterializedViewStmt": _create_with_query,
    "ResolvedCreateModelStmt": _create_model,
    "ResolvedExportDataStmt": _export,
    "ResolvedQueryStmt": _query,
    "ResolvedCreateTableAsSelectStmt": _create_with_query,
    "ResolvedCreateTableStmt": _create,
    "ResolvedCreateViewStmt": _create_with_query,
    "ResolvedInsertStmt": dml.insert,
    "ResolvedUpdateStmt": dml.update,
    "ResolvedDeleteStmt": dml.delete,
    "ResolvedMergeStmt": dml.merge,
    "ResolvedTruncateStmt": dml.delete,
}
