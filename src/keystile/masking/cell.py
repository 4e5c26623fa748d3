"""Each mask on a value that was read already, in the cells of BigQuery's JSON.

A cell is a text, None, a list of `{"v": cell}` for an ARRAY, or `{"f": [{"v": cell} …]}` for a
STRUCT (`tabledata.list`). A property test proves that these masks and those of `sql` agree.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Any

from keystile.masking.literals import constant, default
from keystile.masking.sql import ADDRESS
from keystile.model.masks import (
    ConstantMask,
    EmailMask,
    KeepLastMask,
    KeyedHashMask,
    Mask,
    NullMask,
    PatternMask,
)
from keystile.model.schema import SqlType

_ADDRESS = re.compile(ADDRESS)


def masked_cell(mask: Mask, type_: SqlType, cell: Any, key: bytes) -> Any:
    """Mask a cell of this type. `key` is the one of keyed hashes."""
    if cell is None:
        return None
    if type_.kind == "ARRAY" and type_.element:
        if isinstance(mask, NullMask) and type_.element.kind != "STRUCT":
            return []  # a NULL array has an empty one for its cell
        return [{"v": masked_cell(mask, type_.element, item["v"], key)} for item in cell]
    if type_.kind == "STRUCT":
        pairs = zip(type_.fields, cell["f"], strict=True)
        return {"f": [{"v": masked_cell(mask, of, item["v"], key)} for (_, of), item in pairs]}
    return _scalar(mask, type_, cell, key)


def _scalar(mask: Mask, type_: SqlType, cell: str, key: bytes) -> str | None:
    if isinstance(mask, NullMask):
        return None
    masked = None
    if type_.kind == "STRING":
        masked = _text(mask, cell, key)
    elif type_.kind == "BYTES" and isinstance(mask, KeyedHashMask):
        masked = base64.b64encode(_hmac(key, base64.b64decode(cell)).digest()).decode()
    elif isinstance(mask, ConstantMask):
        literal = constant(mask.value, type_)
        masked = literal.cell if literal else None
    if masked is None:
        fallback = default(type_)
        masked = fallback.cell if fallback else None
    return masked


def _text(mask: Mask, value: str, key: bytes) -> str | None:
    match mask:
        case PatternMask(pattern=pattern):
            return pattern
        case ConstantMask(value=str(constant_)):
            return constant_
        case KeepLastMask(count=count):
            kept = count if 0 < count < len(value) else 0
            return "*" * (len(value) - kept) + value[len(value) - kept :]
        case EmailMask():
            found = _ADDRESS.fullmatch(value)
            return f"{value[0]}***{value[value.index('@') :]}" if found else "***"
        case KeyedHashMask():
            return _hmac(key, value.encode()).hexdigest()
    return None


def _hmac(key: bytes, data: bytes) -> hmac.HMAC:
    return hmac.new(key, data, hashlib.sha256)
