from __future__ import annotations

import pytest

from keystile.detecting.phones import phone


@pytest.mark.parametrize(
    "text",
    [
        "415-555-2671",
        "(415) 555-2671",
        "(415)555-2671",
        "415.555.2671",
        "4155552671",
        "1-415-555-2671",
        "+1 415 555 2671",
        "001-415-555-2671",
        "415-555-2671x036",
        "415-555-2671 ext. 36",
        "+44 7700 900123",
        "+41 (0)85 806 98 67",
        "07700 900 123",
        "01.84.17.61.18",
        "0688 872 49 99",
    ],
)
def test_a_number_by_itself(text: str) -> None:
    assert phone(text.encode(), 0) == (0, len(text))


@pytest.mark.parametrize("text", ["780 6326", "432 03 163", "60-56-85-91", "99 668472", "5552671"])
def test_a_local_number_is_found_where_it_is_named(text: str) -> None:
    assert phone(text.encode(), 0) is None
    for before in ("call me at ", "Phone: ", "my mobile is "):
        assert phone(f"{before}{text}".encode(), len(before)) == (len(before), len(before + text))
    for before in ("order number ", "ticket no. ", "licence is "):
        assert phone(f"{before}{text}".encode(), len(before)) is None


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-02 10:11",
        "01/02/2024",
        "1700000000",
        "1700000000123",
        "4111111111111111",
        "3.1415926535",
        "37.77492950",
        "115-555-2671",
        "911-555-2671",
        "12345 6789",
        "192.168.100.200",
    ],
)
def test_what_looks_like_a_number(text: str) -> None:
    assert phone(text.encode(), 0) is None


def test_a_number_ends_before_the_one_beside_it() -> None:
    assert phone(b"415-555-2671 94103", 0) == (0, 12)
    assert phone(b"+1 415 555 2671 is 20", 0) == (0, 15)
