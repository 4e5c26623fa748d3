from __future__ import annotations

import base64
import json

import pytest

from keystile.detecting import checks


def email(text: str) -> str | None:
    encoded = text.encode()
    at = encoded.index(b"@") - 1
    found = checks.email(encoded, at)
    return encoded[slice(*found)].decode() if found else None


@pytest.mark.parametrize(
    "address",
    ["jane@example.com", "j.d+x@mail.example.co.uk", "jos\u00e9@example.com", "a_b@example.museum"],
)
def test_a_mail_address(address: str) -> None:
    assert email(address) == address
    assert email(f"<{address}>.") == address
    assert email(f"mailto:{address},") == address


@pytest.mark.parametrize(
    "text", ["j***@example.com", "x@localhost", "@example.com", "a@b.c", "x@-.com"]
)
def test_what_looks_like_an_address(text: str) -> None:
    assert email(f" {text}") is None


def ip(text: str) -> str | None:
    encoded = text.encode()
    found = checks.ip(encoded, 0)
    return encoded[slice(*found)].decode() if found else None


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("10.0.0.1:8080", "10.0.0.1"),
        ("10.0.0.1.", "10.0.0.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::1", "::1"),
        ("fe80::1ff:fe23:4567:890a", "fe80::1ff:fe23:4567:890a"),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.1"),
        ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
    ],
)
def test_an_ip_address(text: str, address: str) -> None:
    assert ip(text) == address


@pytest.mark.parametrize(
    "text", ["1.2.3.4.5", "256.1.1.1", "a::b", "::", "1:2:3:4:5:6:7:8:9", "10.0.0.1a", "12:30:45"]
)
def test_what_looks_like_an_ip_address(text: str) -> None:
    assert ip(text) is None


def test_a_part_of_a_name_is_no_ip_address() -> None:
    assert checks.ip(b"std::f32", 3) is None


def jwt(header: object) -> bytes:
    texts = (json.dumps(header).encode(), b'{"sub":"1234"}', b"signature")
    return b".".join(base64.urlsafe_b64encode(text).rstrip(b"=") for text in texts)


def test_a_token() -> None:
    token = jwt({"alg": "HS256", "typ": "JWT"})
    assert checks.jwt(token + b" and", 0) == (0, len(token))
    assert checks.jwt(jwt({"x": 1}), 0) is None
    assert checks.jwt(token.partition(b".")[0], 0) is None
    assert checks.jwt(b"eyJ" + b"A" * 40 + b".eyJx.y", 0) is None


@pytest.mark.parametrize(
    "key",
    [
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_" + "a1B2" * 9,
        "sk-ant-api03-" + "x1-Y" * 8,
        "xoxb-1234567890-ab",
    ],
)
def test_a_key_goes_to_the_end_of_its_word(key: str) -> None:
    assert checks.api_key(f"{key}, and".encode(), 0) == (0, len(key))


def test_words_are_no_key() -> None:
    assert checks.api_key(b"sk-learn-is-a-library-for-models", 0) is None
