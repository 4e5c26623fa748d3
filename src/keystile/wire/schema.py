"""BigQuery's schema and parameter JSON ↔ the model's types.

Sources of fact: `TableFieldSchema`, `QueryParameterType` and `QueryParameterValue` of the API.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NoReturn, cast

from keystile.model.errors import InvalidRequestError
from keystile.model.schema import Field, Mode, Parameter, SqlType

MAX_DEPTH = 15
"""How deep BigQuery lets records nest."""

MAX_PARAMETERS = 10_000

# The API still says some types by their legacy SQL names.
_STANDARD = {
    "INTEGER": "INT64",
    "FLOAT": "FLOAT64",
    "BOOLEAN": "BOOL",
    "RECORD": "STRUCT",
    "DECIMAL": "NUMERIC",
    "BIGDECIMAL": "BIGNUMERIC",
}
_LEGACY = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD"}

SCALARS = frozenset(
    (
        "INT64",
        "FLOAT64",
        "BOOL",
        "STRING",
        "BYTES",
        "DATE",
        "DATETIME",
        "TIME",
        "TIMESTAMP",
        "NUMERIC",
        "BIGNUMERIC",
        "JSON",
        "INTERVAL",
        "GEOGRAPHY",
    )
)
"""Standard names of the types that have no parts."""

_RANGE_ELEMENTS = frozenset(("DATE", "DATETIME", "TIMESTAMP"))
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def fields_from_json(schema: object) -> tuple[Field, ...]:
    """Read a `TableSchema` (`{"fields": [...]}`) or a bare list of fields.

    Raises `InvalidRequestError` naming the column that is not understood.
    """
    if isinstance(schema, Mapping):
        schema = schema.get("fields", [])
    return _fields(schema, "", 0)


def _fields(items: object, path: str, depth: int) -> tuple[Field, ...]:
    if not isinstance(items, list) or depth > MAX_DEPTH:
        raise InvalidRequestError(f"the schema of `{path or 'the table'}` is not understood")
    return tuple(_field(item, path, depth) for item in items)


def _field(item: object, path: str, depth: int) -> Field:
    if not isinstance(item, dict) or not isinstance(name := item.get("name"), str) or not name:
        raise InvalidRequestError(f"the schema of `{path or 'the table'}` has a field with no name")
    where = f"{path}.{name}" if path else name
    kind = standard_type(item.get("type"), where)
    tags = item.get("policyTags") or {}
    names = tags.get("names") or [] if isinstance(tags, dict) else None
    if not isinstance(names, list) or not all(isinstance(tag, str) for tag in names):
        raise InvalidRequestError(f"the policy tags of column `{where}` are not understood")
    try:
        mode = Mode(str(item.get("mode") or "NULLABLE").upper())
    except ValueError as error:
        raise InvalidRequestError(f"the mode of column `{where}` is not understood") from error
    return Field(
        name=name,
        type=kind,
        mode=mode,
        fields=_fields(item.get("fields"), where, depth + 1) if kind == "STRUCT" else (),
        description=str(item.get("description") or ""),
        policy_tags=tuple(names),
        range_element=_range_element(item, where) if kind == "RANGE" else "",
    )


def standard_type(name: object, where: str) -> str:
    """Give the standard name of a type that the API names, such as `INT64` for `INTEGER`.

    Raises `InvalidRequestError` naming `where`, the column or parameter that has it.
    """
    upper = name.upper() if isinstance(name, str) else ""
    kind = _STANDARD.get(upper, upper)
    if kind not in SCALARS and kind not in {"STRUCT", "RANGE"}:
        raise InvalidRequestError(f"the type of `{where}` is not understood: `{str(name)[:60]}`")
    return kind


def _range_element(item: Mapping[str, object], where: str) -> str:
    element = item.get("rangeElementType")
    kind = element.get("type") if isinstance(element, Mapping) else None
    if not isinstance(kind, str) or kind.upper() not in _RANGE_ELEMENTS:
        raise InvalidRequestError(f"the range type of `{where}` is not understood")
    return kind.upper()


def schema_json(fields: Sequence[Field]) -> dict[str, object]:
    """Write a `TableSchema`, with types named as BigQuery names them (`INTEGER`, `RECORD` …)."""
    return {"fields": [field_json(field) for field in fields]}


def field_json(field: Field) -> dict[str, object]:
    """Write a `TableFieldSchema`, with the field's type as BigQuery names it."""
    written: dict[str, object] = {
        "name": field.name,
        "type": _LEGACY.get(field.type, field.type),
        "mode": field.mode.value,
    }
    if field.type == "STRUCT":
        written["fields"] = [field_json(inner) for inner in field.fields]
    if field.description:
        written["description"] = field.description
    if field.policy_tags:
        written["policyTags"] = {"names": list(field.policy_tags)}
    if field.range_element:
        written["rangeElementType"] = {"type": field.range_element}
    return written


