from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from structlog.testing import capture_logs

from keystile.model.errors import RefusedError, UnsafeConfigurationError
from keystile.secrets.file import SecretFile
from keystile.upstream import credential as module
from keystile.upstream.credential import ServiceAccount


async def test_the_token_is_signed_for_bigquery_alone(
    session_key: Any, credential: ServiceAccount
) -> None:
    token = jwt.decode(await credential.bearer(), session_key.public, algorithms=["RS256"])
    assert token.header["kid"] == "key-1"
    assert token.claims["iss"] == token.claims["sub"] == credential.email
    assert token.claims["aud"] == "https://bigquery.googleapis.com/"
    assert token.claims["exp"] - token.claims["iat"] == 3600


async def test_the_token_is_kept_until_it_nears_its_end(
    credential: ServiceAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await credential.bearer()
    assert await credential.bearer() == first
    later = time.time() + 3600 - 299
    monkeypatch.setattr(module.time, "time", lambda: later)
    assert await credential.bearer() != first


async def test_a_rotated_key_signs_at_once(tmp_path: Path, new_key: Any) -> None:
    path = tmp_path / "key.json"
    new_key(path, "old")
    account = ServiceAccount(SecretFile(path))
    await account.bearer()
    rotated = new_key(path, "new")
    token = jwt.decode(await account.bearer(), rotated.public, algorithms=["RS256"])
    assert token.header["kid"] == "new"


async def test_a_key_that_is_just_being_replaced_stops_nothing_until_the_token_ends(
    tmp_path: Path, new_key: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "key.json"
    new_key(path, "old")
    account = ServiceAccount(SecretFile(path))
    token = await account.bearer()
    path.write_text('{"client_email": "half a fi')
    with capture_logs() as logs:
        assert await account.bearer() == token
    assert logs[0]["event"] == "credential_unreadable"
    later = time.time() + 3601
    monkeypatch.setattr(module.time, "time", lambda: later)
    with pytest.raises(RefusedError, match="the gateway's own BigQuery credential"):
        await account.bearer()


@pytest.mark.parametrize(
    "content",
    [
        "not json",
        '{"type": "authorized_user"}',
        json.dumps({"client_email": "a@b", "private_key": "-----BEGIN SECRET-----"}),
        json.dumps({"client_email": 1, "private_key": "PEM-WORD"}),
    ],
)
def test_what_is_no_key_is_refused_without_being_quoted(tmp_path: Path, content: str) -> None:
    path = tmp_path / "key.json"
    path.write_text(content)
    with pytest.raises(
        UnsafeConfigurationError, match="not a Google service-account key"
    ) as caught:
        ServiceAccount(SecretFile(path))
    assert "SECRET" not in str(caught.value)
    assert caught.value.__suppress_context__


async def test_neither_key_nor_token_shows_in_a_repr(
    session_key: Any, credential: ServiceAccount
) -> None:
    secrets = [await credential.bearer(), *session_key.pem.splitlines()[1:-1]]
    shown = f"{credential!r} {credential} {SecretFile(session_key.path)!r}"
    assert credential.email in shown
    assert not [secret for secret in secrets if secret in shown]
