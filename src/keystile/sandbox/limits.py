"""Types with parameters: `STRING(9)`, `NUMERIC(9, 2)`, held to whenever rows are written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from keystile.model.errors import InvalidQueryError
from keystile.model.schema import Field, Mode
from keystile.sandbox.data import Stored

_DIGITS = {"NUMERIC": 9, "BIGNUMERIC": 38}
_HALF_EVEN = "ROUND_HALF_EVEN"


def hold_to_limits(stored: Stored, rows: Sequence[Sequence[Any]]) -> None:
    """Round decimals to their scale, in place.

    Raises `InvalidQueryError` for a value that is too long or has too many digits.
    """
    limited = {path.partition(".")[0] for path in stored.attributes}
    places = [(at, field) for at, field in enumerate(stored.fields) if field.name in limited]
    for row in rows if places else ():
        for at, field in places:
            _hold(row[at], field, field.name, stored)


def _hold(value: Any, field: Field, path: str, stored: Stored) -> None:
    if value.WhichOneof("value") is None:
        return
    if field.mode is Mode.REPEATED:
        one = msgspec.structs.replace(field, mode=Mode.NULLABLE)
        for item in value.array_value.element:
            _hold(item, one, path, stored)
    elif field.fields:
        for part, inner in zip(value.struct_value.field, field.fields, strict=True):
            _hold(part, inner, f"{path}.{inner.name}", stored)
    elif told := stored.attributes.get(path):
        if limit := told.get("maxLength"):
            _check_length(value, field, path, int(str(limit)))
        if told.get("precision"):
            even = (told.get("roundingMode") or stored.details.get("defaultRoundingMode")) == (
                _HALF_EVEN
            )
            _fit(value, field, path, int(str(told["precision"])), _scale(told), even=even)


def _scale(told: dict[str, object]) -> int:
    return int(str(told.get("scale") or 0))


def _check_length(value: Any, field: Field, path: str, limit: int) -> None:
    length = len(value.bytes_value if field.type == "BYTES" else value.string_value)
    if length > limit:
        raise InvalidQueryError(
            f"Field {path}: {field.type}({limit}) has maximum length {limit} but got a value with "
            f"length {length}"
        )


def _fit(  # noqa: PLR0913  # a type's name and its two numbers
    value: Any, field: Field, path: str, precision: int, scale: int, *, even: bool
) -> None:
    """Round a decimal, which is packed as GoogleSQL's `ValueProto` packs it."""
    digits = _DIGITS[field.type]
    part = f"{field.type.lower()}_value"
    number = int.from_bytes(getattr(value, part), "little", signed=True)
    unit = 10 ** (digits - scale)
    whole, rest = divmod(abs(number), unit)
    up = 2 * rest > unit or (2 * rest == unit and not (even and whole % 2 == 0))
    rounded = (whole + up) * unit
    if rounded >= 10 ** (precision - scale + digits):
        raise InvalidQueryError(
            f"Field {path}: {field.type}({precision}, {scale}) has precision {precision} and "
            f"scale {scale} but got a value that is not in its range"
        )
    if rounded != abs(number):
        rounded = -rounded if number < 0 else rounded
        packed = rounded.to_bytes(rounded.bit_length() // 8 + 1, "little", signed=True)
        setattr(value, part, packed)
