"""Values of a file as the texts that the engine casts, checked as a load checks them.

What a cast would take and BigQuery's load would not is refused here; all else is left to the cast.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from keystile.model.schema import Field, Mode
from keystile.sandbox.transfer.delimited import Value

_INTEGER = re.compile(r"\s*[+-]?[0-9]+\s*")
_FLOAT = re.compile(
    r"\s*[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|inf(inity)?|nan)\s*", re.IGNORECASE
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,6})?")
_BOOLEANS = {
    **dict.fromkeys(("true", "t", "yes", "y", "1"), "true"),
    **dict.fromkeys(("false", "f", "no", "n", "0"), "false"),
}
_WORDS = {"INT64": "integer", "FLOAT64": "float", "BOOL": "boolean"}
_TEXTS = frozenset(("STRING", "BYTES"))


class Number(str):
    """A JSON number as it was written, so that no digit of a NUMERIC is lost."""

    __slots__ = ()


class BadRowError(Exception):
    """A row that does not fit the schema, in BigQuery's words."""


def parse_json(line: str) -> object:
    """Read a line of JSON with numbers as written. Raises `BadRowError`."""
    try:
        return json.loads(line, parse_float=Number, parse_int=Number, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadRowError("Parser terminated before end of string") from error


def _no_constant(name: str) -> object:
    raise ValueError(name)


def json_text(value: object) -> str:
    """Write what `parse_json` read as JSON again."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(k)}:{json_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(json_text, value)) + "]"
    return json.dumps(value)


def record_texts(
    given: object, fields: Sequence[Field], path: str, *, ignore_unknown: bool
) -> dict[str, object]:
    """Give a JSON object's values by the schema's names. Raises `BadRowError`."""
    if not isinstance(given, Mapping):
        where = f"Non-record value specified for record field: {path}."
        raise BadRowError(where if path else "Value encountered without start of object.")
    by_name = {str(name).lower(): value for name, value in given.items()}
    known = {field.name.lower() for field in fields}
    if not ignore_unknown and (unknown := [name for name in given if name.lower() not in known]):
        raise BadRowError(f"No such field: {joined_path(path, unknown[0])}.")
    found: dict[str, object] = {}
    for field in fields:
        where = joined_path(path, field.name)
        value = by_name.get(field.name.lower())
        if value is None and field.mode is Mode.REQUIRED:
            missing = field.name.lower() not in by_name
            said = f"Missing required field: {where}." if missing else null_refused(where)
            raise BadRowError(said)
        if field.mode is Mode.REPEATED:
            found[field.name] = _list_texts(value, field, where, ignore_unknown=ignore_unknown)
        else:
            found[field.name] = _json_text(value, field, where, ignore_unknown=ignore_unknown)
    return found


def _list_texts(value: object, field: Field, where: str, *, ignore_unknown: bool) -> list[object]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadRowError(f"Repeated field must be imported as a JSON array. Field: {where}.")
    if None in value and field.type != "JSON":
        raise BadRowError(null_refused(where))
    return [_json_text(item, field, where, ignore_unknown=ignore_unknown) for item in value]


def _json_text(value: object, field: Field, where: str, *, ignore_unknown: bool) -> object:
    if field.type == "JSON":
        return None if value is None and field.mode is not Mode.REPEATED else json_text(value)
    if value is None:
        return None
    if field.type == "STRUCT":
        return record_texts(value, field.fields, where, ignore_unknown=ignore_unknown)
    if isinstance(value, list):
        raise BadRowError(f"Array specified for non-repeated field: {where}.")
    if isinstance(value, Mapping):
        raise BadRowError(f"JSON object specified for non-record field: {where}")
    text = json.dumps(value) if isinstance(value, bool) else str(value)
    number = isinstance(value, Number)
    if field.type in _TEXTS and (number or isinstance(value, bool)):
        raise BadRowError(unfit(field, where, text))
    made = _scalar(text, field)
    if made is None or (isinstance(value, bool) and field.type != "BOOL"):
        raise BadRowError(unfit(field, where, text))
    return made


def null_refused(where: str) -> str:
    """Say of a NULL that it stands where none may."""
    return f"Only optional fields can be set to NULL. Field: {where}; Value: NULL"


def unfit(field: Field, where: str, text: str) -> str:
    """Say of a value in JSON that it is none of its column's type."""
    word = _WORDS.get(field.type, field.type.lower())
    return f"Could not convert value to {word}. Field: {where}; Value: {text}"


def line_texts(
    values: Sequence[Value], fields: Sequence[Field], null_markers: Sequence[str]
) -> dict[str, object]:
    """Give a CSV record's values by the schema's names. Raises `BadRowError`."""
    found: dict[str, object] = {}
    for at, (value, field) in enumerate(zip(values, fields, strict=False)):
        if _isnull_refused(value, field, null_markers):
            if field.mode is Mode.REQUIRED:
                raise BadRowError(f"Required column value for column index: {at} is missing")
            found[field.name] = None
            continue
        text = _scalar(value.text, field)
        if text is None:
            raise BadRowError(unparsed(field, at, value.text))
        found[field.name] = text
    for at, field in enumerate(fields[len(values) :], start=len(values)):
        if field.mode is Mode.REQUIRED:
            raise BadRowError(f"Required column value for column index: {at} is missing")
    return found


def _isnull_refused(value: Value, field: Field, null_markers: Sequence[str]) -> bool:
    # `""` is an empty text where texts go, and nothing where they do not.
    return value.text in null_markers and not (value.quoted and field.type in _TEXTS)


def unparsed(field: Field, at: int, text: str) -> str:
    """Say of a value in CSV that it is none of its column's type."""
    return (
        f"Could not parse '{text}' as {field.type} for field {field.name} (position {at}) "
        "starting at location 0 with message 'Unable to parse'"
    )


def _scalar(text: str, field: Field) -> str | None:
    """Give the text to cast, or nothing where it is none of its type."""
    if field.type == "INT64":
        return text if _INTEGER.fullmatch(text) else None
    if field.type == "FLOAT64":
        return text if _FLOAT.fullmatch(text) else None
    if field.type == "BOOL":
        return _BOOLEANS.get(text.strip().lower())
    if field.type == "TIMESTAMP" and _SECONDS.fullmatch(text):
        whole, _, fraction = text.partition(".")
        return _moment(int(whole), int(fraction.ljust(6, "0") or 0), negative=text[0] == "-")
    return text


def _moment(seconds: int, micros: int, *, negative: bool) -> str | None:
    """Give the moment that is so many seconds from 1970 as text."""
    total = seconds * 1_000_000 + (-micros if negative else micros)
    try:
        at = _EPOCH + timedelta(microseconds=total)
    except OverflowError:
        return None
    return at.isoformat(sep=" ")


def joined_path(path: str, name: str) -> str:
    """Give the dotted path of a field in a record, whose own is empty for the row."""
    return f"{path}.{name}" if path else name
