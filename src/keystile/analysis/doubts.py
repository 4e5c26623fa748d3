"""What a parse tree may hold that no schema could make clear."""

from __future__ import annotations

from typing import Any

from keystile.analysis.functions import ALLOWED, DENIED
from keystile.analysis.parsing import identifiers
from keystile.analysis.tree import children, kind
from keystile.googlesql.protos import has, inherited

_NODES = {
    # The table as it was then may have columns that it no longer has, with labels that nobody knows
    # any more; `TO_JSON_STRING(t)` would show them.
    "ASTForSystemTime": "FOR SYSTEM_TIME",
    "ASTModelClause": "model",
    "ASTConnectionClause": "connection",
    "ASTWithConnectionClause": "connection",
    "ASTGraphTableQuery": "graph query",
    "ASTSequenceArg": "sequence",
    "ASTSelectWith": "SELECT WITH modifier",
    "ASTMatchRecognizeClause": "MATCH_RECOGNIZE",
    "ASTReturningClause": "THEN RETURN clause",
    "ASTOnConflictClause": "ON CONFLICT clause",
    "ASTCloneDataSource": "CLONE",
    "ASTCopyDataSource": "COPY",
    "ASTLockMode": "lock",
    "ASTMacroBody": "macro",
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
        "ASTDropColumnAction",
        "ASTRenameColumnAction",
        "ASTAlterColumnOptionsAction",
        "ASTAlterColumnTypeAction",
        "ASTAlterColumnDropDefaultAction",
        "ASTAlterColumnDropNotNullAction",
        "ASTSetOptionsAction",
    }
)

_PLAIN_DROPS = ("kTable", "kView", "kExternalTable", "kSchema")


def doubt(node: Any) -> str:
    """Name what makes the whole text opaque, in the user's words; empty where nothing does."""
    name = kind(node)
    if name in _NODES:
        return _NODES[name]
    check = _CHECKS.get(name)
    return check(node) if check else ""


def _table_function(node: Any) -> str:
    return f"table function `{'.'.join(identifiers(node.name))}`"


def _function(node: Any) -> str:
    path = identifiers(node.function)
    name = ".".join(path).lower()
    bare = name.removeprefix("safe.")
    if bare in DENIED or bare == "current_user":
        return f"function `{bare.upper()}`"
    if "." in bare and bare not in ALLOWED:
        return f"routine `{'.'.join(path)}`"
    return ""


def _system_variable(node: Any) -> str:
    return f"system variable `@@{'.'.join(identifiers(node.path))}`"


def _pseudo_column(node: Any) -> str:
    if node.id_string.upper() in _PSEUDO_COLUMNS:
        return f"pseudo column `{node.id_string}`"
    return ""


def _alteration(node: Any) -> str:
    for _, action in children(node):
        if kind(action) not in _PLAIN_ALTERATIONS:
            return "this kind of ALTER"
    return ""


def _drop(node: Any) -> str:
    field = node.DESCRIPTOR.fields_by_name["schema_object_kind"]
    if field.enum_type.values_by_number[node.schema_object_kind].name in _PLAIN_DROPS:
        return ""
    return "this kind of DROP"


def _create_table(node: Any) -> str:
    if has(node, "like_table_name"):
        return "CREATE TABLE LIKE"
    return "temporary table" if _is_temporary(node) else ""


def _is_temporary(node: Any) -> bool:
    # ASTCreateStatementEnums.Scope: 0 is the default, PUBLIC and PRIVATE belong to modules.
    return bool(inherited(node, "scope"))


def _create_view(node: Any) -> str:
    return "temporary view" if _is_temporary(node) else ""


def _pipe_with_effect(_: Any) -> str:
    return "pipe operator that writes or branches"


_CHECKS = {
    "ASTTVF": _table_function,
    "ASTFunctionCall": _function,
    "ASTSystemVariableExpr": _system_variable,
    "ASTIdentifier": _pseudo_column,
    "ASTAlterActionList": _alteration,
    "ASTDropStatement": _drop,
    "ASTCreateTableStatement": _create_table,
    "ASTCreateViewStatement": _create_view,
    "ASTPipeCreateTable": _pipe_with_effect,
    "ASTPipeInsert": _pipe_with_effect,
    "ASTPipeExportData": _pipe_with_effect,
    "ASTPipeFork": _pipe_with_effect,
    "ASTPipeTee": _pipe_with_effect,
    "ASTPipeLog": _pipe_with_effect,
    "ASTPipeIf": _pipe_with_effect,
}
