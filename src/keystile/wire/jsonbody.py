"""Strict JSON: one meaning only, or an error of ours."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, NoReturn

import msgspec

from keystile.model.errors import InvalidRequestError

MAX_BODY_BYTES = 1 << 20

_SURELY_64_BITS = 18  # digits


class _AmbiguousError(ValueError):
    """The text has more than one meaning; carries what to tell the reader."""


def parse_object(
    body: bytes, most_bytes: int = MAX_BODY_BYTES, *, exact: bool = False
) -> dict[str, object]:
    """Parse a JSON object; with `exact`, numbers lose no digit: they are `int` or `Decimal`.

    Raises `InvalidRequestError` for malformed or oversized text, a repeated key, a lone surrogate,
    a number that is no JSON number, nesting without end, or anything but an object.
    """
    if len(body) > most_bytes:
        raise InvalidRequestError(f"the request body is larger than {most_bytes} bytes")
    numbers: dict[str, Any] = {"parse_float": Decimal, "parse_int": _whole} if exact else {}
    try:
        # msgspec is strict about text and numbers, the standard library can see repeated keys.
        msgspec.json.decode(body)
        value = json.loads(body, object_pairs_hook=_unique, parse_constant=_no_constant, **numbers)
    except _AmbiguousError as error:
        raise InvalidRequestError(str(error)) from error
    except RecursionError as error:
        raise InvalidRequestError("the request body is nested too deeply") from error
    except (ValueError, ArithmeticError) as error:
        raise InvalidRequestError("the request body is not valid JSON") from error
    if not isinstance(value, dict):
        raise InvalidRequestError("the request body is not a JSON object")
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise _AmbiguousError(f"the request body has the field `{key[:100]}` twice")
        found[key] = value
    return found


def _whole(text: str) -> int | Decimal:
    # A longer one may not fit 64 bits, which is all that is written as an integer again.
    return int(text) if len(text) <= _SURELY_64_BITS else Decimal(text)


def _no_constant(name: str) -> NoReturn:
    raise _AmbiguousError(f"`{name}` is not a JSON number")