def field_of(name: str, type_: SqlType) -> Field:
    """Give the field that a result column of this type has in a schema.

    Raises `InvalidRequestError` for an array of arrays, which no schema can hold.
    """
    repeated = type_.kind == "ARRAY"
    inner = type_.element if repeated and type_.element is not None else type_
    if inner.kind == "ARRAY":
        raise InvalidRequestError(f"column `{name}` is an array of arrays")
    return Field(
        name=name,
        type=inner.kind,
        mode=Mode.REPEATED if repeated else Mode.NULLABLE,
        fields=tuple(field_of(part, part_type) for part, part_type in inner.fields),
        range_element=str(inner.element) if inner.kind == "RANGE" else "",
    )


def parameters_from_json(items: object, mode: object) -> tuple[Parameter, ...]:
    """Read `queryParameters` under `parameterMode`, which may be absent, in any case of letters.

    Values become text or NULL, as the API's own documents write them. Raises `InvalidRequestError`
    naming the parameter.
    """
    if items is None:
        return ()
    if not isinstance(items, list) or len(items) > MAX_PARAMETERS:
        raise InvalidRequestError("`queryParameters` is not a list that is understood")
    parameters = tuple(_parameter(item, index) for index, item in enumerate(items))
    names = [parameter.name for parameter in parameters]
    mode = mode.upper() if isinstance(mode, str) else mode  # Node's client writes it small
    if mode not in (None, "", "NAMED", "POSITIONAL"):
        raise InvalidRequestError("`parameterMode` must be `NAMED` or `POSITIONAL`")
    named = mode == "NAMED" or (not mode and any(names))
    if named != all(names) and names:
        raise InvalidRequestError("`queryParameters` do not agree with `parameterMode`")
    if named and len({name.lower() for name in names}) != len(names):
        raise InvalidRequestError("`queryParameters` has one name twice")
    if not named and any(names):
        raise InvalidRequestError("a positional query parameter has a name")
    return parameters


def _parameter(item: object, index: int) -> Parameter:
    where = f"parameter {index + 1}"
    if not isinstance(item, dict) or item.keys() - {"name", "parameterType", "parameterValue"}:
        raise InvalidRequestError(f"{where} is not understood")
    name = item.get("name") or ""
    if not isinstance(name, str) or (name and not _NAME.fullmatch(name)):
        raise InvalidRequestError(f"the name of {where} is not an identifier")
    where = name or where
    type_ = _type(item.get("parameterType"), where, 0)
    return Parameter(name, type_, _value(item.get("parameterValue"), type_, where))


def _unclear(where: str, what: str) -> NoReturn:
    raise InvalidRequestError(f"the {what} of query parameter `{where}` is not understood")


