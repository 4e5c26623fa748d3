from __future__ import annotations

from keystile.detecting.context import before


def test_what_stands_before_ends_with_the_text() -> None:
    assert before(b"one\0two 3", 8) == b"two "
    assert before(b"x" * 100, 90) == b"x" * 48
