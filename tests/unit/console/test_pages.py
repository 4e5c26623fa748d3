from typing import Any

import pytest

from keystile.console.pages import (
    byte_size,
    duration,
    iso,
    parameter_value,
    prose,
    relative,
    sentence,
    static_version,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "3 sec. ago"),
        (-59.9, "59 sec. ago"),
        (-150, "2 min. ago"),
        (-7300, "2 hr. ago"),
        (-86400, "1 day ago"),
        (-200000, "2 days ago"),
        (1800, "in 30 min."),
        (0, "0 sec. ago"),
    ],
)
def test_times_are_said_as_people_say_them(seconds: float, text: str) -> None:
    assert relative(1000 + seconds, 1000) == text


def test_a_time_names_its_zone() -> None:
    assert iso(0) == "1970-01-01 00:00:00 UTC"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "unknown"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (73_400_320, "70.0 MiB"),
        (1 << 60, "1024.0 PiB"),
    ],
)
def test_bytes_have_a_unit(count: int | None, text: str) -> None:
    assert byte_size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.085, "85 ms"), (4.2, "4.2 s"), (185, "3 min 5 s"), (7260, "2 h 1 min")],
)
def test_durations_have_a_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_our_messages_become_sentences() -> None:
    assert sentence("you are not signed in") == "You are not signed in."
    assert sentence("Why? ") == "Why?"
    assert sentence("") == "."


def test_what_stands_in_backticks_is_code_and_stays_text() -> None:
    assert prose("there is no `<b>` here") == "There is no <code>&lt;b&gt;</code> here."
    assert prose("an odd ` is kept harmless <") == "An odd <code> is kept harmless &lt;.</code>"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"value": "42"}, "42"),
        ({"value": None}, "NULL"),
        ({}, "NULL"),
        ({"arrayValues": [{"value": "1"}]}, '{"arrayValues":[{"value":"1"}]}'),
        ([1], "[1]"),
    ],
)
def test_parameter_values_are_whole(value: Any, text: str) -> None:
    assert parameter_value(value) == text


def test_static_files_are_named_by_content() -> None:
    assert len(static_version()) == 12
