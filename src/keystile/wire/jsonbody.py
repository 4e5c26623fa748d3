"""Strict JSON: one meaning only, or an error of ours."""

from __future__ import annotations

import json
from typing import NoReturn

import msgspec

from keystile.model.errors import InvalidRequestError

MAX_BODY_BYTES = 1 << 20


class _AmbiguousError(ValueError):
    """The text has more than one meaning; carries what to tell the reader."""


def parse_object(body: bytes) -> dict[str, object]:
    """Parse a JSON object.

    Raises `InvalidRequestError` for malformed or oversized text, a repeated key, a lone surrogate,
    a number that is no JSON number, nesting without end, or anything but an object.
    """
    if len(body) > MAX_BODY_BYTES:
        raise InvalidRequestError(f"the request body is larger than {MAX_BODY_BYTES} bytes")
    try:
        # msgspec is strict about text and numbers, the standard library can see repeated keys.
        msgspec.json.decode(body)
        value = json.loads(body, object_pairs_hook=_unique, parse_constant=_no_constant)
    except _AmbiguousError as error:
        raise InvalidRequestError(str(error)) from error
    except RecursionError as error:
        raise InvalidRequestError("the request body is nested too deeply") from error
    except ValueError as error:
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


def _no_constant(name: str) -> NoReturn:
    raise _AmbiguousError(f"`{name}` is not a JSON number")
