"""What a statement's parse tree says of its effects beyond the tables that it names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from keystile.analysis.parsing import identifiers
from keystile.analysis.tree import descendants, kind
from keystile.googlesql.protos import has, unwrapped

UNKNOWN_URI = "?"
"""Stands for an address that is not written out as a text."""

MASKING_OPTION = "data_governance_type"
"""The option of a function that others see columns through, where a data policy names it."""

_MAKE_TABLES = frozenset({"ASTCreateTableStatement", "ASTCreateSnapshotTableStatement"})
_ADDRESSES = frozenset({"uri", "uris"})
_OPTION_HOLDERS = frozenset(
    {
        "ASTExportDataStatement",
        "ASTExportModelStatement",
        "ASTAuxLoadDataStatement",
        "ASTCreateExternalTableStatement",
        "ASTPipeExportData",
    }
)


def uris(nodes: Iterable[Any]) -> Iterator[str]:
    """Give the addresses that statements among the nodes export to or load from."""
    for statement in nodes:
        if kind(statement) not in _OPTION_HOLDERS:
            continue
        for entry in options(statement):
            if entry.name.id_string.lower() in _ADDRESSES:
                yield from _texts(unwrapped(entry.value))


def connections(nodes: Iterable[Any]) -> Iterator[tuple[str, ...]]:
    """Give the path of each connection that the nodes of a statement name, as it is spelled."""
    for node in nodes:
        if kind(node) == "ASTConnectionClause" and has(node, "connection_path"):
            path = unwrapped(node.connection_path)
            yield identifiers(path) if kind(path) == "ASTPathExpression" else ("default",)


def renamed(statement: Any) -> Iterator[tuple[str, str]]:
    """Give the old and the new name of each column that ALTER TABLE renames."""
    if kind(statement) == "ASTAlterTableStatement":
        for node in descendants(statement):
            if kind(node) == "ASTRenameColumnAction":
                yield node.column_name.id_string, node.new_column_name.id_string


def copies_rows(statement: Any) -> bool:
    """Tell whether a statement makes a table as a copy, a clone or a snapshot of another."""
    fields = ("clone_data_source", "copy_data_source")
    return kind(statement) in _MAKE_TABLES and any(has(statement, field) for field in fields)


def copies(statement: Any) -> bool:
    """Tell whether a statement makes a table from another one's rows or schema, and that alone."""
    if copies_rows(statement):
        return True
    return (
        kind(statement) in _MAKE_TABLES
        and has(statement, "like_table_name")
        and not any(has(statement, field) for field in ("query", "table_element_list"))
    )


def options(statement: Any) -> Iterator[Any]:
    """Give every `name = value` of a statement's OPTIONS, those of its columns too."""
    return (node for node in descendants(statement) if kind(node) == "ASTOptionsEntry")


def masks_for_others(statement: Any) -> bool:
    """Tell whether a statement makes a function that BigQuery's data policies may mask by."""
    return kind(statement) == "ASTCreateFunctionStatement" and any(
        entry.name.id_string.lower() == MASKING_OPTION for entry in options(statement)
    )


def _texts(value: Any) -> Iterator[str]:
    if kind(value) == "ASTStringLiteral":
        yield value.string_value
    elif kind(value) == "ASTArrayConstructor":
        for element in value.elements:
            yield from _texts(unwrapped(element))
    else:
        yield UNKNOWN_URI
