"""Statements that make or drop routines."""

from __future__ import annotations

from typing import Any

import msgspec

from keystile.analysis.names import Path, split
from keystile.analysis.parsing import identifiers, statement_tree
from keystile.analysis.resolve import ResolveRequest, resolved_tree
from keystile.analysis.temporary import temporary_routine
from keystile.analysis.tree import descendants, kind, span
from keystile.googlesql.engine import Engine
from keystile.googlesql.protos import has, inherited, sql_type
from keystile.model.schema import Argument, Routine, RoutineKind, SqlType

JAVASCRIPT = "JAVASCRIPT"

_MAKE = frozenset({"ASTCreateFunctionStatement", "ASTCreateTableFunctionStatement"})
_NAMED = frozenset(
    {
        "ASTCreateProcedureStatement",
        "ASTDropFunctionStatement",
        "ASTDropTableFunctionStatement",
    }
)
_DROPPED = frozenset({"kAggregateFunction", "kFunction", "kProcedure", "kTableFunction"})


def changed(statement: Any) -> Path:
    """Give the path of the routine that a statement makes or drops, as spelled; empty for none.

    One that lives in its script only is none.
    """
    name = kind(statement)
    if name in _MAKE and not inherited(statement, "scope"):
        return split(identifiers(inherited(statement, "function_declaration").name))
    if name in _NAMED or (name == "ASTDropStatement" and _drops_routine(statement)):
        return split(identifiers(inherited(statement, "name")))
    return ()


def temporary_function(statement: Any) -> str:
    """Give the name that CREATE TEMP FUNCTION makes; empty for other statements."""
    if kind(statement) not in _MAKE or not inherited(statement, "scope"):
        return ""
    return ".".join(identifiers(inherited(statement, "function_declaration").name))


def language(statement: Any) -> str:
    """Give the language of a function that a statement makes, as BigQuery's API names it."""
    if not has(statement, "language"):
        return "SQL"
    spelled = inherited(statement, "language").id_string.upper()
    return JAVASCRIPT if spelled == "JS" else str(spelled)


def is_foreign(statement: Any) -> bool:
    """Tell whether a statement makes a function whose text is not SQL."""
    return kind(statement) in _MAKE and language(statement) != "SQL"


def takes_any_type(statement: Any) -> bool:
    """Tell whether a statement makes a function with an argument of any type."""
    return kind(statement) in _MAKE and any(
        kind(node) == "ASTTemplatedParameterType" for node in descendants(statement)
    )


class EnclosedRequest(msgspec.Struct, frozen=True):
    """A statement that makes a function, and which of its bytes the brackets of its text are.

    Zeros where the text stands in no brackets: then it goes to the end of the statement.
    """

    sql: str
    start: int = 0
    end: int = 0


class Enclosed(msgspec.Struct, frozen=True):
    """Whether the text of a function ends with the brackets around it and no earlier."""

    whole: bool


def enclosed(engine: Engine, request: EnclosedRequest) -> Enclosed:
    """Tell whether a text is one statement, and the brackets hold all of its function's text.

    Raises `InvalidQueryError` where it does not parse as one.
    """
    tree = statement_tree(engine, request.sql)
    if not has(tree, "sql_function_body"):
        return Enclosed(not request.end)
    return Enclosed(span(inherited(tree, "sql_function_body")) == (request.start, request.end))


class MadeRoutine(msgspec.Struct, frozen=True):
    """What CREATE TEMP FUNCTION makes."""

    routine: Routine


def made_routine(engine: Engine, request: ResolveRequest) -> MadeRoutine:
    """Give the function that a CREATE TEMP FUNCTION makes, with its types."""
    statement = resolved_tree(engine, request)
    declared = statement.signature.argument
    arguments = tuple(
        Argument(name, _type(argument), not argument.options.is_not_aggregate)
        for name, argument in zip(statement.argument_name_list, declared, strict=True)
    )
    is_typed = statement.has_explicit_return_type or all(one.type for one in arguments)
    return MadeRoutine(
        Routine(
            temporary_routine(inherited(statement, "name_path")[-1]),
            RoutineKind.AGGREGATE if statement.is_aggregate else RoutineKind.SCALAR,
            JAVASCRIPT if statement.language.upper() == "JS" else "SQL",
            arguments,
            statement.code,
            sql_type(statement.return_type) if is_typed else None,
        )
    )


def _type(argument: Any) -> SqlType | None:
    return sql_type(argument.type) if argument.HasField("type") else None


def _drops_routine(statement: Any) -> bool:
    field = statement.DESCRIPTOR.fields_by_name["schema_object_kind"].enum_type
    return field.values_by_number[statement.schema_object_kind].name in _DROPPED
