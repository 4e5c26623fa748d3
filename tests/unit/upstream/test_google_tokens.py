from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from google.auth import _exponential_backoff
from google.auth.compute_engine import _metadata
from google.oauth2 import credentials as people
from joserfc import jwt
from joserfc.jwk import RSAKey
from tests.support.google import Google, Person, Provider
from tests.support.played import Handler, Played

from keystile.config.upstream import Connection
from keystile.model.errors import RefusedError
from keystile.tls.outward import DIRECT
from keystile.upstream.credential_files import account_of
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
    made = GoogleTokens(google.url, DIRECT)
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


def federated(google: Google, folder: Path, **source: Any) -> dict[str, Any]:
    """Have a provider, and give the file that names it, with a token that is good in `oidc.jwt`."""
    key = RSAKey.generate_key(2048, {"kid": "k"})
    google.providers[AUDIENCE] = Provider(ISSUER, {"k": key})
    now = int(time.time())
    claims = {"iss": ISSUER, "sub": "pod", "aud": f"https:{AUDIENCE}", "iat": now, "exp": now + 600}
    header = {"alg": "RS256", "kid": "k"}
    (folder / "oidc.jwt").write_text(jwt.encode(header, claims, key))
    return {
        "type": "external_account",
        "audience": AUDIENCE,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{google.url}/v1/token",
        "credential_source": source or {"file": str(folder / "oidc.jwt")},
    }


async def test_a_federated_token_is_one_of_its_audience(
    google: Google, tokens: GoogleTokens, tmp_path: Path
) -> None:
    (tmp_path / "wif.json").write_text(json.dumps(federated(google, tmp_path)))
    settings = Connection(external_account_file="wif.json")
    token = await tokens.fetch("c", settings, None, tmp_path)
    assert google.tokens[token.text].principal.endswith("/subject/pod")
    assert token.account == AUDIENCE


async def test_a_program_is_run_for_a_token_only_where_the_operator_allows_it(
    google: Google, tokens: GoogleTokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import json, pathlib, sys\n"
        f"pathlib.Path({str(tmp_path / 'ran')!r}).touch()\n"
        f"token = pathlib.Path({str(tmp_path / 'oidc.jwt')!r}).read_text()\n"
        "kind = 'urn:ietf:params:oauth:token-type:jwt'\n"
        "json.dump({'version': 1, 'success': True, 'token_type': kind, 'id_token': token},"
        " sys.stdout)\n"
    )
    source = {"command": f"{sys.executable} {program}", "timeout_millis": 20000}
    file = federated(google, tmp_path, executable=source)
    (tmp_path / "wif.json").write_text(json.dumps(file))
    settings = Connection(external_account_file="wif.json")
    with pytest.raises(RefusedError, match="which the gateway does not run") as refused:
        await tokens.fetch("c", settings, None, tmp_path)
    assert "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES=1" in refused.value.hint
    assert not (tmp_path / "ran").exists()
    monkeypatch.setenv("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", "1")
    token = await tokens.fetch("c", settings, None, tmp_path)
    assert google.tokens[token.text].principal.endswith("/subject/pod")
    planted = "planted-in-the-program"
    program.write_text(f"raise SystemExit({planted!r})")
    with pytest.raises(RefusedError, match="the program that its credential file names") as refused:
        await tokens.fetch("c", settings, None, tmp_path)
    assert planted not in str(refused.value)
    source["command"] = str(tmp_path / "nowhere")
    (tmp_path / "wif.json").write_text(json.dumps(file))
    with pytest.raises(RefusedError, match="the program that its credential file names"):
        await tokens.fetch("c", settings, None, tmp_path)


