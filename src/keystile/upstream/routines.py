"""What BigQuery's `routines.get` says, as the model's routines."""

from __future__ import annotations

from keystile.model.errors import InvalidRequestError, RefusedError
from keystile.model.schema import Routine, RoutineId, RoutineKind
from keystile.upstream.answers import RoutineAnswer
from keystile.wire.routines import argument_from_json, columns_from_json, returned_from_json

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
        arguments=tuple(map(argument_from_json, answer.arguments)),
        body=answer.definition_body,
        returns=returned_from_json(answer.return_type),
        columns=columns_from_json(answer.return_table_type),
        remote=str(remote.get("connection") or "?") if remote is not None else "",
        etag=answer.etag,
    )
