"""Which of several masks protects most."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from keystile.model.masks import (
    BucketMask,
    ConstantMask,
    DefaultMask,
    EmailMask,
    IpMask,
    JsonPathsMask,
    KeepFirstMask,
    KeepLastMask,
    KeyedHashMask,
    Mask,
    NullMask,
    PatternMask,
    RoundMask,
    SqlMask,
    TokenMask,
    TruncateMask,
    UrlHostMask,
)

# Null hides even which rows have a value; default, constant and pattern hide all else; a keyed
# hash shows which values are equal, a token their form as well; the next show a part of a text;
# then come those that show roughly how great a value is; JSON paths show all but some places; what
# an expression shows nobody here knows.
_ORDER: tuple[tuple[type[Mask], ...], ...] = (
    (NullMask,),
    (DefaultMask,),
    (ConstantMask,),
    (PatternMask,),
    (KeyedHashMask,),
    (TokenMask,),
    (EmailMask,),
    (KeepFirstMask, KeepLastMask),
    (UrlHostMask,),
    (IpMask,),
    (TruncateMask,),
    (BucketMask, RoundMask),
    (JsonPathsMask,),
    (SqlMask,),
)
_PLACES = {kind: place for place, kinds in enumerate(_ORDER) for kind in kinds}
_COARSEST_FIRST = ("year", "quarter", "month")


def rank(mask: Mask) -> tuple[int, float, bytes]:
    """Give a total order over masks: the lower, the more it hides."""
    return _PLACES[type(mask)], _shown(mask), msgspec.json.encode(mask)


def most_protective(masks: Iterable[Mask]) -> Mask:
    """Give the mask that hides most. Raises `ValueError` where there is none."""
    return min(masks, key=rank)


def _shown(mask: Mask) -> float:
    """Say how much a mask shows, compared with others in its place."""
    match mask:
        case KeepFirstMask(count=count) | KeepLastMask(count=count):
            return count
        case TruncateMask(to=unit):
            return _COARSEST_FIRST.index(unit)
        case BucketMask(width=width) | RoundMask(to=width):
            return -width
        case JsonPathsMask(paths=paths):
            return -len(paths)
    return 0
