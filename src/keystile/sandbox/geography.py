"""GEOGRAPHY: points are kept and given back as text, as the engine evaluates no geographies.

INVARIANT: no function sees the text in place of the geography, since its answer would be wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from keystile.model.schema import SqlType
from keystile.sandbox.errors import unsupported

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_POINT = re.compile(rf"\s*POINT\s*\(\s*({_NUMBER})\s+({_NUMBER})\s*\)\s*", re.IGNORECASE)
_BOUNDS = (180.0, 90.0)

# They hand on what they are given and look at no more than whether it is NULL.
_HANDING_ON = frozenset(
    ("any_value", "array_agg", "array_concat", "array_length", "coalesce", "count", "if", "ifnull")
)
# They take no geography: the engine has said so before it comes to this.
_OF_OTHER_TYPES = frozenset(
    ("avg", "concat", "countif", "length", "lower", "max", "min", "round", "sum", "upper")
)


def holds_geography(type_: SqlType) -> bool:
    """Tell whether values of a type have a geography in them."""
    inner = (type_.element, *(part for _, part in type_.fields))
    return type_.kind == "GEOGRAPHY" or any(holds_geography(part) for part in inner if part)


def kept_as(type_: SqlType) -> SqlType:
    """Give the type that values are kept as: text in place of each geography."""
    if type_.kind == "GEOGRAPHY":
        return SqlType("STRING")
    return SqlType(
        type_.kind,
        kept_as(type_.element) if type_.element else None,
        tuple((name, kept_as(part)) for name, part in type_.fields),
    )


def point_text(text: str) -> str:
    """Write a point as BigQuery does. Raises `UnsupportedError` for all other geographies."""
    found = _POINT.fullmatch(text)
    if found is None:
        raise unsupported(f"the geography `{text[:60]}`; only points are kept here, as WKT")
    numbers = [float(number) for number in found.groups()]
    if any(abs(number) > bound for number, bound in zip(numbers, _BOUNDS, strict=True)):
        raise unsupported(f"the point `{text[:60]}`, which is beyond the bounds of the globe")
    return f"POINT({' '.join(_shortest(number) for number in numbers)})"


def _shortest(number: float) -> str:
    return f"{number:.15g}" if number else "0"


def check_calls(calls: Iterable[tuple[str, ...]]) -> None:
    """Raise `UnsupportedError` for a call of a function that would look into a geography."""
    for path in calls:
        if len(path) > 1 or path[0].lower() not in _HANDING_ON | _OF_OTHER_TYPES:
            raise unsupported(f"`{'.'.join(path)[:60]}` beside a column of type GEOGRAPHY")
