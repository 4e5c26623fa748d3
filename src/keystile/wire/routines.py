"""Routines: what the API's JSON says of them, and those that a client wants made. Pure data.

Only fields on a list pass. What is not made here, or gives rights, is refused by its name; what is
not known at all raises `InvalidRequestError`. Fields that BigQuery alone fills are read over.
Source of fact: `Routine` and its `Argument` of the API.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from keystile.model.errors import InvalidRequestError, KeystileError, RefusedError
from keystile.model.schema import Argument, Field, Routine, RoutineId, RoutineKind, SqlType
from keystile.wire.jsonbody import parse_object
from keystile.wire.responses import Resource
from keystile.wire.schema import field_of
from keystile.wire.standard_types import standard_type_from_json
from keystile.wire.strict import Strict, converted, without_refused

_OUTPUT = frozenset(("buildStatus", "creationTime", "etag", "lastModifiedTime"))
_NOT_PYTHON = "functions in Python are not made here; write it in SQL or JavaScript"
_REFUSED = {
    "externalRuntimeOptions": _NOT_PYTHON,
    "pythonOptions": _NOT_PYTHON,
    "importedLibraries": "code that lies elsewhere is not brought in; write it into the function",
    "remoteFunctionOptions": "remote functions are not made here; write it in SQL or JavaScript",
    "sparkOptions": "Spark is not served; write it in SQL or JavaScript",
    "securityMode": "an agent changes no rights here",
    "strictMode": "it is for procedures, which are not made here",
}
"""Fields of routines that are understood and not served, and why."""

_KINDS = {
    "SCALAR_FUNCTION": RoutineKind.SCALAR,
    "AGGREGATE_FUNCTION": RoutineKind.AGGREGATE,
    "TABLE_VALUED_FUNCTION": RoutineKind.TABLE_VALUED,
}
_LANGUAGES = ("SQL", "JAVASCRIPT")
_NAME = re.compile(r"[A-Za-z0-9_]{1,256}")
_TYPE = frozenset(("typeKind", "arrayElementType", "structType", "rangeElementType"))
_ANY, _FIXED, _UNSAID = "ANY_TYPE", "FIXED_TYPE", "ARGUMENT_KIND_UNSPECIFIED"

Determinism = Literal["DETERMINISM_LEVEL_UNSPECIFIED", "DETERMINISTIC", "NOT_DETERMINISTIC"]
Governance = Literal["DATA_GOVERNANCE_TYPE_UNSPECIFIED", "DATA_MASKING"]


class _Reference(Strict, frozen=True):
    project_id: str | None = None
    dataset_id: str | None = None
    routine_id: str | None = None


class _Argument(Strict, frozen=True):
    name: str
    argument_kind: Literal["ARGUMENT_KIND_UNSPECIFIED", "FIXED_TYPE", "ANY_TYPE"] | None = None
    mode: Literal["MODE_UNSPECIFIED"] | None = None  # the others are those of procedures
    data_type: dict[str, object] | None = None
    is_aggregate: bool | None = None


class _Column(Strict, frozen=True):
    name: str
    type: dict[str, object]


class _Table(Strict, frozen=True):
    columns: tuple[_Column, ...] = ()


class _Routine(Strict, frozen=True):
    routine_type: str
    routine_reference: _Reference | None = None
    language: str | None = None
    arguments: tuple[_Argument, ...] | None = None
    return_type: dict[str, object] | None = None
    return_table_type: _Table | None = None
    definition_body: str | None = None
    description: str | None = None
    determinism_level: Determinism | None = None
    data_governance_type: Governance | None = None


class NewRoutine(msgspec.Struct, frozen=True):
    """A function to make, in SQL or JavaScript.

    `deterministic` is None where nothing is said of it. One that `masks` is for BigQuery's data
    policies, which mask columns by it.
    """

    routine: Routine
    description: str = ""
    deterministic: bool | None = None
    masks: bool = False

    @property
    def id(self) -> RoutineId:
        """Its name."""
        return self.routine.id

    def is_as(self, now: Resource) -> bool:
        """Tell whether this is what routines.get says now.

        White space around a text is nothing, a statement loses it. Where `now` does not tell the
        text it is not known to be the same.
        """
        try:
            known = _read(self.id, now)
        except KeystileError:
            return False
        return _without_space(known) == _without_space(self)

    def as_written(self, told: Resource) -> Resource:
        """Give what routines.get says with the client's own white space around the text."""
        body = told.get("definitionBody")
        same = isinstance(body, str) and body.strip() == self.routine.body.strip()
        return {**told, "definitionBody": self.routine.body} if same else told


def parse_routine(project: str, dataset: str, body: bytes) -> NewRoutine:
    """Read the body of routines.insert.

    Raises `InvalidRequestError` for what is malformed or unknown, `RefusedError` for what is
    understood and not served.
    """
    given = parse_object(body)
    reference = given.get("routineReference")
    name = reference.get("routineId") if isinstance(reference, dict) else None
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidRequestError(f"Invalid routine ID `{str(name or '')[:100]}`")
    return _read(RoutineId(project, dataset, name), given)


def parse_routine_update(id_: RoutineId, body: bytes) -> NewRoutine:
    """Read the body of routines.update, which says all of the routine. Raises as `parse_routine`.

    One that names another routine than its path raises too.
    """
    return _read(id_, parse_object(body))


