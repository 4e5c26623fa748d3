"""What a script makes for itself: temporary tables, which live in a dataset of their own."""

from __future__ import annotations

from typing import Any

from keystile.analysis.kinds import KINDS
from keystile.analysis.names import Path
from keystile.analysis.tree import kind
from keystile.googlesql.protos import inherited
from keystile.model.facts import Action
from keystile.model.schema import RoutineId, TableId

_PROJECT = "temporary"
_DATASET = "_SESSION"
_MOST_PARTS = 2


def temporary(name: str) -> TableId:
    """Name a temporary table. No text can spell this name: the dataset begins with `_`."""
    return TableId(_PROJECT, _DATASET, name)


def temporary_routine(name: str) -> RoutineId:
    """Name a temporary function, as no text can spell it either."""
    return RoutineId(_PROJECT, _DATASET, name)


def is_temporary(table: TableId) -> bool:
    """Tell whether a table is one of a script's own."""
    return (table.project, table.dataset) == (_PROJECT, _DATASET)


def temporary_name(path: Path) -> str:
    """Give the name of the temporary table that a path may mean: `t` or `_SESSION.t`."""
    if len(path) == _MOST_PARTS and path[0].upper() == _DATASET:
        return path[1]
    return path[0] if len(path) == 1 else ""


def is_certain(path: Path) -> bool:
    """Tell whether a path can mean nothing but a temporary table."""
    return len(path) == _MOST_PARTS and path[0].upper() == _DATASET


def is_temporary_table(statement: Any) -> bool:
    """Tell CREATE TEMP TABLE."""
    # ASTCreateStatementEnums.Scope: 0 is the default, PUBLIC and PRIVATE belong to modules.
    return kind(statement) == "ASTCreateTableStatement" and bool(inherited(statement, "scope"))


def runs_as_script(statement: Any) -> bool:
    """Tell what BigQuery runs as a script even where it stands alone, such as SET."""
    known = KINDS.get(kind(statement))
    alone = known is not None and Action.SCRIPT in known.actions and known.statement != "ASSERT"
    return alone or is_temporary_table(statement)
