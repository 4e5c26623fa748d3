"""Masks that show roughly how great a value is, as SQL and on a JSON cell.

No error tells of a value: what would be beyond a type's limits becomes the limit.
"""

from __future__ import annotations

import datetime as dt
import math
from decimal import Context, Decimal
from typing import NamedTuple

from keystile.model.masks import BucketMask, Mask, RoundMask, TruncateMask
from keystile.model.schema import SqlType

_MONTHS = {"month": 1, "quarter": 3, "year": 12}
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_EXACT = Context(prec=200)  # far more digits than a product of two numbers has


class _Exact(NamedTuple):
    """A type of exact numbers: its least and greatest, and its decimal places."""

    least: Decimal
    greatest: Decimal
    places: int

    def literal(self, kind: str, value: Decimal) -> str:
        """Write a number of the type."""
        return f"CAST('{value:f}' AS {kind})"


def _scaled(least: int, greatest: int, places: int) -> _Exact:
    return _Exact(
        Decimal(least).scaleb(-places, _EXACT), Decimal(greatest).scaleb(-places, _EXACT), places
    )


_NUMBERS = {
    "INT64": _scaled(-(1 << 63), (1 << 63) - 1, 0),
    "NUMERIC": _scaled(1 - 10**38, 10**38 - 1, 9),
    "BIGNUMERIC": _scaled(-(1 << 255), (1 << 255) - 1, 38),
}


def sql(mask: Mask, type_: SqlType, value: str) -> str | None:
    """Give the masked form of an SQL expression of a type; None for other masks and types."""
    match mask:
        case TruncateMask(to=unit) if type_.kind in {"DATE", "DATETIME"}:
            return f"{type_.kind}_TRUNC({value}, {unit.upper()})"
        case TruncateMask(to=unit) if type_.kind == "TIMESTAMP":
            return f"TIMESTAMP_TRUNC({value}, {unit.upper()}, 'UTC')"
        case BucketMask(width=width) | RoundMask(to=width):
            nearest = isinstance(mask, RoundMask)
            if type_.kind == "FLOAT64":
                return _float_sql(float(width), value, nearest=nearest)
            exact = _NUMBERS.get(type_.kind)
            step = exact and _step(width, exact)
            if exact and step:
                return _exact_sql(type_.kind, exact, step, value, nearest=nearest)
    return None


def cell(mask: Mask, type_: SqlType, text: str) -> str | None:
    """Give the masked form of a cell of a type; None for other masks and types.

    A TIMESTAMP is whole microseconds.
    """
    match mask:
        case TruncateMask(to=unit):
            return _truncated(_MONTHS[unit], type_.kind, text)
        case BucketMask(width=width) | RoundMask(to=width):
            nearest = isinstance(mask, RoundMask)
            if type_.kind == "FLOAT64":
                return _float(float(width), float(text), nearest=nearest)
            exact = _NUMBERS.get(type_.kind)
            step = exact and _step(width, exact)
            if exact and step:
                return _exact(exact, step, Decimal(text), nearest=nearest)
    return None


def _step(width: float, exact: _Exact) -> Decimal | None:
    """Give a width in a type of exact numbers; None where it is none of its numbers."""
    step = Decimal(repr(width))
    places = -int(step.normalize(_EXACT).as_tuple().exponent)
    return step if step <= exact.greatest and places <= exact.places else None


def _exact_sql(kind: str, exact: _Exact, step: Decimal, value: str, *, nearest: bool) -> str:
    by, zero = exact.literal(kind, step), exact.literal(kind, Decimal(0))
    # Above a multiple of the width by `rest`, which lies between 0 and the width.
    over = f"MOD({value}, {by})"
    rest = f"IF({over} < {zero}, {over} + {by}, {over})"
    low = f"IFNULL(SAFE_SUBTRACT({value}, {rest}), {exact.literal(kind, exact.least)})"
    if not nearest:
        return low
    high = f"IFNULL(SAFE_ADD({value}, {by} - {rest}), {exact.literal(kind, exact.greatest)})"
    return f"IF({rest} < {by} - {rest}, {low}, {high})"


def _exact(exact: _Exact, step: Decimal, value: Decimal, *, nearest: bool) -> str:
    signed = _EXACT.remainder(value, step)
    rest = _EXACT.add(signed, step) if signed < 0 else signed
    to_next = _EXACT.subtract(step, rest)
    up = nearest and rest >= to_next
    found = _EXACT.add(value, to_next) if up else _EXACT.subtract(value, rest)
    within = min(max(found, exact.least), exact.greatest)
    text = f"{within:f}" if within else "0"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _float_sql(width: float, value: str, *, nearest: bool) -> str:
    # The same steps of IEEE 754 as in Python, none of which raises an error.
    by = f"CAST('{width!r}' AS FLOAT64)"
    steps = f"IEEE_DIVIDE({value}, {by})" + (" + CAST('0.5' AS FLOAT64)" if nearest else "")
    product = f"SAFE_MULTIPLY(FLOOR({steps}), {by})"
    beyond = f"IF({value} < 0, CAST('-inf' AS FLOAT64), CAST('inf' AS FLOAT64))"
    return f"IFNULL({product}, {beyond})"


def _float(width: float, value: float, *, nearest: bool) -> str:
    steps = value / width + 0.5 if nearest else value / width
    whole = math.copysign(math.floor(steps), steps) if math.isfinite(steps) else steps
    found = whole * width
    if math.isnan(found):
        return "NaN"
    if math.isinf(found):
        return "Infinity" if found > 0 else "-Infinity"
    return repr(found)


def _truncated(months: int, kind: str, text: str) -> str | None:
    if kind == "TIMESTAMP":
        at = _EPOCH + int(text) * _MICROSECOND
        month = (at.month - 1) // months * months + 1
        return str((dt.datetime(at.year, month, 1, tzinfo=dt.UTC) - _EPOCH) // _MICROSECOND)
    if kind not in {"DATE", "DATETIME"}:
        return None
    year, month = text[:4], (int(text[5:7]) - 1) // months * months + 1
    return f"{year}-{month:02d}-01{'T00:00:00' if kind == 'DATETIME' else ''}"
