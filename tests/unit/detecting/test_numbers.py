from __future__ import annotations

import pytest

from keystile.detecting import numbers


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111111",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "4111\u00a01111\u00a01111\u00a01111",
        "5555555555554444",
        "2223003122003222",
        "378282246310005",
        "30569309025904",
        "6011111111111117",
        "3530111333300000",
        "4222222222222",
        "6304000000000000",
    ],
)
def test_a_cards_number(text: str) -> None:
    encoded = text.encode()
    assert numbers.card(encoded, 0) == (0, len(encoded))
    assert numbers.card(encoded + b"0", 0) != (0, len(encoded))
    assert numbers.card(encoded + b"a", 0) is None


@pytest.mark.parametrize(
    "text", ["4111111111111112", "1234567890123456", "4444444444444444", "0000000000000000"]
)
def test_what_looks_like_a_card(text: str) -> None:
    assert numbers.card(text.encode(), 0) is None


def test_a_card_ends_before_the_number_beside_it() -> None:
    assert numbers.card(b"4111 1111 1111 1111 415", 0) == (0, 19)


@pytest.mark.parametrize("digits", [b"79927398713", b"4111111111111111", b"0"])
def test_luhn(digits: bytes) -> None:
    assert numbers.luhn(digits)
    for wrong in range(1, 10):
        assert not numbers.luhn(digits[:-1] + b"%d" % ((digits[-1] - 48 + wrong) % 10))


@pytest.mark.parametrize(
    "text",
    [
        "GB82WEST12345698765432",
        "GB82 WEST 1234 5698 7654 32",
        "gb82west12345698765432",
        "DE89370400440532013000",
        "NO9386011117947",
    ],
)
def test_an_iban(text: str) -> None:
    assert numbers.iban(text.encode() + b" is mine", 0) == (0, len(text))


@pytest.mark.parametrize(
    "text",
    [
        "GB83WEST12345698765432",
        "GB82WEST1234569876543",
        "ZZ82WEST12345698765432",
        "GB82WEST123456987654321",
    ],
)
def test_what_looks_like_an_iban(text: str) -> None:
    assert numbers.iban(text.encode(), 0) is None


@pytest.mark.parametrize("text", ["123-45-6789", "123 45 6789", "123.45.6789", "923-75-6789"])
def test_a_social_security_number(text: str) -> None:
    assert numbers.ssn(text.encode(), 0) == (0, len(text))


@pytest.mark.parametrize(
    "text",
    [
        "000-45-6789",
        "666-45-6789",
        "123-00-6789",
        "123-45-0000",
        "123-45 6789",
        "12345-6789",
        "123456789",
    ],
)
def test_what_looks_like_a_social_security_number(text: str) -> None:
    assert numbers.ssn(text.encode(), 0) is None


@pytest.mark.parametrize("before", ["SSN: ", "social security no. ", "tax id ", "my_ssn="])
def test_one_without_separators_is_found_where_it_is_named(before: str) -> None:
    text = f"{before}123456789".encode()
    found = numbers.ssn(text, len(before)) is not None
    assert found == (before != "my_ssn=")