async def test_a_token_of_aws_is_a_request_that_its_key_signed(
    google: Google, tokens: GoogleTokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = federated(
        google,
        tmp_path,
        environment_id="aws1",
        regional_cred_verification_url=(
            "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15"
        ),
    )
    file["subject_token_type"] = "urn:ietf:params:aws:token-type:aws4_request"
    (tmp_path / "wif.json").write_text(json.dumps(file))
    google.aws["AKIDEXAMPLE"] = secret = "planted-at-aws"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    settings = Connection(external_account_file="wif.json")
    token = await tokens.fetch("c", settings, None, tmp_path)
    assert google.tokens[token.text].principal.endswith("/subject/AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"not-{secret}")
    with pytest.raises(RefusedError, match="answered 400 invalid_grant") as refused:
        await tokens.fetch("c", settings, None, tmp_path)
    assert secret not in str(refused.value)


def instance(secret: str, session: str) -> Handler:
    """Give the metadata service of an instance at AWS, version 2: nothing without a session."""
    key = {"AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": secret}
    said = {
        "/zone": "eu-central-1b",
        "/role": "reader",
        "/role/reader": json.dumps(key),
    }

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method == "PUT" and request.path == "/token":
            lasts = request.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
            return web.Response(text=session) if lasts.isdigit() else web.Response(status=400)
        if request.headers.get("X-aws-ec2-metadata-token") != session:
            return web.Response(status=401)
        return web.Response(text=said[request.path])

    return answer


async def test_no_token_was_had_on_an_instance_of_aws(
    google: Google, tokens: GoogleTokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    google.aws["AKIDEXAMPLE"] = secret = "planted-at-aws"
    with Played(instance(secret, "planted-session")) as imds:
        file = federated(
            google,
            tmp_path,
            environment_id="aws1",
            region_url=f"{imds.url}/zone",
            url=f"{imds.url}/role",
            imdsv2_session_token_url=f"{imds.url}/token",
            regional_cred_verification_url=(
                "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15"
            ),
        )
        file["subject_token_type"] = "urn:ietf:params:aws:token-type:aws4_request"
        (tmp_path / "wif.json").write_text(json.dumps(file))
        settings = Connection(external_account_file="wif.json")
        token = await tokens.fetch("c", settings, None, tmp_path)
        assert google.tokens[token.text].principal.endswith("/subject/AKIDEXAMPLE")
        imds.down = True
        with pytest.raises(RefusedError, match=r"`127\.0\.0\.1` answered 503") as refused:
            await tokens.fetch("c", settings, None, tmp_path)
    assert "planted" not in str(refused.value)


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[object], None]:
    """Give what writes the file that application default credentials stand in."""
    file = tmp_path / "adc.json"
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))

    def write(content: object) -> None:
        file.write_text(json.dumps(content))

    return write


DEFAULT = Connection(application_default=True)


def signed_in(google: Google, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(people, "_GOOGLE_OAUTH2_TOKEN_ENDPOINT", google.token_uri)
    google.people["planted-refresh"] = Person("ana@acme.example", "client", "planted-secret")
    return {
        "type": "authorized_user",
        "account": "",
        "client_id": "client",
        "client_secret": "planted-secret",
        "refresh_token": "planted-refresh",
        "quota_project_id": "acme-shop",
    }


async def test_a_persons_sign_in_gives_the_persons_token(
    google: Google,
    tokens: GoogleTokens,
    tmp_path: Path,
    named: Callable[[object], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = signed_in(google, monkeypatch)
    named({**file, "scopes": ["https://www.googleapis.com/auth/drive"]})
    token = await tokens.fetch("c", DEFAULT, None, tmp_path)
    assert token.account == google.tokens[token.text].principal == "ana@acme.example"
    google.people.clear()
    with pytest.raises(RefusedError, match="answered 400 invalid_grant") as refused:
        await tokens.fetch("c", DEFAULT, None, tmp_path)
    assert "planted" not in str(refused.value)


async def test_a_person_who_is_not_named_is_one_all_the_same() -> None:
    def account(**words: str) -> str:
        return account_of(people.Credentials(None, client_id="c", **words))

    first, again = account(refresh_token="a"), account(refresh_token="a")
    assert first == again != account(refresh_token="b")
    assert first.startswith("person ")
    assert account(refresh_token="a", account="ana@acme.example") == "ana@acme.example"


async def test_a_file_that_impersonates_gives_tokens_of_that_account_alone(
    google: Google,
    tokens: GoogleTokens,
    tmp_path: Path,
    named: Callable[[object], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = f"{google.url}/v1/projects/-/serviceAccounts/{REPORTS}:generateAccessToken"
    person = signed_in(google, monkeypatch)
    file = {
        "type": "impersonated_service_account",
        "service_account_impersonation_url": url,
        "source_credentials": person,
        "delegates": [],
    }
    named(file)
    google.impersonators[REPORTS] = {"ana@acme.example", GATEWAY}
    token = await tokens.fetch("c", DEFAULT, None, tmp_path)
    assert token.account == google.tokens[token.text].principal == REPORTS
    google.account(tmp_path / "key.json", GATEWAY)
    file["source_credentials"] = json.loads((tmp_path / "key.json").read_text())
    named(file)
    token = await tokens.fetch("c", DEFAULT, None, tmp_path)
    assert token.account == google.tokens[token.text].principal == REPORTS


async def test_where_nothing_is_found_it_is_said_what_was_looked_for(
    google: Google, tokens: GoogleTokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    google.attached = GATEWAY
    assert (await tokens.fetch("c", DEFAULT, None, tmp_path)).account == GATEWAY
    monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", "127.0.0.1:1")
    monkeypatch.setattr(_exponential_backoff.time, "sleep", lambda _: None)
    with pytest.raises(RefusedError, match="cannot be reached") as refused:
        await tokens.fetch("c", DEFAULT, None, tmp_path)
    assert "set `GOOGLE_APPLICATION_CREDENTIALS`" in refused.value.hint
