from __future__ import annotations

import json
from typing import Any

import pytest
from joserfc import jwt

from keystile.model.errors import UnsafeConfigurationError
from keystile.upstream.keys import SigningKey


@pytest.fixture
def key(session_key: Any) -> SigningKey:
    return SigningKey(session_key.path.read_bytes(), "key.json")


def test_the_token_is_signed_for_bigquery_alone(session_key: Any, key: SigningKey) -> None:
    token = jwt.decode(key.sign().text, session_key.public, algorithms=["RS256"])
    assert token.header["kid"] == key.id == "key-1"
    assert token.claims["iss"] == token.claims["sub"] == key.account
    assert token.claims["aud"] == "https://bigquery.googleapis.com/"
    assert token.claims["exp"] - token.claims["iat"] == 3600


@pytest.mark.parametrize(
    "content",
    [
        "not json",
        '{"type": "authorized_user"}',
        json.dumps({"client_email": "a@b", "private_key": "-----BEGIN SECRET-----"}),
        json.dumps({"client_email": 1, "private_key": "PEM-WORD", "private_key_id": "k"}),
        json.dumps({"client_email": "a@b", "private_key": "SECRET", "private_key_id": "k"}),
        json.dumps({"client_email": "a@b", "private_key": "SECRET", "private_key_id": "../k"}),
    ],
)
def test_what_is_no_key_is_refused_without_being_quoted(content: str) -> None:
    with pytest.raises(
        UnsafeConfigurationError, match=r"`key\.json` is not a Google service-account key"
    ) as caught:
        SigningKey(content.encode(), "key.json")
    assert "SECRET" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_neither_key_nor_token_shows_in_a_repr(session_key: Any, key: SigningKey) -> None:
    token = key.sign()
    secrets = [token.text, *session_key.pem.splitlines()[1:-1]]
    shown = f"{key!r} {key} {[key]} {token!r}"
    assert key.account in shown
    assert not [secret for secret in secrets if secret in shown]
