"""Which of several masks protects most."""

from __future__ import annotations

from collections.abc import Iterable

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

# From strongest to weakest. The first tells nothing; the next three only whether there is a value;
# a keyed hash tells which values are equal; the rest show a part.
_ORDER = (
    NullMask,
    DefaultMask,
    ConstantMask,
    PatternMask,
    KeyedHashMask,
    EmailMask,
    KeepLastMask,
)


def strongest(masks: Iterable[Mask]) -> Mask:
    """Give the mask that protects most; of two that keep the last characters, who keeps fewer.

    There must be one at least.
    """
    return min(masks, key=_rank)


def _rank(mask: Mask) -> tuple[int, int]:
    return _ORDER.index(type(mask)), mask.count if isinstance(mask, KeepLastMask) else 0
