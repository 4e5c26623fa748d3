from __future__ import annotations

import random
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from keystile.gate.column_guess import Confidence, Guess, Guesser

COUNT = 200


@pytest.fixture(scope="module")
def guesser() -> Guesser:
    return Guesser()


def _luhn(digits: str) -> str:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        number = int(digit) * (2 if place % 2 == 0 else 1)
        total += number - 9 if number > 9 else number
    return digits + str(-total % 10)


def _iban(number: int) -> str:
    country, account = "DE", f"{number:018d}"
    digits = account + "131400"
    return f"{country}{98 - int(digits) % 97:02d}{account}"


def values(kind: str) -> list[str]:
    """Make values of a kind, the same each time."""
    rng = random.Random(kind)  # noqa: S311 - reproducible
    day = datetime(2024, 1, 1, tzinfo=UTC)
    made = {
        "ssn": lambda: f"{rng.randint(100, 599)}-{rng.randint(10, 99)}-{rng.randint(1000, 9999)}",
        "email": lambda: f"p{rng.randint(1, 9999)}.x@mail{rng.randint(1, 9)}.example.com",
        "phone": lambda: f"+1 (415) 555-{rng.randint(1000, 9999)}",
        "card": lambda: _luhn(f"4{rng.randrange(10**14):014d}"),
        "iban": lambda: _iban(rng.randrange(10**18)),
        "ip": lambda: ".".join(str(rng.randint(1, 254)) for _ in range(4)),
        "order id": lambda: f"ORD-{rng.randint(10**7, 10**8)}",
        "number": lambda: str(rng.randint(1, 10**9)),
        "price": lambda: f"{rng.randint(1, 9999)}.{rng.randint(10, 99)}",
        "timestamp": lambda: f"{day + timedelta(seconds=rng.randint(0, 10**7))}",
        "epoch": lambda: str(1_700_000_000 + rng.randint(0, 10**7)),
        "epoch ms": lambda: str(1_700_000_000_000 + rng.randint(0, 10**10)),
        "uuid": lambda: str(uuid.UUID(int=rng.getrandbits(128))),
        "hash": lambda: f"{rng.getrandbits(256):064x}",
        "word": lambda: rng.choice(["open", "sent", "returned", "lost"]),
        "text": lambda: f"call me, I wrote from a{rng.randint(1, 99)}@example.com last week",
        "city": lambda: rng.choice(["Berlin", "Paris", "New York", "Lima"]),
        "version": lambda: f"{rng.randint(0, 9)}.{rng.randint(0, 30)}.{rng.randint(0, 9)}",
    }
    return [made[kind]() for _ in range(COUNT)]


@pytest.mark.parametrize("kind", ["ssn", "email", "phone", "card", "iban", "ip"])
def test_a_column_is_known_by_its_values_whatever_it_is_called(guesser: Guesser, kind: str) -> None:
    found = guesser.guess("c1", "STRING", values(kind))
    assert found is not None
    assert (found.entity, found.within) == (kind, False)
    assert found.confidence is Confidence.HIGH
    assert found.seen >= 0.9 * found.values
    assert found.label == f"pii.{kind}"


@pytest.mark.parametrize(
    "kind",
    ["order id", "price", "timestamp", "uuid", "hash", "word", "city", "version"],
)
def test_what_is_nothing_of_the_kind_is_not_proposed(guesser: Guesser, kind: str) -> None:
    assert guesser.guess("c1", "STRING", values(kind)) is None


@pytest.mark.parametrize("kind", ["number", "epoch", "epoch ms"])
def test_numbers_are_not_taken_for_numbers_of_people(guesser: Guesser, kind: str) -> None:
    assert guesser.guess("id", "INT64", values(kind)) is None


def test_a_card_is_known_as_a_number_too(guesser: Guesser) -> None:
    found = guesser.guess("c1", "INT64", values("card"))
    assert found is not None
    assert found.entity == "card"


def test_texts_with_values_in_them_are_texts(guesser: Guesser) -> None:
    found = guesser.guess("body", "STRING", [*values("text")[:9], *values("word")])
    assert found == Guess("email", Confidence.MEDIUM, 9, COUNT + 9, within=True)
    assert found.label == "pii.text"


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("ssn", "pii.ssn"),
        ("customer_phone", "pii.phone"),
        ("firstName", "pii.name"),
        ("date_of_birth", "pii.birth"),
        ("home_street", "pii.address"),
        ("api_key", "secret.api_key"),
        ("passwd", "secret.api_key"),
    ],
)
def test_a_name_alone_is_a_hint(guesser: Guesser, name: str, label: str) -> None:
    found = guesser.guess(name, "STRING", [])
    assert found is not None
    assert (found.label, found.confidence, found.seen) == (label, Confidence.LOW, 0)
    assert found.why == "by its name; 0 values looked at"


@pytest.mark.parametrize("name", ["id", "status", "shipping", "recipe", "island", "telemetry"])
def test_a_part_of_a_word_is_no_hint(guesser: Guesser, name: str) -> None:
    assert guesser.guess(name, "STRING", []) is None


def test_a_name_that_all_values_deny_is_no_hint(guesser: Guesser) -> None:
    assert guesser.guess("email_status", "STRING", values("word")) is None
    assert guesser.guess("card_total", "NUMERIC", []) is None


def test_a_name_makes_sure_of_what_values_show(guesser: Guesser) -> None:
    mixed = [*values("phone")[:60], *values("word")[:50]]
    named, other = (guesser.guess(name, "STRING", mixed) for name in ("phone", "c1"))
    assert named is not None
    assert other is not None
    assert (named.confidence, other.confidence) == (Confidence.HIGH, Confidence.MEDIUM)
    assert named.why == "60 of 110 values look like phone, as it is called"


def test_the_same_values_give_the_same_guess(guesser: Guesser) -> None:
    mixed = [*values("phone"), *values("email"), *values("text")]
    assert guesser.guess("c", "STRING", mixed) == Guesser().guess("c", "STRING", mixed)
