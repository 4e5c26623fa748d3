from __future__ import annotations

import random
import re
import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.detecting.entities import ENTITIES
from keystile.detecting.finder import Finder, laid_out
from keystile.detecting.patterns import union

ALL = Finder(ENTITIES)
VALUES = {
    "ssn": "123-45-6789",
    "card": "4111 1111 1111 1111",
    "email": "jane@example.com",
    "phone": "(415) 555-2671",
    "iban": "GB82 WEST 1234 5698 7654 32",
    "ip": "2001:db8::1",
    "api_key": "AKIAIOSFODNN7EXAMPLE",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
}


def found(text: str, finder: Finder = ALL) -> list[tuple[str, str]]:
    encoded = text.encode()
    return [
        (encoded[one.start : one.end].decode(), "+".join(one.entities))
        for one in finder.find([text]).get(0, ())
    ]


@pytest.mark.parametrize("entity", VALUES)
@pytest.mark.parametrize("around", ["{}", "a {} b", "({})", "\u00e9 {}.", '{{"k":"{}"}}', "x={},"])
def test_each_value_is_found_whatever_stands_around_it(entity: str, around: str) -> None:
    assert found(around.format(VALUES[entity])) == [(VALUES[entity], entity)]


def test_every_entity_has_a_value_here() -> None:
    assert VALUES.keys() == ENTITIES.keys()


def test_a_card_that_fails_luhn_does_not_swallow_the_number_beside_it() -> None:
    assert found("4111 1111 1111 1113 415-555-2671") == [("415-555-2671", "phone")]
    assert found("4111 1111 1111 1113, jane@example.com") == [("jane@example.com", "email")]


def test_values_beside_each_other_are_found_each() -> None:
    text = "4111 1111 1111 1111 415-555-2671 10.0.0.1 jane@example.com"
    assert [name for _, name in found(text)] == ["card", "phone", "ip", "email"]


def test_nothing_is_left_of_values_that_overlap() -> None:
    # The telephone number goes on into the card: what is left of either would show.
    text = "+1 415 555 2671 4111 1111 1111 1111"
    assert [value for value, _ in found(text)] == [text]


def test_a_value_that_begins_a_line_of_escaped_json_is_found() -> None:
    assert found(r'{"body":"my number:\n123-45-6789"}') == [("123-45-6789", "ssn")]


def test_numbers_that_chance_makes_in_uuids_are_not_found() -> None:
    number = random.Random(7)  # noqa: S311 - the same each time
    uuids = [str(uuid.UUID(int=number.getrandbits(128), version=4)) for _ in range(20_000)]
    assert ALL.find([*uuids, *(f"call {one}, please" for one in uuids)]) == {}
    assert found("08682116-6861-47f6-915f-0a4072b1a2f5 or 415-555-2671") == [
        ("415-555-2671", "phone")
    ]


def test_a_number_that_only_looks_like_a_uuid_is_found() -> None:
    assert found("08682116-6861-4776-9155-004072112255") != []
    assert found("4111-1111-1111-1111-face") == [("4111-1111-1111-1111", "card")]


def test_what_stands_in_one_text_says_nothing_of_another() -> None:
    assert ALL.find(["my SSN is", "123456789"]) == {}
    assert ALL.find(["my SSN is 123456789"]) != {}


def test_a_pattern_of_the_policys_own() -> None:
    finder = Finder(["email"], [("badge", "BDG-[0-9]{6}"), ("line", "^[a-z]{3}$")])
    assert found("BDG-123456 \u00e9 a@example.com", finder) == [
        ("BDG-123456", "badge"),
        ("a@example.com", "email"),
    ]
    assert found("abc", finder) == [("abc", "line")]
    assert found("abcd", finder) == []


def test_many_texts_give_what_each_gives_alone() -> None:
    texts = [f"{value} and {value}" for value in VALUES.values()] * 80
    alone = {text: ALL.find([text])[0] for text in texts}
    assert ALL.find(texts) == {place: alone[text] for place, text in enumerate(texts)}


def test_past_its_deadline_it_gives_nothing() -> None:
    with pytest.raises(TimeoutError):
        ALL.find(["nothing"] + ["10.0.0.1 "] * 500, time.monotonic() - 1)


@pytest.mark.parametrize(
    "text",
    [
        "1 ",
        "1",
        "a@",
        "a.",
        "1-",
        "eyJaaaaaaaa-",
        "::1",
        "a:",
        "sk-a1",
        "GB82 ",
        "4111 ",
        "(1",
        "+1",
    ],
)
def test_texts_made_to_take_long_do_not(text: str) -> None:
    short, long = (_seconds(text * (size // len(text))) for size in (1_000, 8_000))
    assert long < 32 * short + 0.05


def _seconds(text: str) -> float:
    started = time.process_time()
    ALL.find([text])
    return time.process_time() - started


TEXT = st.text() | st.sampled_from(
    [*VALUES.values(), "123-45 ", "::", "@", "4111", "\0", "\\n", "+"]
)


@given(st.lists(TEXT, max_size=8).map("".join))
def test_the_gate_opens_wherever_a_shape_matches(text: str) -> None:
    gate = union(one.shape for one in ENTITIES.values())
    whole, _ = laid_out([text])
    starts, at = [], 0
    while match := gate.search(whole, at):
        starts.append(match.start())
        at = match.start() + 1
    shapes = [re.compile(one.shape.encode()) for one in ENTITIES.values()]
    expected = [
        place for place in range(len(whole) + 1) if any(one.match(whole, place) for one in shapes)
    ]
    assert starts == expected


@given(st.lists(st.lists(TEXT, max_size=4).map("".join), max_size=6))
def test_texts_together_hold_what_each_holds(texts: list[str]) -> None:
    together = ALL.find(texts)
    alone = {place: ALL.find([text]).get(0) for place, text in enumerate(texts)}
    assert together == {place: several for place, several in alone.items() if several}


@given(st.lists(TEXT, max_size=6).map("".join), st.sampled_from([*VALUES]))
def test_no_text_beside_it_hides_a_value(text: str, entity: str) -> None:
    value = VALUES[entity]
    whole = f"{text} | {value} | {text}"
    begin = len(f"{text} | ".encode())
    assert any(
        one.start <= begin and one.end >= begin + len(value.encode())
        for one in ALL.find([whole])[0]
    )
