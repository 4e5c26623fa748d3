"""What a statement takes away of what was there: words that BigQuery has of columns, and rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from keystile.analysis.effects import options
from keystile.analysis.tree import descendants, kind
from keystile.googlesql.protos import inherited, unwrapped

Path = tuple[str, ...]

_ALTER = frozenset(
    {"ASTAlterMaterializedViewStatement", "ASTAlterTableStatement", "ASTAlterViewStatement"}
)
_MAKE_TABLES = frozenset({"ASTCreateSnapshotTableStatement", "ASTCreateTableStatement"})


def begins_anew(statement: Any) -> bool:
    """Tell whether what a statement changes holds nothing of before, once it has succeeded."""
    name = kind(statement)
    if name in _MAKE_TABLES:
        return not inherited(statement, "is_if_not_exists")
    return name in {"ASTDropStatement", "ASTDropSnapshotTableStatement", "ASTTruncateStatement"}


def redefined(statement: Any) -> Iterator[tuple[Path, str | None]]:
    """Give each such column, and its new description; None where all that was said of it goes.

    An empty path stands for all columns of what the statement changes.
    """
    name = kind(statement)
    if name == "ASTDropStatement" or (
        name in _MAKE_TABLES and inherited(statement, "is_or_replace")
    ):
        yield (), None
    elif name in _ALTER:
        for action in descendants(statement):
            yield from _altered(action)


def _altered(action: Any) -> Iterator[tuple[Path, str | None]]:
    match kind(action):
        case "ASTDropColumnAction":
            yield (action.column_name.id_string,), None
        case "ASTAlterColumnOptionsAction":
            for entry in options(action):
                if entry.name.id_string.lower() == "description":
                    yield (action.column_name.id_string,), _text(unwrapped(entry.value))
        case "ASTAlterColumnTypeAction":
            # Whether fields keep what is said of them, where the new type says nothing, BigQuery
            # does not promise.
            is_struct = any(kind(node) == "ASTStructColumnSchema" for node in descendants(action))
            if is_struct or next(options(action), None) is not None:
                yield (action.column_name.id_string,), None


def _text(value: Any) -> str | None:
    if kind(value) == "ASTStringLiteral":
        text: str = value.string_value
        return text
    return None
