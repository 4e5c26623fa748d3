"""Reading JSON that a client sends: only fields on a list pass, numbers and labels in bounds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from keystile.model.errors import InvalidRequestError, RefusedError

_INT64_TEXT = re.compile(r"[0-9]{1,19}")
_MAX_INT64 = (1 << 63) - 1
_LABEL = re.compile(r"[\w-]{0,63}")
_MAX_LABELS = 64

Int64 = int | str
StrictT = TypeVar("StrictT", bound="Strict")


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Base of what clients send: an unknown field is an error, not a silent nothing."""


def without_refused(given: Mapping[str, object], refused: Mapping[str, str]) -> dict[str, object]:
    """Leave out refused fields that say nothing. Raises `RefusedError` for one that does."""
    for name, why in refused.items():
        if given.get(name):
            raise RefusedError(f"`{name}` is refused: {why}")
    return {name: value for name, value in given.items() if name not in refused}


def converted(given: object, type_: type[StrictT]) -> StrictT:
    """Read a value. Raises `InvalidRequestError` naming the field that is not understood."""
    try:
        return msgspec.convert(given, type_)
    except msgspec.ValidationError as error:
        raise InvalidRequestError(f"the request is not understood: {str(error)[:300]}") from error


def int64(value: Int64 | None, name: str) -> int | None:
    """Read a 64-bit number, which the API writes as text, that must not be negative."""
    if value is None or value == "":
        return None
    if not _INT64_TEXT.fullmatch(str(value)) or int(value) > _MAX_INT64:
        raise InvalidRequestError(f"`{name}` is not a number that is understood")
    return int(value)


def plain_labels(labels: dict[str, str] | None) -> dict[str, str]:
    """Hold labels to BigQuery's own rules, so that they carry no hidden text."""
    found = labels or {}
    for key, value in found.items():
        text = key + value
        if not key or not (_LABEL.fullmatch(key) and _LABEL.fullmatch(value)):
            raise InvalidRequestError(f"the label `{key[:63]}` is not valid")
        if text != text.lower():
            raise InvalidRequestError(f"the label `{key[:63]}` has capital letters")
    if len(found) > _MAX_LABELS:
        raise InvalidRequestError(f"there are more than {_MAX_LABELS} labels")
    return found
