"""What BigQuery's `routines.get` says, as the model's routines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keystile.model.errors import InvalidRequestError, RefusedError
from keystile.model.schema import Argument, Field, Routine, RoutineId, RoutineKind, SqlType
from keystile.upstream.answers import RoutineAnswer
from keystile.wire.schema import field_of
from keystile.wire.standard_types import standard_type_from_json

_KINDS = {kind.value: kind for kind in RoutineKind if kind is not RoutineKind.OTHER}


def routine_of(asked: RoutineId, answer: RoutineAnswer) -> Routine:
    """Give the routine that `routines.get` describes. Raises `RefusedError` where it is unclear."""
    known = answer.routine_reference.id()
    if known != asked:
        # INVARIANT: policy is decided on the name that BigQuery itself uses.
        raise RefusedError(f"BigQuery knows `{asked}` under another name", hint=f"write `{known}`")
    try:
        return _routine(asked, answer)
    except (InvalidRequestError, KeyError, TypeError, AttributeError) as error:
        raise RefusedError(
            f"the arguments or the result of routine `{asked}` are not understood",
            hint="write what it does into the query",
        ) from error


def _routine(id_: RoutineId, answer: RoutineAnswer) -> Routine:
    remote = answer.remote_function_options
    return Routine(
        id_,
        _KINDS.get(answer.routine_type, RoutineKind.OTHER),
        # "Defaults to SQL if remote_function_options field is absent, not set otherwise."
        language=(answer.language or ("SQL" if remote is None else "")).upper(),
        arguments=tuple(map(_argument, answer.arguments)),
        body=answer.definition_body,
        returns=_type(answer.return_type),
        columns=_columns(answer.return_table_type),
        remote=str(remote.get("connection") or "?") if remote is not None else "",
        etag=answer.etag,
    )


def _argument(item: Mapping[str, Any]) -> Argument:
    kind = item.get("argumentKind") or "FIXED_TYPE"
    if kind not in {"ANY_TYPE", "FIXED_TYPE"}:
        raise InvalidRequestError(f"an argument of the kind `{kind}` is not understood")
    type_ = None if kind == "ANY_TYPE" else standard_type_from_json(item["dataType"])
    return Argument(str(item.get("name") or ""), type_, item.get("isAggregate") is not False)


def _type(item: Mapping[str, Any] | None) -> SqlType | None:
    return None if item is None else standard_type_from_json(item)


def _columns(table: Mapping[str, Any] | None) -> tuple[Field, ...]:
    columns = (table or {}).get("columns") or ()
    return tuple(
        field_of(column["name"], standard_type_from_json(column["type"])) for column in columns
    )
