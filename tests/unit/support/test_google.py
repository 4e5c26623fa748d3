"""The played servers say yes to Google's own libraries and no as Google does."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import google.auth.exceptions
import pytest
import requests
from google.auth import compute_engine, identity_pool, impersonated_credentials
from google.auth.compute_engine import _metadata
from google.auth.transport.requests import Request
from google.oauth2 import service_account
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey
from tests.support.google import Google, Provider, Secret
from tests.support.google_words import SCOPE

EMAIL = "gateway@acme-shop.iam.gserviceaccount.com"
TARGET = "reader@acme-shop.iam.gserviceaccount.com"
POOL = "projects/123456789012/locations/global/workloadIdentityPools/pool"
AUDIENCE = f"//iam.googleapis.com/{POOL}/providers/ci"
ISSUER = "https://ci.example.com"
NAME = "projects/acme-shop/secrets/key"


@pytest.fixture
def played() -> Iterator[Google]:
    with Google() as served:
        yield served


def of_key(file: Path) -> Any:
    return service_account.Credentials.from_service_account_file(str(file), scopes=[SCOPE])


def test_a_service_account_signs_in_until_its_key_is_taken_back(
    played: Google, tmp_path: Path
) -> None:
    played.account(tmp_path / "key.json", EMAIL)
    credentials = of_key(tmp_path / "key.json")
    credentials.refresh(Request())
    assert played.tokens[credentials.token].principal == EMAIL
    del played.keys[EMAIL]["key-1"]
    with pytest.raises(google.auth.exceptions.RefreshError, match="Invalid JWT Signature"):
        credentials.refresh(Request())
    played.disabled.add(EMAIL)
    with pytest.raises(google.auth.exceptions.RefreshError, match="disabled_client"):
        credentials.refresh(Request())
    played.revoke(EMAIL)
    assert not played.tokens


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        ({"iss": "nobody@acme-shop.iam.gserviceaccount.com"}, "account not found"),
        ({"aud": "https://bigquery.googleapis.com/"}, "Failed audience check"),
        ({"exp": 3700}, "short-lived token"),
        ({"iat": -7200, "exp": -3600}, "short-lived token"),
        ({"iat": 600, "exp": 3600}, "short-lived token"),
        ({"scope": ""}, "Empty or missing scope"),
    ],
)
def test_an_assertion_is_checked_as_google_does(
    played: Google, tmp_path: Path, changes: dict[str, Any], said: str | None
) -> None:
    key = played.account(tmp_path / "key.json", EMAIL)
    now = int(time.time())
    claims = {"iss": EMAIL, "aud": played.token_uri, "iat": 0, "exp": 3600, "scope": SCOPE}
    claims |= changes
    claims |= {name: now + claims[name] for name in ("iat", "exp")}
    signed = jwt.encode({"alg": "RS256", "kid": "key-1"}, claims, key)
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": signed}
    answer = requests.post(f"{played.url}/token", form, timeout=10)
    assert answer.status_code == (400 if said else 200)
    assert said is None or said in answer.json()["error_description"]


def federated(played: Google, folder: Path, key: ECKey, **changes: Any) -> Any:
    now = int(time.time())
    claims = {"iss": ISSUER, "sub": "run-1", "aud": f"https:{AUDIENCE}", "iat": now}
    claims |= {"exp": now + 600} | changes
    (folder / "token").write_text(jwt.encode({"alg": "ES256", "kid": "k"}, claims, key))
    info = {
        "type": "external_account",
        "audience": AUDIENCE,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{played.url}/v1/token",
        "credential_source": {"file": str(folder / "token")},
    }
    return identity_pool.Credentials.from_info(info, scopes=[SCOPE])


def test_workload_identity_checks_the_subject_token(played: Google, tmp_path: Path) -> None:
    key, other = ECKey.generate_key("P-256"), ECKey.generate_key("P-256")
    with pytest.raises(google.auth.exceptions.OAuthError, match="invalid_target"):
        federated(played, tmp_path, key).refresh(Request())
    played.providers[AUDIENCE] = Provider(ISSUER, {"k": key})
    credentials = federated(played, tmp_path, key)
    credentials.refresh(Request())
    principal = f"principal://iam.googleapis.com/{POOL}/subject/run-1"
    assert played.tokens[credentials.token].principal == principal
    for signer, changes, said in (
        (other, {}, "signature"),
        (key, {"aud": "//other"}, "does not match the expected audience"),
        (key, {"iss": "https://other.example.com"}, "issuer in ID Token"),
        (key, {"exp": int(time.time()) - 1}, "is stale to sign-in"),
    ):
        with pytest.raises(google.auth.exceptions.OAuthError, match=said):
            federated(played, tmp_path, signer, **changes).refresh(Request())


def test_impersonation_needs_the_right_to_it(played: Google, tmp_path: Path) -> None:
    played.account(tmp_path / "key.json", EMAIL)
    endpoint = f"{played.url}/v1/projects/-/serviceAccounts/{TARGET}:generateAccessToken"
    credentials = impersonated_credentials.Credentials(
        of_key(tmp_path / "key.json"), TARGET, [SCOPE], iam_endpoint_override=endpoint
    )
    with pytest.raises(google.auth.exceptions.RefreshError, match="getAccessToken"):
        credentials.refresh(Request())
    played.impersonators[TARGET] = {EMAIL}
    credentials.refresh(Request())
    assert played.tokens[credentials.token].principal == TARGET


def test_the_metadata_server_demands_its_header(
    played: Google, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", played.metadata_host)
    monkeypatch.setenv("GCE_METADATA_IP", played.metadata_host)
    root = f"{played.url}/computeMetadata/v1"
    token = f"{root}/instance/service-accounts/default/token"
    flavor = {"Metadata-Flavor": "Google"}
    assert requests.get(token, timeout=10).status_code == 403
    forwarded = {**flavor, "X-Forwarded-For": "10.0.0.1"}
    assert requests.get(token, headers=forwarded, timeout=10).status_code == 403
    assert requests.get(token, headers=flavor, timeout=10).status_code == 404
    played.attached = EMAIL
    assert _metadata.ping(Request())
    assert _metadata.get_project_id(Request()) == "acme-shop"
    credentials = compute_engine.Credentials()
    credentials.refresh(Request())
    assert credentials.service_account_email == EMAIL
    assert played.tokens[credentials.token].principal == EMAIL
    identity = compute_engine.IDTokenCredentials(
        Request(), "https://gateway.example.com", use_metadata_identity_endpoint=True
    )
    identity.refresh(Request())
    keys = KeySet.import_key_set(played.jwks())
    claims = jwt.decode(identity.token, keys, algorithms=["RS256"]).claims
    assert (claims["aud"], claims["email"]) == ("https://gateway.example.com", EMAIL)


def test_secret_manager_gives_what_may_be_had(played: Google, tmp_path: Path) -> None:
    played.account(tmp_path / "key.json", EMAIL)
    credentials = of_key(tmp_path / "key.json")
    credentials.refresh(Request())

    def asked(version: str, token: str = credentials.token) -> tuple[int, str]:
        url = f"{played.url}/v1/{NAME}/versions/{version}:access"
        headers = {"Authorization": f"Bearer {token}"}
        answer = requests.get(url, headers=headers, timeout=10)
        return answer.status_code, answer.text

    assert asked("1", "ya29.stolen")[0] == 401
    assert asked("1")[0] == 403
    played.secrets[NAME] = Secret({EMAIL}, [b"one", b"two"], {1: "DISABLED"})
    status, text = asked("latest")
    assert (status, json.loads(text)["name"]) == (200, f"{NAME}/versions/2")
    assert "is in DISABLED state" in asked("1")[1]
    assert asked("3")[0] == 404


def test_servers_can_be_down_and_can_sign_for_the_sandbox(tmp_path: Path) -> None:
    key = RSAKey.generate_key(2048)
    with Google(signs=key) as served:
        served.account(tmp_path / "key.json", EMAIL)
        credentials = of_key(tmp_path / "key.json")
        credentials.refresh(Request())
        claims = jwt.decode(credentials.token, key, algorithms=["RS256"]).claims
        assert claims["iss"] == claims["sub"] == EMAIL
        served.down = True
        assert requests.get(served.url, timeout=10).status_code == 503
        assert served.asked == ["POST /token", "GET /"]