def _type(item: object, where: str, depth: int) -> SqlType:
    if not isinstance(item, dict) or depth > MAX_DEPTH:
        _unclear(where, "type")
    given = {key for key, value in item.items() if value is not None}
    kind = item.get("type")
    if isinstance(kind, str) and kind.upper() == "ARRAY":
        element = _type(item.get("arrayType"), where, depth + 1)
        if given != {"type", "arrayType"} or element.kind == "ARRAY":
            _unclear(where, "type")
        return SqlType("ARRAY", element=element)
    kind = standard_type(kind, where)
    if kind == "STRUCT":
        return _struct_type(item, given, where, depth)
    if kind == "RANGE":
        if given != {"type", "rangeElementType"}:
            _unclear(where, "type")
        return SqlType("RANGE", element=SqlType(_range_element(item, where)))
    if given != {"type"}:
        _unclear(where, "type")
    return SqlType(kind)


def _struct_type(item: Mapping[str, object], given: set[str], where: str, depth: int) -> SqlType:
    parts = item.get("structTypes")
    if given != {"type", "structTypes"} or not isinstance(parts, list):
        _unclear(where, "type")
    fields = []
    for part in parts:
        if not isinstance(part, dict) or part.keys() - {"name", "type", "description"}:
            _unclear(where, "type")
        name = part.get("name") or ""
        if not isinstance(name, str):
            _unclear(where, "type")
        fields.append((name, _type(part.get("type"), where, depth + 1)))
    if len({name.lower() for name, _ in fields}) != len(fields):
        _unclear(where, "type")
    return SqlType("STRUCT", fields=tuple(fields))


def _value(item: object, type_: SqlType, where: str) -> dict[str, object]:
    if item is None:
        return {"value": None}
    if not isinstance(item, dict):
        _unclear(where, "value")
    given = {key for key, value in item.items() if value is not None}
    if not given:
        # The client says an absent array as an empty one; BigQuery knows no NULL array parameter.
        return {"arrayValues": []} if type_.kind == "ARRAY" else {"value": None}
    if type_.kind == "ARRAY":
        return {"arrayValues": _array_values(item, given, type_, where)}
    if type_.kind == "STRUCT":
        return {"structValues": _struct_values(item, given, type_, where)}
    if type_.kind == "RANGE" and given == {"rangeValue"}:
        return {"rangeValue": _range_value(item["rangeValue"], type_, where)}
    if given != {"value"}:
        _unclear(where, "value")
    return {"value": _scalar(item["value"], where)}


def _array_values(
    item: Mapping[str, object], given: set[str], type_: SqlType, where: str
) -> list[object]:
    values = item.get("arrayValues")
    if given != {"arrayValues"} or not isinstance(values, list):
        _unclear(where, "value")
    return [_value(value, cast("SqlType", type_.element), where) for value in values]


def _struct_values(
    item: Mapping[str, object], given: set[str], type_: SqlType, where: str
) -> dict[str, object]:
    values = item.get("structValues")
    types = dict(type_.fields)
    if given != {"structValues"} or not isinstance(values, dict) or values.keys() - types.keys():
        _unclear(where, "value")
    return {name: _value(values.get(name), part, where) for name, part in types.items()}


def _range_value(value: object, type_: SqlType, where: str) -> dict[str, object]:
    if not isinstance(value, dict) or value.keys() - {"start", "end"}:
        _unclear(where, "value")
    element = cast("SqlType", type_.element)
    return {end: _value(value.get(end), element, where) for end in ("start", "end")}


def _scalar(value: object, where: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if not isinstance(value, str):
        _unclear(where, "value")
    return value


def parameter_json(parameter: Parameter) -> dict[str, object]:
    """Write one entry of `queryParameters`."""
    written: dict[str, object] = {
        "parameterType": type_json(parameter.type),
        "parameterValue": parameter.value,
    }
    return {"name": parameter.name, **written} if parameter.name else written


def type_json(type_: SqlType) -> dict[str, object]:
    """Write a `QueryParameterType`."""
    if type_.kind == "STRUCT":
        parts = [{"name": name, "type": type_json(part)} for name, part in type_.fields]
        return {"type": "STRUCT", "structTypes": parts}
    if type_.element is None:
        return {"type": type_.kind}
    key = "arrayType" if type_.kind == "ARRAY" else "rangeElementType"
    return {"type": type_.kind, key: type_json(type_.element)}
