from __future__ import annotations

import pytest

from keystile.model.errors import InvalidRequestError, RefusedError
from keystile.wire.strict import Strict, converted, int64, plain_labels, without_refused


class _Thing(Strict, frozen=True):
    long_name: str = ""


def test_an_unknown_field_is_named() -> None:
    assert converted({"longName": "a"}, _Thing) == _Thing("a")
    with pytest.raises(InvalidRequestError, match="shortName"):
        converted({"shortName": "a"}, _Thing)


@pytest.mark.parametrize("value", [None, "", 0, "0", 5, "9223372036854775807"])
def test_64_bit_numbers_come_as_text_too(value: int | str | None) -> None:
    assert int64(value, "n") == (None if value in (None, "") else int(value or 0))


@pytest.mark.parametrize("value", ["-1", "1.5", "9223372036854775808", " 1", "٣", -1])
def test_what_is_no_such_number_is_refused(value: int | str) -> None:
    with pytest.raises(InvalidRequestError, match="`n`"):
        int64(value, "n")


def test_a_refused_field_that_says_nothing_is_left_out() -> None:
    given = {"a": 1, "b": False, "c": None}
    assert without_refused(given, {"b": "no", "c": "no"}) == {"a": 1}
    with pytest.raises(RefusedError, match="`a` is refused: never"):
        without_refused(given, {"a": "never"})


@pytest.mark.parametrize("labels", [{"": "a"}, {"A": "b"}, {"a": "b c"}, {"a" * 64: ""}])
def test_labels_carry_no_hidden_text(labels: dict[str, str]) -> None:
    assert plain_labels({"team": "shop-1"}) == {"team": "shop-1"}
    with pytest.raises(InvalidRequestError, match="label"):
        plain_labels(labels)
