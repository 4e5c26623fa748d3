"""What a parse tree may hold that no schema could make clear."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from keystile.analysis.calls import called, function
from keystile.analysis.effects import MASKING_OPTION, UNKNOWN_URI, options, uris
from keystile.analysis.functions import ALLOWED, DENIED
from keystile.analysis.made_routines import JAVASCRIPT, language
from keystile.analysis.parsing import identifiers
from keystile.analysis.scripts.parts import READABLE_VARIABLES
from keystile.analysis.strange_options import Doubt, strange_option
from keystile.analysis.tree import children, descendants, kind
from keystile.googlesql.protos import has, inherited, unwrapped

_NODES = {
    "ASTGraphTableQuery": Doubt("graph query", "write it with joins"),
    "ASTSequenceArg": Doubt("sequence", "number rows with ROW_NUMBER"),
    "ASTReturningClause": Doubt("THEN RETURN clause", "read the rows with a SELECT afterwards"),
    "ASTOnConflictClause": Doubt("ON CONFLICT clause", "use MERGE"),
    "ASTLockMode": Doubt("FOR UPDATE", "leave it out: BigQuery locks no rows"),
    "ASTMacroBody": Doubt("macro", "write its text out"),
    "ASTGeneratedColumnInfo": Doubt("generated column", "compute it in the query that fills it"),
}

# Columns that BigQuery adds to some tables and that neither a schema nor `Table.pseudo_columns`
# lists. What that lists the engine resolves, or reports as unknown as BigQuery does.
_PSEUDO_COLUMNS = frozenset(
    {
        "_CHANGE_TYPE",
        "_CHANGE_TIMESTAMP",
        "_CHANGE_SEQUENCE_NUMBER",
        "_ROW_TIMESTAMP",
        "_COMMIT_TIMESTAMP",
    }
)

_PLAIN_ALTERATIONS = frozenset(
    {
        "ASTAddColumnAction",
        "ASTAddConstraintAction",
        "ASTDropColumnAction",
        "ASTDropConstraintAction",
        "ASTDropPrimaryKeyAction",
        "ASTRenameColumnAction",
        "ASTAlterColumnOptionsAction",
        "ASTAlterColumnTypeAction",
        "ASTAlterColumnDropDefaultAction",
        "ASTAlterColumnDropNotNullAction",
        "ASTAlterColumnSetDefaultAction",
        "ASTSetOptionsAction",
    }
)

# What an ALTER would have to resolve, or another table: the engine does not look into it.
_COMPUTED = {
    "ASTCheckConstraint": ("CHECK constraint", "leave it out"),
    "ASTExpressionSubquery": ("subquery in ALTER", "write its value out"),
    # The engine does not name this table among those of the statement.
    "ASTForeignKeyColumnAttribute": (
        "REFERENCES of a new column",
        "add the column first, and then a FOREIGN KEY",
    ),
    "ASTGeneratedColumnInfo": ("generated column", "compute it in the query that fills it"),
}

_FORMATS = frozenset({"AVRO", "CSV", "JSON", "PARQUET"})
_PLAIN_DROPS = ("kTable", "kView", "kExternalTable", "kSchema", "kProcedure")


def doubt(node: Any) -> Doubt | None:
    """Say what makes the whole text opaque, None where nothing does."""
    name = kind(node)
    if name in _NODES:
        return _NODES[name]
    check = _CHECKS.get(name)
    return check(node) if check else None


def _model(node: Any) -> Doubt:
    path = ".".join(identifiers(node.model_path))
    return Doubt(f"model `{path}`", "read a table of its predictions, or leave them out")


def _connection(node: Any) -> Doubt:
    clause = node.connection_clause if has(node, "connection_clause") else node
    path = unwrapped(clause.connection_path) if has(clause, "connection_path") else None
    name = ".".join(identifiers(path)) if kind(path) == "ASTPathExpression" else "DEFAULT"
    return Doubt(f"connection `{name}`", "read what lies in BigQuery itself")


def _table_function(node: Any) -> Doubt | None:
    if called(node):
        return None
    name = ".".join(identifiers(node.name))
    return Doubt(f"table function `{name}`", "read tables in its place")


_UNKNOWN_TO_THE_ENGINE = {
    "contains_substr": "use STRPOS(LOWER(…), LOWER(…)) > 0",
    "max_by": "write ANY_VALUE(x HAVING MAX y)",
    "min_by": "write ANY_VALUE(x HAVING MIN y)",
    "search": "use REGEXP_CONTAINS or LIKE",
}
"""Functions that BigQuery has and the engine has not, and what to write instead."""


def _function(node: Any) -> Doubt | None:
    path = identifiers(node.function)
    name = ".".join(path).lower()
    bare = name.removeprefix("safe.")
    if bare in {"current_user", "session_user"}:
        return Doubt(f"function `{bare.upper()}`", "pass the name as a parameter")
    if bare in _UNKNOWN_TO_THE_ENGINE:
        return Doubt(f"function `{bare.upper()}`", _UNKNOWN_TO_THE_ENGINE[bare])
    if bare in DENIED:
        return Doubt(f"function `{bare.upper()}`", "leave it out")
    if "." in bare and bare not in ALLOWED and not called(node):
        return Doubt(f"routine `{'.'.join(path)}`", "write what it computes out in the query")
    return None


def _system_variable(node: Any) -> Doubt | None:
    name = ".".join(identifiers(node.path))
    if name.lower() in READABLE_VARIABLES:
        return None
    return Doubt(f"system variable `@@{name}`", "write its value out, or pass it as a parameter")


def _parameter(node: Any) -> Doubt | None:
    # INVARIANT: no text reads the gateway's own parameters, which hold the key of keyed hashes.
    name = node.name.id_string if has(node, "name") else ""
    if not name.lower().startswith("keystile_"):
        return None
    return Doubt(f"reserved parameter `@{name}`", "choose another name")


def _pseudo_column(node: Any) -> Doubt | None:
    if node.id_string.upper() in _PSEUDO_COLUMNS:
        return Doubt(f"pseudo column `{node.id_string}`", "use the table's own columns")
    return None


def _alteration(node: Any) -> Doubt | None:
    for _, action in children(node):
        if kind(action) not in _PLAIN_ALTERATIONS:
            what = f"{_spelled(kind(action).removesuffix('Action'))} of ALTER"
            return Doubt(what, "ask the table's owner to make this change", action)
        for inner in descendants(action):
            if kind(inner) in _COMPUTED:
                return Doubt(*_COMPUTED[kind(inner)], inner)
            # A default may call functions of GoogleSQL, and those alone.
            if (name := ".".join(called(inner)) or function(inner)) and name not in ALLOWED:
                return Doubt(f"function `{name}` in ALTER", "write its value out", inner)
    return strange_option(node)


def _drop(node: Any) -> Doubt | None:
    field = node.DESCRIPTOR.fields_by_name["schema_object_kind"]
    name = field.enum_type.values_by_number[node.schema_object_kind].name
    if name in _PLAIN_DROPS:
        return None
    return Doubt(f"DROP {_spelled(name.removeprefix('k'))}", "ask its owner to drop it")


def _update(node: Any) -> Doubt | None:
    if not has(node, "set_value"):
        what = "DML on a nested field"
    elif any(kind(inner) == "ASTArrayElement" for inner in descendants(node.set_value.path)):
        what = "setting an element of an array"
    else:
        return None
    return Doubt(what, "set the whole column, to an array made by a subquery over UNNEST")


def _is_temporary(node: Any) -> bool:
    # ASTCreateStatementEnums.Scope: 0 is the default, PUBLIC and PRIVATE belong to modules.
    return bool(inherited(node, "scope"))


def _create_schema(node: Any) -> Doubt | None:
    # It is for new datasets alone: in one that others use it would change what names mean.
    return strange_option(node, frozenset({"is_case_insensitive"}))


def _create_view(node: Any) -> Doubt | None:
    if _is_temporary(node):
        return Doubt("temporary view", "use WITH, or CREATE TEMP TABLE")
    return strange_option(node)


def _create_function(node: Any) -> Doubt | None:
    spelled = language(node)
    if inherited(node, "is_remote") or has(node, "with_connection_clause"):
        return Doubt("remote function", "write the function in SQL")
    if spelled not in {"SQL", JAVASCRIPT}:
        return Doubt(f"function in {spelled}", "write it in SQL or JavaScript")
    if spelled == "SQL" and not has(node, "sql_function_body"):
        return Doubt("function without a text", "write AS (…)")
    # A fact, and no doubt: whoever may change access may make such a function.
    return strange_option(node, frozenset({MASKING_OPTION}))


def _create_table_function(node: Any) -> Doubt | None:
    if _is_temporary(node):
        return Doubt("temporary table function", "use WITH, or CREATE TEMP TABLE")
    if language(node) != "SQL" or not has(node, "query"):
        return Doubt("table function without a query", "write AS SELECT …")
    return strange_option(node)


def _create_model(node: Any) -> Doubt | None:
    odd = ("input_output_clause", "with_connection_clause", "aliased_query_list")
    if node.is_remote or not has(node, "query") or any(has(node, field) for field in odd):
        return Doubt(
            "model that is remote, imported or made of several queries",
            "make it of one query, AS SELECT",
        )
    return strange_option(node)


def _create_index(node: Any) -> Doubt | None:
    odd = ("optional_index_unnest_expression_list", "spanner_interleave_clause")
    if not (node.is_search or node.is_vector) or any(has(node, field) for field in odd):
        return Doubt("this kind of index", "use CREATE SEARCH INDEX or CREATE VECTOR INDEX")
    return strange_option(node)


def _copy_of(node: Any) -> Doubt | None:
    # The table as it was then may have columns with labels that nobody knows any more.
    odd = ("for_system_time", "where_clause")
    if any(has(node, field) for field in odd) or inherited(node, "postfix_operators"):
        return Doubt(
            "CLONE or COPY of an earlier state or a part of a table",
            "copy all of it as it is now, or use CREATE TABLE AS SELECT",
        )
    return None


def _export(node: Any) -> Doubt | None:
    if UNKNOWN_URI in uris([node]):
        return Doubt(
            "export to an address that is not written out", "write `uri` as a text in quotes"
        )
    for entry in options(node):
        if entry.name.id_string.lower() == "format":
            value = unwrapped(entry.value)
            if getattr(value, "string_value", "").upper() not in _FORMATS:
                return Doubt("export in this format", f"use {', '.join(sorted(_FORMATS))}", entry)
    return strange_option(node)


def _pipe_with_effect(node: Any) -> Doubt:
    name = _spelled(kind(node).removeprefix("ASTPipe"))
    return Doubt(f"pipe operator {name}", "end the pipe before it")


def _spelled(name: str) -> str:
    """Give the words of SQL that a name in the parser stands for: `AddColumn` is ADD COLUMN."""
    return " ".join(re.findall("[A-Z][a-z]*", name.removeprefix("AST"))).upper()


_CHECKS: Mapping[str, Callable[[Any], Doubt | None]] = {
    "ASTModelClause": _model,
    "ASTConnectionClause": _connection,
    "ASTWithConnectionClause": _connection,
    "ASTUpdateItem": _update,
    "ASTTVF": _table_function,
    "ASTFunctionCall": _function,
    "ASTSystemVariableExpr": _system_variable,
    "ASTParameterExpr": _parameter,
    "ASTIdentifier": _pseudo_column,
    "ASTAlterActionList": _alteration,
    "ASTDropStatement": _drop,
    "ASTCloneDataSource": _copy_of,
    "ASTCopyDataSource": _copy_of,
    "ASTCreateFunctionStatement": _create_function,
    "ASTCreateTableFunctionStatement": _create_table_function,
    "ASTCreateIndexStatement": _create_index,
    "ASTCreateMaterializedViewStatement": _create_view,
    "ASTCreateModelStatement": _create_model,
    "ASTCreateSchemaStatement": _create_schema,
    "ASTCreateSnapshotTableStatement": strange_option,
    "ASTCreateTableStatement": strange_option,
    "ASTCreateViewStatement": _create_view,
    "ASTExportDataStatement": _export,
    "ASTPipeCreateTable": _pipe_with_effect,
    "ASTPipeInsert": _pipe_with_effect,
    "ASTPipeExportData": _pipe_with_effect,
    "ASTPipeFork": _pipe_with_effect,
    "ASTPipeTee": _pipe_with_effect,
    "ASTPipeLog": _pipe_with_effect,
    "ASTPipeIf": _pipe_with_effect,
}

DOUBTED = frozenset(_NODES) | frozenset(_CHECKS)
"""The kinds of nodes that `doubt` may have something to say of."""
