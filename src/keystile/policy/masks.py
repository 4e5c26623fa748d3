"""What could be wrong with a mask that a policy gives."""

from __future__ import annotations

import math

from keystile.model.masks import (
    BucketMask,
    ConstantMask,
    Mask,
    PatternMask,
    RoundMask,
    SqlMask,
)

_SCALARS = (
    *("BIGNUMERIC", "BOOL", "BYTES", "DATE", "DATETIME", "FLOAT64", "GEOGRAPHY", "INT64"),
    *("INTERVAL", "JSON", "NUMERIC", "STRING", "TIME", "TIMESTAMP"),
)
_WIDEST = 10**15


def problem(mask: Mask) -> tuple[str, str, str] | None:
    """Give the word that is wrong, what is wrong with it and what to do; None for a good mask."""
    match mask:
        case PatternMask(pattern=""):
            return "pattern", "`pattern` is empty", "use the mask `default`"
        case ConstantMask(value=float() as value) if not math.isfinite(value):
            return "value", "`value` is no finite number", "give a number"
        case BucketMask(width=width) if not 0 < width <= _WIDEST:
            return "width", f"`width` is not above 0 and up to {_WIDEST:.0e}", "give such a number"
        case RoundMask(to=to) if not 0 < to <= _WIDEST:
            return "to", f"`to` is not above 0 and up to {_WIDEST:.0e}", "give such a number"
        case SqlMask(type=type_) if type_ not in _SCALARS:
            return "type", f"`{type_}` is no type of a mask", f"use one of {', '.join(_SCALARS)}"
    return None
