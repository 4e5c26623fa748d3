"""Values between three forms: the engine's, BigQuery's JSON cells, and the text that SQL casts.

Packed forms (NUMERIC, INTERVAL, DATETIME, TIME) are those of GoogleSQL's `ValueProto`; a test holds
each one to the engine's own CAST to STRING.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any, cast

from keystile.googlesql.messages import value_pb2
from keystile.model.errors import InvalidQueryError, InvalidRequestError
from keystile.model.schema import Field, Mode, SqlType
from keystile.sandbox.geography import point_text

_EPOCH = date(1970, 1, 1)
_NUMERIC_SCALE = {"NUMERIC": 9, "BIGNUMERIC": 38}
_MICROS = 1_000_000
_RANGE_TEXT = re.compile(r"\[(.*), (.*)\)")


def cell(value: Any, type_: SqlType, where: str = "") -> object:
    """Give the `v` of a cell, with timestamps as microseconds.

    Raises `InvalidQueryError` for a NULL inside an array, which no result can hold.
    """
    if value.WhichOneof("value") is None:
        return [] if type_.kind == "ARRAY" else None
    if type_.kind == "ARRAY":
        element = cast("SqlType", type_.element)
        found = [cell(item, element, where) for item in value.array_value.element]
        if None in found:
            raise InvalidQueryError(
                f"Array cannot have a null element; error in writing field {where}"
            )
        return [{"v": item} for item in found]
    if type_.kind == "STRUCT":
        parts = zip(value.struct_value.field, type_.fields, strict=True)
        return {"f": [{"v": cell(part, part_type, where)} for part, (_, part_type) in parts]}
    return scalar_text(value, type_)


def scalar_text(value: Any, type_: SqlType) -> str:
    """Give a value that is neither NULL, array nor struct as BigQuery's JSON writes it."""
    if type_.kind == "RANGE":
        return _range_text(value.range_value, cast("SqlType", type_.element))
    return _TEXT[type_.kind](value)


def _range_text(value: Any, element: SqlType) -> str:
    ends = (
        scalar_text(end, element) if end.WhichOneof("value") else "UNBOUNDED"
        for end in (value.start, value.end)
    )
    return f"[{', '.join(ends)})"


def _float(value: Any) -> str:
    number: float = value.double_value
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return repr(number)


def _decimal(packed: bytes, scale: int) -> str:
    scaled = int.from_bytes(packed, "little", signed=True)
    whole, fraction = divmod(abs(scaled), 10**scale)
    digits = str(fraction).rjust(scale, "0").rstrip("0")
    return f"{'-' if scaled < 0 else ''}{whole}{'.' + digits if digits else ''}"


def _clock(seconds_field: int, nanos: int) -> str:
    hour, minute, second = seconds_field >> 12 & 31, seconds_field >> 6 & 63, seconds_field & 63
    fraction = f".{nanos // 1000:06d}" if nanos else ""
    return f"{hour:02d}:{minute:02d}:{second:02d}{fraction}"


def _datetime(value: Any) -> str:
    packed = value.datetime_value.bit_field_datetime_seconds
    year, month, day = packed >> 26, packed >> 22 & 15, packed >> 17 & 31
    clock = _clock(packed & 0x1FFFF, value.datetime_value.nanos)
    return f"{year:04d}-{month:02d}-{day:02d}T{clock}"


