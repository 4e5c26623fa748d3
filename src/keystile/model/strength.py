"""Which of several masks protects most."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from keystile.model.masks import (
    ConstantMask,
    DefaultMask,
    EmailMask,
    KeepLastMask,
    KeyedHashMask,
    Mask,
    NullMask,
    PatternMask,
)

# Null hides even which rows have a value; default, constant and pattern hide all else; a keyed
# hash shows which values are equal; an e-mail mask shows a character and the domain; keep-last
# shows as much as its count says.
_ORDER: tuple[type[Mask], ...] = (
    NullMask,
    DefaultMask,
    ConstantMask,
    PatternMask,
    KeyedHashMask,
    EmailMask,
    KeepLastMask,
)


def rank(mask: Mask) -> tuple[int, int, bytes]:
    """Give a total order over masks: the lower, the more it hides."""
    kept = mask.count if isinstance(mask, KeepLastMask) else 0
    return _ORDER.index(type(mask)), kept, msgspec.json.encode(mask)


def most_protective(masks: Iterable[Mask]) -> Mask:
    """Give the mask that hides most. Raises `ValueError` where there is none."""
    return min(masks, key=rank)
