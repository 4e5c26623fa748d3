from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.policy.patterns import fit, names, parts


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("a.b", "a.b", True),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("*", "a.b", False),
        ("a.b*d", "a.bcd", True),
        ("a.b*d", "a.bcde", False),
        ("a.[bc]", "a.b", False),
        ("a.?", "a.b", False),
        ("a.b", "A.b", False),
    ],
)
def test_a_star_stays_within_its_part(pattern: str, name: str, *, fits: bool) -> None:
    assert fit(parts(names(pattern), ignore_case=False), name.split(".")) is fits


@given(st.text("ab*", min_size=1), st.text("ab\n"))
def test_a_star_stands_for_any_characters(pattern: str, name: str) -> None:
    as_expression = ".*".join(re.escape(text) for text in pattern.split("*"))
    fits = re.fullmatch(as_expression, name, re.DOTALL) is not None
    assert fit(parts([pattern], ignore_case=False), [name]) is fits


def test_many_stars_take_no_long_time() -> None:
    """Tried by an expression, `*a*a*a…` took time that grew with a high power of the name."""
    assert not fit(parts(["*a" * 30 + "b"], ignore_case=False), ["a" * 5000])


def test_case_can_be_ignored() -> None:
    assert fit(parts(["SSN", "X*"], ignore_case=True), ["ssn", "xy"])


def test_a_star_spans_line_breaks() -> None:
    assert fit(parts(["a*c"], ignore_case=False), ["a\nc"])


def test_a_domain_scoped_project_is_one_part() -> None:
    assert names("example.com:shop.d.t") == ["example.com:shop", "d", "t"]


@pytest.mark.parametrize("text", ["", "a..b", ".a", "a.", "a. b", "a.\tb"])
def test_an_empty_or_blank_part_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the message is the part itself
        parts(names(text), ignore_case=True)
