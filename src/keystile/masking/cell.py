"""Each mask on a value that was read already, in the cells of BigQuery's JSON.

A cell is a text, None, a list of `{"v": cell}` for an ARRAY, or `{"f": [{"v": cell} …]}` for a
STRUCT (`tabledata.list`); a TIMESTAMP is whole microseconds. The gateway has BigQuery mask what is
read, rows without SQL too, so these masks are what those of `sql` are held to: a property test
proves that both agree.
"""

from __future__ import annotations

import base64
from typing import Any

from keystile.masking import json_paths, keyed, shown, steps
from keystile.masking.literals import constant, default
from keystile.model.masks import (
    ConstantMask,
    JsonPathsMask,
    KeyedHashMask,
    Mask,
    NullMask,
    PatternMask,
    SqlMask,
    TokenMask,
)
from keystile.model.schema import SqlType


def masked_cell(mask: Mask, type_: SqlType, cell: Any, key: bytes) -> Any:
    """Mask a cell of this type. `key` is the one that the mask names.

    Raises `ValueError` for a mask of SQL of its own.
    """
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
    masked = _of_type(mask, type_, cell, key)
    if masked is None:
        fallback = default(type_)
        masked = fallback.cell if fallback else None
    return masked


def _of_type(mask: Mask, type_: SqlType, cell: str, key: bytes) -> str | None:
    match mask, type_.kind:
        case ConstantMask(value=given), _:
            literal = constant(given, type_)
            masked = literal.cell if literal else None
        case PatternMask(pattern=pattern), "STRING":
            masked = pattern
        case KeyedHashMask(), "STRING":
            masked = keyed.pads(mask, key).hmac(cell.encode()).hex()
        case KeyedHashMask(), "BYTES":
            hashed = keyed.pads(mask, key).hmac(base64.b64decode(cell))
            masked = base64.b64encode(hashed).decode()
        case TokenMask(), "STRING":
            masked = keyed.token(cell, keyed.pads(mask, key))
        case JsonPathsMask(), "JSON":
            masked = json_paths.cell(mask, cell)
        case SqlMask(type=kind), _ if kind == type_.kind:
            raise ValueError("a mask of its own SQL is known to an SQL engine only")
        case _, "STRING":
            masked = shown.text(mask, cell)
        case _:
            masked = steps.cell(mask, type_, cell)
    return masked
