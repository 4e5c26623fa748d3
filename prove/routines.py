"""Routines for the evaluator: it makes of each call what the text says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from keystile.googlesql.messages import function_pb2 as function
from keystile.googlesql.protos import type_proto
from keystile.model.schema import Argument, Routine, RoutineKind, SqlType

_TEMPLATED = "Templated_SQL_Function"
_ANY_NUMBER = -1


def add_routines(catalog: Any, routines: Iterable[Routine]) -> None:
    """Add routines of SQL under `dataset.routine` and their full names.

    Their texts must name tables as the evaluator does (`evaluator.runnable`).
    """
    for routine in routines:
        for path in (routine.id.path, routine.id.path[1:]):
            add = _add_table_function if routine.columns else _add_function
            add(_folder(catalog, path), path, routine)


def _folder(catalog: Any, path: tuple[str, ...]) -> Any:
    for part in path[:-1]:
        known = next((inner for inner in catalog.catalog if inner.name == part), None)
        catalog = catalog.catalog.add(name=part) if known is None else known
    return catalog


def _add_function(folder: Any, path: tuple[str, ...], routine: Routine) -> None:
    modes = function.FunctionEnums
    aggregates = routine.kind is RoutineKind.AGGREGATE
    added = folder.custom_function.add(
        name_path=path, group=_TEMPLATED, mode=modes.AGGREGATE if aggregates else modes.SCALAR
    )
    added.templated_sql_function_argument_name.extend(a.name for a in routine.arguments)
    added.parse_resume_location.input = routine.body
    signature = added.signature.add()
    _add_arguments(signature, routine.arguments)
    signature.return_type.num_occurrences = _ANY_NUMBER
    _set_type(signature.return_type, routine.returns)


def _add_table_function(folder: Any, path: tuple[str, ...], routine: Routine) -> None:
    added = folder.custom_tvf.add(name_path=path, type=function.FunctionEnums.TEMPLATED_SQL_TVF)
    added.argument_name.extend(argument.name for argument in routine.arguments)
    added.parse_resume_location.input = routine.body
    _add_arguments(added.signature, routine.arguments)
    added.signature.return_type.kind = function.ARG_TYPE_RELATION
    added.signature.return_type.num_occurrences = _ANY_NUMBER


def _add_arguments(signature: Any, arguments: Iterable[Argument]) -> None:
    for argument in arguments:
        added = signature.argument.add(num_occurrences=_ANY_NUMBER)
        added.options.argument_name = argument.name
        added.options.is_not_aggregate = not argument.aggregated
        _set_type(added, argument.type)


def _set_type(added: Any, type_: SqlType | None) -> None:
    if type_ is None:
        added.kind = function.ARG_TYPE_ARBITRARY
    else:
        added.kind = function.ARG_TYPE_FIXED
        added.type.CopyFrom(type_proto(type_))