def _timestamp(value: Any) -> str:
    at = value.timestamp_value
    return str(at.seconds * _MICROS + at.nanos // 1000)


def _interval(value: Any) -> str:
    packed: bytes = value.interval_value
    micros = int.from_bytes(packed[:8], "little", signed=True)
    days = int.from_bytes(packed[8:12], "little", signed=True)
    months_field = int.from_bytes(packed[12:16], "little")
    months = months_field >> 13 & 0x3FFFF
    sign = "-" if months_field >> 31 and months else ""
    seconds, fraction = divmod(abs(micros), _MICROS)
    clock = f"{seconds // 3600}:{seconds // 60 % 60}:{seconds % 60}"
    digits = f"{fraction:06d}"
    tail = "" if not fraction else f".{digits.removesuffix('000')}"
    return f"{sign}{months // 12}-{months % 12} {days} {'-' if micros < 0 else ''}{clock}{tail}"


_TEXT: dict[str, Callable[[Any], str]] = {
    "INT64": lambda value: str(value.int64_value),
    "BOOL": lambda value: "true" if value.bool_value else "false",
    "STRING": lambda value: value.string_value,
    "GEOGRAPHY": lambda value: value.string_value,
    "JSON": lambda value: value.json_value,
    "BYTES": lambda value: base64.b64encode(value.bytes_value).decode(),
    "FLOAT64": _float,
    "NUMERIC": lambda value: _decimal(value.numeric_value, _NUMERIC_SCALE["NUMERIC"]),
    "BIGNUMERIC": lambda value: _decimal(value.bignumeric_value, _NUMERIC_SCALE["BIGNUMERIC"]),
    "DATE": lambda value: (_EPOCH + timedelta(days=value.date_value)).isoformat(),
    "TIME": lambda value: _clock(value.time_value >> 30, value.time_value & 0x3FFFFFFF),
    "DATETIME": _datetime,
    "TIMESTAMP": _timestamp,
    "INTERVAL": _interval,
}


def with_float_times(row: Mapping[str, Any], fields: tuple[Field, ...]) -> dict[str, object]:
    """Rewrite a row's timestamps as seconds, the API's default form."""
    return {
        "f": [
            {"v": _float_times(item["v"], field)}
            for item, field in zip(row["f"], fields, strict=True)
        ]
    }


def _float_times(value: Any, field: Field) -> object:
    if value is None:
        return None
    if field.mode is Mode.REPEATED:
        return [{"v": _float_time(item["v"], field)} for item in value]
    return _float_time(value, field)


def _float_time(value: Any, field: Field) -> object:
    if field.type == "STRUCT" and value is not None:
        return with_float_times(value, field.fields)
    if field.type == "TIMESTAMP" and value is not None:
        return _seconds(value)
    if field.range_element == "TIMESTAMP" and (ends := _RANGE_TEXT.fullmatch(value or "")):
        return f"[{', '.join(_seconds(end) for end in ends.groups())})"
    return value


def _seconds(micros: str) -> str:
    if micros == "UNBOUNDED":
        return micros
    sign = "-" if micros.startswith("-") else ""
    seconds, fraction = divmod(abs(int(micros)), _MICROS)
    return f"{sign}{seconds}.{fraction:06d}".rstrip("0").ljust(len(f"{sign}{seconds}.0"), "0")


def stored_value(value: object, type_: SqlType, where: str) -> Any:
    """Make the text-leaf value of a cell in a data file (BigQuery's newline-delimited JSON).

    Raises `InvalidRequestError` naming `where`.
    """
    proto = value_pb2.ValueProto()
    if value is None and type_.kind != "ARRAY":
        return proto
    if type_.kind == "ARRAY":
        items = [] if value is None else value
        if not isinstance(items, list) or None in items:
            raise InvalidRequestError(f"`{where}` is not a list of values")
        proto.array_value.SetInParent()
        element = cast("SqlType", type_.element)
        proto.array_value.element.extend(stored_value(item, element, where) for item in items)
        return proto
    if type_.kind == "STRUCT":
        if not isinstance(value, dict) or value.keys() - dict(type_.fields).keys():
            raise InvalidRequestError(f"`{where}` is not a record of its schema's fields")
        proto.struct_value.SetInParent()
        proto.struct_value.field.extend(
            stored_value(value.get(name), part, f"{where}.{name}") for name, part in type_.fields
        )
        return proto
    proto.string_value = stored_text(value, type_, where)
    return proto


def stored_text(value: object, type_: SqlType, where: str) -> str:
    """Give the text of a scalar in a data file. Raises `InvalidRequestError` naming `where`."""
    if type_.kind == "JSON" and not isinstance(value, str):
        return json.dumps(value)
    if type_.kind == "GEOGRAPHY" and isinstance(value, str):
        return point_text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise InvalidRequestError(f"`{where}` is not a {type_.kind}")


def parameter_value(value: Mapping[str, Any], type_: SqlType) -> Any:
    """Make the text-leaf value of a query parameter (`QueryParameterValue`)."""
    proto = value_pb2.ValueProto()
    if type_.kind == "ARRAY":
        proto.array_value.SetInParent()
        element = cast("SqlType", type_.element)
        items = value.get("arrayValues") or []
        proto.array_value.element.extend(parameter_value(item, element) for item in items)
    elif value.get("structValues") is not None:
        proto.struct_value.SetInParent()
        proto.struct_value.field.extend(
            parameter_value(value["structValues"][name], part) for name, part in type_.fields
        )
    elif value.get("rangeValue") is not None:
        ends = (value["rangeValue"][end]["value"] or "UNBOUNDED" for end in ("start", "end"))
        proto.string_value = f"[{', '.join(ends)})"
    elif value.get("value") is not None:
        proto.string_value = value["value"]
    return proto
