from __future__ import annotations

import itertools

import pytest

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
from keystile.model.strength import most_protective

STRONGEST_FIRST: list[Mask] = [
    NullMask(),
    DefaultMask(),
    ConstantMask("x"),
    PatternMask("X"),
    KeyedHashMask(),
    TokenMask(),
    EmailMask(),
    KeepFirstMask(2),
    KeepLastMask(2),
    KeepFirstMask(10),
    UrlHostMask(),
    IpMask(),
    TruncateMask("year"),
    TruncateMask("quarter"),
    TruncateMask("month"),
    RoundMask(100),
    BucketMask(10),
    JsonPathsMask(("$.a", "$.b")),
    JsonPathsMask(("$.c",)),
    SqlMask("value"),
]


@pytest.mark.parametrize(
    ("stronger", "weaker"), list(itertools.combinations(STRONGEST_FIRST, 2)), ids=str
)
def test_what_shows_less_wins(stronger: Mask, weaker: Mask) -> None:
    assert most_protective([stronger, weaker]) == stronger
    assert most_protective([weaker, stronger]) == stronger


def test_every_mask_of_the_vocabulary_has_a_place() -> None:
    assert {type(mask) for mask in STRONGEST_FIRST} == set(Mask.__args__)
