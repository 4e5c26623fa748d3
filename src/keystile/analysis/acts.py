"""What a statement does by its kind, and by the fields that it has."""

from __future__ import annotations

from typing import Any

from keystile.analysis.effects import masks_for_others
from keystile.analysis.kinds import KINDS, UNKNOWN, Kind
from keystile.analysis.made_routines import is_foreign, temporary_function
from keystile.analysis.tree import kind
from keystile.googlesql.protos import has, levels
from keystile.model.facts import Action

_DROP_ACTIONS = {
    "FUNCTION": {Action.ROUTINE},
    "PROCEDURE": {Action.ROUTINE},
    "TABLE_FUNCTION": {Action.ROUTINE},
    "AGGREGATE_FUNCTION": {Action.ROUTINE},
    "MODEL": {Action.MODEL},
    "CONNECTION": {Action.EXTERNAL},
}


def kind_of(node: Any) -> Kind:
    """Give the kind of a statement; `UNKNOWN` for one that is not known."""
    return KINDS.get(kind(node), UNKNOWN)


def replaces(tree: Any) -> bool:
    """Tell whether a statement says OR REPLACE."""
    return kind(tree).startswith("ASTCreate") and any(
        "is_or_replace" in level.DESCRIPTOR.fields_by_name and level.is_or_replace
        for level in levels(tree)
    )


def extra_actions(statement: Any) -> set[Action]:
    """Give what a statement does beyond its kind, for the fields that it has."""
    if kind(statement) == "ASTCreateTableStatement" and any(
        has(statement, field) for field in ("query", "clone_data_source", "copy_data_source")
    ):
        return {Action.READ, Action.WRITE}
    if masks_for_others(statement):
        return {Action.ACCESS_CHANGE}
    return _DROP_ACTIONS.get(dropped(statement), set())


def own_business(statement: Any) -> set[Action]:
    """Give what a statement of its kind does, and this one does within its script only."""
    if not temporary_function(statement):
        return set()
    # Of a text that is not SQL nobody knows what it does.
    return {Action.SCHEMA_CHANGE, *(() if is_foreign(statement) else (Action.ROUTINE,))}


def dropped(statement: Any) -> str:
    """Give what a DROP statement drops, such as `EXTERNAL_TABLE`; empty for other statements."""
    if kind(statement) != "ASTDropStatement":
        return ""
    field = statement.DESCRIPTOR.fields_by_name["schema_object_kind"]
    name = field.enum_type.values_by_number[statement.schema_object_kind].name.removeprefix("k")
    return "".join(f"_{c}" if c.isupper() else c for c in name).lstrip("_").upper()
