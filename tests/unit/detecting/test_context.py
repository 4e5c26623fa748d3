from __future__ import annotations

from keystile.detecting.context import before, in_uuid


def test_what_stands_before_ends_with_the_text() -> None:
    assert before(b"one\0two 3", 8) == b"two "
    assert before(b"x" * 100, 90) == b"x" * 48


def test_digits_are_part_of_a_uuid_wherever_they_stand_in_it() -> None:
    one = b"08682116-6861-47f6-915f-0a4072b1a2f5"
    for text, at in ((one, 0), (b"x " + one + b" y", 2)):
        assert in_uuid(text, at, at + 13)
        assert in_uuid(text, at + 9, at + 13)
        assert in_uuid(text, at + 32, at + 36)
    assert not in_uuid(one + b" 4155552671", 37, 47)
    assert not in_uuid(one[:-1], 0, 13)
    assert not in_uuid(b"12345678-1234-1234-1234-123456789012", 9, 28)