def argument_from_json(item: Mapping[str, Any]) -> Argument:
    """Read an `Argument`. Raises `InvalidRequestError` for one that is not understood."""
    name, kind = str(item.get("name") or ""), item.get("argumentKind") or _UNSAID
    if kind not in {_ANY, _FIXED, _UNSAID}:
        raise InvalidRequestError(f"an argument of the kind `{kind}` is not understood")
    type_ = item.get("dataType")
    if kind != _ANY and not isinstance(type_, Mapping):
        raise InvalidRequestError(f"the argument `{name[:100]}` has no `dataType`")
    declared = None if kind == _ANY else standard_type_from_json(type_ or {})
    return Argument(name, declared, item.get("isAggregate") is not False)


def returned_from_json(item: Mapping[str, Any] | None) -> SqlType | None:
    """Read a `returnType`, where there is one. Raises `InvalidRequestError`."""
    return None if item is None else standard_type_from_json(item)


def columns_from_json(table: Mapping[str, Any] | None) -> tuple[Field, ...]:
    """Read a `StandardSqlTableType`. Raises `InvalidRequestError` and `KeyError`."""
    columns = (table or {}).get("columns") or ()
    return tuple(
        field_of(column["name"], standard_type_from_json(column["type"])) for column in columns
    )


def _read(id_: RoutineId, body: Mapping[str, object]) -> NewRoutine:
    known = {name: value for name, value in body.items() if name not in _OUTPUT}
    raw: dict[str, Any] = without_refused(known, _REFUSED)
    _refuse_others(raw)
    given = converted(raw, _Routine)
    _check_reference(given.routine_reference, id_)
    _check_types(raw)
    routine = Routine(
        id_,
        _KINDS[given.routine_type],
        given.language or "SQL",
        tuple(map(argument_from_json, raw.get("arguments") or ())),
        given.definition_body or "",
        returned_from_json(given.return_type),
        columns_from_json(raw.get("returnTableType")),
    )
    _check(routine, given)
    return NewRoutine(
        routine,
        given.description or "",
        {"DETERMINISTIC": True, "NOT_DETERMINISTIC": False}.get(given.determinism_level or ""),
        given.data_governance_type == "DATA_MASKING",
    )


def _refuse_others(raw: Mapping[str, object]) -> None:
    """Refuse kinds and languages that are not made here, each by its name."""
    kind = raw.get("routineType")
    if kind == RoutineKind.PROCEDURE:
        raise RefusedError(
            "procedures are not made here", hint="run what it does as statements of your own"
        )
    if not isinstance(kind, str) or kind not in _KINDS:
        raise InvalidRequestError(
            f"`routineType` `{str(kind or '')[:100]}` is not understood",
            hint=f"write {', '.join(f'`{name}`' for name in _KINDS)}",
        )
    language = raw.get("language")
    if isinstance(language, str) and language and language not in _LANGUAGES:
        raise RefusedError(
            f"functions in `{language[:100]}` are not made here",
            hint="write it in SQL or JavaScript",
        )


def _check_reference(given: _Reference | None, id_: RoutineId) -> None:
    if given is None:
        return
    names = ("projectId", "datasetId", "routineId")
    said = (given.project_id, given.dataset_id, given.routine_id)
    for name, word, wanted in zip(names, said, id_.path, strict=True):
        if word not in {None, "", wanted}:
            raise InvalidRequestError(f"`routineReference.{name}` is not that of the path")


def _check_types(raw: Mapping[str, Any]) -> None:
    """Refuse what a type may have besides what is read of it."""
    table = raw.get("returnTableType") or {}
    waiting: list[object] = [
        raw.get("returnType"),
        *(one.get("dataType") for one in raw.get("arguments") or ()),
        *(one.get("type") for one in table.get("columns") or ()),
    ]
    while waiting:
        type_ = waiting.pop()
        if not isinstance(type_, dict):
            continue
        inner = type_.get("structType")
        struct = inner if isinstance(inner, dict) else {}
        parts = struct.get("fields")
        fields = [one for one in parts if isinstance(one, dict)] if isinstance(parts, list) else []
        unknown = (type_.keys() - _TYPE) | (struct.keys() - {"fields"})
        for one in fields:
            unknown |= one.keys() - {"name", "type"}
        if unknown:
            raise InvalidRequestError(f"a type has an unknown field `{min(unknown)[:100]}`")
        waiting += [type_.get("arrayElementType"), type_.get("rangeElementType")]
        waiting += [one.get("type") for one in fields]


def _check(routine: Routine, given: _Routine) -> None:
    """Raise `InvalidRequestError` for what does not go together."""
    gives_table = routine.kind is RoutineKind.TABLE_VALUED
    if not routine.body.strip():
        raise InvalidRequestError("`definitionBody` is missing")
    if any(not argument.name for argument in routine.arguments):
        raise InvalidRequestError("an argument has no `name`")
    odd = {
        "returnType": gives_table and routine.returns,
        "returnTableType": not gives_table and routine.columns,
        "language": gives_table and routine.language != "SQL",
        "isAggregate": routine.kind is not RoutineKind.AGGREGATE
        and any(one.is_aggregate is not None for one in given.arguments or ()),
        "determinismLevel": routine.language == "SQL"
        and given.determinism_level in {"DETERMINISTIC", "NOT_DETERMINISTIC"},
    }
    if name := next((name for name, is_odd in odd.items() if is_odd), ""):
        raise InvalidRequestError(
            f"`{name}` does not fit a {routine.kind} in {routine.language}", hint="leave it out"
        )
    if routine.language != "SQL" and routine.returns is None:
        raise InvalidRequestError("`returnType` is missing: JavaScript does not tell it")


def _without_space(new: NewRoutine) -> NewRoutine:
    routine = msgspec.structs.replace(new.routine, body=new.routine.body.strip())
    return msgspec.structs.replace(new, routine=routine)
