"""Routines as the engine's catalog knows them: what they are called with, and what they give."""

from __future__ import annotations

from typing import Any

from keystile.analysis.groups import ROUTINE, TEMPLATED
from keystile.googlesql.messages import function_pb2 as function
from keystile.googlesql.protos import type_proto
from keystile.model.schema import Argument, Routine, RoutineKind, SqlType


def add_routine(folder: Any, path: tuple[str, ...], routine: Routine) -> None:
    """Add a routine to the catalog that holds the last part of its path.

    The engine's trees name it by its full name, and its messages as the text spells it.
    """
    id_ = routine.id
    full = [id_.project, id_.dataset, id_.routine]
    if routine.kind is RoutineKind.TABLE_VALUED:
        added = folder.custom_tvf.add(
            name_path=[*full[:2], path[-1]],
            type=function.FunctionEnums.FIXED_OUTPUT_SCHEMA_TVF,
            group=ROUTINE,
        )
        _add_arguments(added.signature, routine.arguments)
        given = added.signature.return_type
        given.kind, given.num_occurrences = function.ARG_TYPE_RELATION, -1
        for field in routine.columns:
            type_ = type_proto(field.sql_type)
            given.options.relation_input_schema.column.add(name=field.name, type=type_)
        return
    aggregates = routine.kind is RoutineKind.AGGREGATE
    mode = function.FunctionEnums.AGGREGATE if aggregates else function.FunctionEnums.SCALAR
    added = folder.custom_function.add(name_path=[*full[:2], path[-1]], mode=mode, group=ROUTINE)
    added.options.sql_name = ".".join(path)
    added.options.uses_upper_case_sql_name = False
    signature = added.signature.add()
    _add_arguments(signature, routine.arguments)
    _set_type(signature.return_type, routine.returns)
    if routine.returns is None:
        added.group = TEMPLATED
        added.templated_sql_function_argument_name.extend(a.name for a in routine.arguments)
        added.parse_resume_location.input = routine.body
        added.parse_resume_location.byte_position = 0
        added.parse_resume_location.allow_resume = False


def _add_arguments(signature: Any, arguments: tuple[Argument, ...]) -> None:
    for argument in arguments:
        added = signature.argument.add()
        _set_type(added, argument.type)
        added.options.argument_name = argument.name
        added.options.is_not_aggregate = not argument.aggregated


def _set_type(added: Any, type_: SqlType | None) -> None:
    added.num_occurrences = -1
    if type_ is None:
        added.kind = function.ARG_TYPE_ARBITRARY
    else:
        added.kind = function.ARG_TYPE_FIXED
        added.type.CopyFrom(type_proto(type_))
