from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.auth.compute_engine import _metadata
from joserfc import jwt
from joserfc.jwk import RSAKey
from tests.support.google import Google, Provider

from keystile.config.settings import Connection
from keystile.model.errors import RefusedError
from keystile.upstream.errors import KeyRejectedError
from keystile.upstream.google_tokens import GoogleTokens
from keystile.upstream.keys import SigningKey

GATEWAY = "gateway@acme-shop.iam.gserviceaccount.com"
REPORTS = "reports@acme-shop.iam.gserviceaccount.com"
POOL = "projects/123/locations/global/workloadIdentityPools/pool"
AUDIENCE = f"//iam.googleapis.com/{POOL}/providers/cluster"
ISSUER = "https://issuer.example"


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[Google]:
    with Google() as google:
        monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", google.metadata_host)
        yield google


@pytest.fixture
async def tokens(google: Google) -> AsyncIterator[GoogleTokens]:
    made = GoogleTokens(google.url, "")
    yield made
    await made.close()


async def test_the_metadata_server_gives_the_token_of_the_attached_account(
    google: Google, tokens: GoogleTokens, tmp_path: Path
) -> None:
    google.attached = GATEWAY
    token = await tokens.fetch("c", Connection(metadata_server=True), None, tmp_path)
    assert google.tokens[token.text].principal == token.account == GATEWAY
    assert 3000 < token.expires - time.time() <= 3600


async def test_a_key_impersonates_another_account(
    google: Google, tokens: GoogleTokens, tmp_path: Path
) -> None:
    google.account(tmp_path / "key.json", GATEWAY)
    google.impersonators[REPORTS] = {GATEWAY}
    key = SigningKey((tmp_path / "key.json").read_bytes(), "key.json")
    token = await tokens.fetch("c", Connection(impersonate=REPORTS), key, tmp_path)
    assert google.tokens[token.text].principal == token.account == REPORTS


async def test_a_key_that_iam_does_not_take_is_told_from_all_else(
    google: Google, tokens: GoogleTokens, tmp_path: Path, new_key: Any
) -> None:
    google.account(tmp_path / "key.json", GATEWAY)
    google.impersonators[REPORTS] = {GATEWAY}
    unknown = SigningKey(new_key(tmp_path / "else.json", "else").path.read_bytes(), "else.json")
    with pytest.raises(KeyRejectedError, match=r"answered 401"):
        await tokens.fetch("c", Connection(impersonate=REPORTS), unknown, tmp_path)
    key = SigningKey((tmp_path / "key.json").read_bytes(), "key.json")
    google.impersonators[REPORTS] = set()
    with pytest.raises(RefusedError, match=r"answered 403") as refused:
        await tokens.fetch("c", Connection(impersonate=REPORTS), key, tmp_path)
    assert not isinstance(refused.value, KeyRejectedError)


async def test_what_it_may_not_impersonate_is_said_in_a_sentence_without_a_token(
    google: Google, tokens: GoogleTokens, tmp_path: Path
) -> None:
    google.attached = GATEWAY
    settings = Connection(metadata_server=True, impersonate=REPORTS)
    with pytest.raises(RefusedError, match=r"`127\.0\.0\.1` answered 403") as refused:
        await tokens.fetch("c", settings, None, tmp_path)
    assert "roles/iam.serviceAccountTokenCreator" in refused.value.hint
    assert refused.value.__suppress_context__
    assert not [token for token in google.tokens if token in str(refused.value)]


async def test_a_federated_token_is_one_of_its_audience(
    google: Google, tokens: GoogleTokens, tmp_path: Path
) -> None:
    key = RSAKey.generate_key(2048, {"kid": "k"})
    google.providers[AUDIENCE] = Provider(ISSUER, {"k": key})
    now = int(time.time())
    claims = {"iss": ISSUER, "sub": "pod", "aud": f"https:{AUDIENCE}", "iat": now, "exp": now + 600}
    header = {"alg": "RS256", "kid": "k"}
    (tmp_path / "oidc.jwt").write_text(jwt.encode(header, claims, key))
    file: dict[str, Any] = {
        "type": "external_account",
        "audience": AUDIENCE,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{google.url}/v1/token",
        "credential_source": {"file": str(tmp_path / "oidc.jwt")},
    }
    (tmp_path / "wif.json").write_text(json.dumps(file))
    settings = Connection(external_account_file="wif.json")
    token = await tokens.fetch("c", settings, None, tmp_path)
    assert google.tokens[token.text].principal.endswith("/subject/pod")
    assert token.account == AUDIENCE
    file["credential_source"] = {"executable": {"command": "/bin/true"}}
    (tmp_path / "wif.json").write_text(json.dumps(file))
    with pytest.raises(RefusedError, match="which the gateway does not run"):
        await tokens.fetch("c", settings, None, tmp_path)
