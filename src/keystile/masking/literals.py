"""Default and constant values of each type, as SQL and as the cells of BigQuery's JSON."""

from __future__ import annotations

import datetime as dt
import math
from typing import NamedTuple

from keystile.model.schema import SqlType


class Literal(NamedTuple):
    """One value: an SQL expression of exactly the type, and the text in a JSON cell."""

    sql: str
    cell: str


_DEFAULTS = {
    "BIGNUMERIC": Literal("BIGNUMERIC '0'", "0"),
    "BOOL": Literal("FALSE", "false"),
    "BYTES": Literal("b''", ""),
    "DATE": Literal("DATE '1970-01-01'", "1970-01-01"),
    "DATETIME": Literal("DATETIME '1970-01-01 00:00:00'", "1970-01-01T00:00:00"),
    "FLOAT64": Literal("CAST(0 AS FLOAT64)", "0.0"),
    "GEOGRAPHY": Literal("ST_GEOGFROMTEXT('GEOMETRYCOLLECTION EMPTY')", "GEOMETRYCOLLECTION EMPTY"),
    "INT64": Literal("0", "0"),
    "INTERVAL": Literal("INTERVAL 0 DAY", "0-0 0 0:0:0"),
    "JSON": Literal("JSON 'null'", "null"),
    "NUMERIC": Literal("NUMERIC '0'", "0"),
    "STRING": Literal("''", ""),
    "TIME": Literal("TIME '00:00:00'", "00:00:00"),
    "TIMESTAMP": Literal("TIMESTAMP '1970-01-01 00:00:00+00'", "0"),
}

_LARGEST_INT64 = (1 << 63) - 1
_LARGEST_NUMERIC = 10**28


def default(type_: SqlType) -> Literal | None:
    """Give a scalar type's default; None where it has none, so that only NULL is left."""
    if type_.kind == "RANGE" and type_.element:
        unbounded = "[UNBOUNDED, UNBOUNDED)"
        return Literal(f"RANGE<{type_.element}> '{unbounded}'", unbounded)
    return _DEFAULTS.get(type_.kind)


def constant(value: str | float | bool, type_: SqlType) -> Literal | None:  # noqa: FBT001 - a mask's value may be one
    """Give the value in this type; None where it does not fit, so that nothing is guessed."""
    literal: Literal | None = None
    match type_.kind, value:
        case "STRING", str():
            literal = Literal(text(value), value)
        case "BOOL", bool():
            literal = Literal(str(value).upper(), str(value).lower())
        case _, bool():
            pass
        case "INT64", int() if abs(value) <= _LARGEST_INT64:
            literal = Literal(str(value), str(value))
        case "FLOAT64", int() | float() if _is_finite(value):
            # Out of a text: the engine numbers its FLOAT64 literals, and a rewritten query must
            # be equal to one that was resolved by itself.
            literal = Literal(f"CAST('{float(value)!r}' AS FLOAT64)", repr(float(value)))
        case "NUMERIC" | "BIGNUMERIC", int() if abs(value) < _LARGEST_NUMERIC:
            literal = Literal(f"{type_.kind} '{value}'", str(value))
        case "DATE", str() if _is_date(value):
            literal = Literal(f"DATE '{value}'", value)
    return literal


def text(value: str) -> str:
    """Write a STRING literal. INVARIANT: nothing of the value can end the literal."""
    return "'" + "".join(_escaped(character) for character in value) + "'"


def _escaped(character: str) -> str:
    if character in {"'", "\\"}:
        return "\\" + character
    return character if character.isprintable() else f"\\U{ord(character):08x}"


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def _is_date(value: str) -> bool:
    try:
        return dt.date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False
