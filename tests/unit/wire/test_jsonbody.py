from __future__ import annotations

import contextlib
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.model.errors import InvalidRequestError
from keystile.wire.jsonbody import MAX_BODY_BYTES, parse_object


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"1",
        b"{",
        b"\xff{}",
        b'{"a":NaN}',
        b'{"a":1e999}',
        b'{"a":"\\ud800 and more"}',
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"\\u0062":2}}',
        b'{"a":' + b"[" * 100_000,
        b'{"a":' + b"9" * 10_000 + b"}",
        b'{"a":"' + b"x" * MAX_BODY_BYTES + b'"}',
        b'{"a":1} {}',
    ],
)
def test_what_has_no_single_meaning_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        parse_object(body)


def test_a_repeated_field_is_named() -> None:
    with pytest.raises(InvalidRequestError, match="`query` twice"):
        parse_object(b'{"query":"SELECT 1","query":"SELECT 2"}')


def test_nesting_without_end_is_named() -> None:
    with pytest.raises(InvalidRequestError, match="nested too deeply"):
        parse_object(b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), _JSON, max_size=4))
def test_an_object_comes_back_as_written(value: dict[str, object]) -> None:
    assert parse_object(json.dumps(value).encode()) == value


@given(st.binary(max_size=200))
def test_any_bytes_give_an_object_or_an_error_of_ours(body: bytes) -> None:
    with contextlib.suppress(InvalidRequestError):
        parse_object(body)


def test_exact_numbers_keep_their_digits() -> None:
    body = b'{"a":[1.10,9223372036854775808,-5]}'
    assert parse_object(body, exact=True) == {"a": [Decimal("1.10"), Decimal(2**63), -5]}
    for number in (b"1e999", b"1e99999999999999999999", b"1e-99999999999999999999"):
        with contextlib.suppress(InvalidRequestError):
            parse_object(b'{"a":' + number + b"}", exact=True)


def test_a_bound_can_be_another_one() -> None:
    body = b'{"a":"' + b"x" * MAX_BODY_BYTES + b'"}'
    assert parse_object(body, 2 * MAX_BODY_BYTES)
    with pytest.raises(InvalidRequestError, match="larger than 10 bytes"):
        parse_object(body, 10)
