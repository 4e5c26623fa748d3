from __future__ import annotations

import pytest

from keystile.detecting.patterns import compiled, union


@pytest.mark.parametrize(
    "pattern", ["EMP-[0-9]{6}", r"\bX\+{1,3}", "[*+]{2}", "[]+]b", "(?i)abc?d", "^a$"]
)
def test_a_bounded_pattern_is_good(pattern: str) -> None:
    assert compiled(pattern)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("a+", r"`\+` has no upper bound"),
        ("a*b", r"`\*` has no upper bound"),
        ("(ab){2,}", r"`\{2,\}` has no upper bound"),
        ("[a]+", "no upper bound"),
        (r"\\*", "no upper bound"),
        (r"\Q+\E", "is not served"),
        ("a?", "an empty text"),
        ("(a", "missing"),
        (r"(?=a)b", "invalid"),
        ("a" * 1001, "longer than"),
    ],
)
def test_what_is_wrong_with_a_pattern(pattern: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        compiled(pattern)


def test_a_union_finds_bytes() -> None:
    assert union([r"\xc3[\xa0-\xaf]", "b"]).search("a\u00e9".encode())
