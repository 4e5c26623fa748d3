"""The mask of some paths in a JSON value, as SQL and on a JSON cell."""

from __future__ import annotations

import msgspec

from keystile.masking.literals import text
from keystile.model.masks import JsonPathsMask

_NULL = "JSON 'null'"
_Object = dict[str, msgspec.Raw]


def sql(mask: JsonPathsMask, value: str) -> str:
    """Give the masked form of an SQL expression for JSON."""
    kinds = (f"JSON_TYPE(JSON_QUERY({value}, {text(above)}))" for above in _above(mask))
    # Of what is not there, so NULL here, nothing is to be masked.
    unlike = " OR ".join(f"{kind} NOT IN ('object', 'null')" for kind in kinds)
    masked = value
    for path in mask.paths:
        masked = f"JSON_SET({masked}, {text(path)}, {_NULL}, create_if_missing => FALSE)"
    return f"IF({unlike}, {_NULL}, {masked})"


def cell(mask: JsonPathsMask, value: str) -> str:
    """Give the masked form of a JSON text as BigQuery writes it."""
    raw = msgspec.Raw(value.encode())
    # The deepest first: what is on the way to one is then as it was.
    for path in sorted(mask.paths, key=lambda path: -path.count(".")):
        masked = _masked(raw, path.split(".")[1:])
        if masked is None:
            return "null"
        raw = masked
    return bytes(raw).decode()


def _above(mask: JsonPathsMask) -> list[str]:
    """Give each place on the way to one of the paths, the whole value first."""
    found: dict[str, None] = {}
    for path in mask.paths:
        parts = path.split(".")
        found.update({".".join(parts[:depth]): None for depth in range(1, len(parts))})
    return sorted(found, key=len)


def _masked(raw: msgspec.Raw, names: list[str]) -> msgspec.Raw | None:
    """Mask what the names lead to; None where something else than objects is on the way."""
    if not names:
        return msgspec.Raw(b"null")
    if bytes(raw) == b"null":
        return raw
    try:
        found = msgspec.json.decode(raw, type=_Object)
    except msgspec.ValidationError:
        return None
    if names[0] in found:
        inner = _masked(found[names[0]], names[1:])
        if inner is None:
            return None
        found[names[0]] = inner
    return msgspec.Raw(msgspec.json.encode(found))
