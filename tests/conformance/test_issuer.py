"""The certified issuer `oidc-provider` as a real server, and agents that come with its tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from prove.clients.environments import AbsentError
from prove.identity.issuer import Client, Issuer, oidc_provider

from keystile.config import identity as words
from keystile.config.settings import Settings
from keystile.config.upstream import Upstream
from keystile.identity import keys
from keystile.identity.wiring import Identity, build
from keystile.model.errors import TokenRefusedError
from keystile.model.principal import Principal
from keystile.store.database import Database

AUDIENCE = "https://bigquery-gateway.example.com"
FORM = "application/x-www-form-urlencoded"
CLIENTS = {"report-bot": Client("not a secret", ("analytics",)), "laptop": Client()}


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    try:
        with oidc_provider(CLIENTS) as running:
            yield running
    except AbsentError as error:
        pytest.skip(str(error))


@pytest.fixture
async def identity(issuer: Issuer, tmp_path: Path) -> AsyncIterator[Identity]:
    trusted = words.Issuer(
        issuer=issuer.url,
        audiences=[AUDIENCE, "laptop"],
        attribute_mapping={
            "attribute.client": "has(assertion.client_id) ? assertion.client_id : ''"
        },
    )
    upstream = Upstream(service_account_file=str(tmp_path / "key.json"))
    settings = Settings(
        folder=tmp_path, upstream=upstream, identity=words.Identity(issuers=[trusted])
    )
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'store.db'}")
    await database.open()
    made = build(settings, database)
    yield made
    await made.close()
    await database.close()


async def _principal(identity: Identity, token: str, kind: str = "jwt") -> Principal:
    """Exchange a token, and give whom the gateway's own token stands for."""
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "audience": "//keystile/agents",
        "subject_token": token,
        "subject_token_type": f"urn:ietf:params:oauth:token-type:{kind}",
    }
    issued = await identity.exchange.exchange(urlencode(form).encode(), FORM)
    return await identity.callers.principal(issued.access_token)


async def test_a_client_signs_in_with_its_access_token(identity: Identity, issuer: Issuer) -> None:
    principal = await _principal(identity, issuer.token("report-bot", AUDIENCE))
    assert (principal.issuer, principal.agent) == (issuer.url, "report-bot")
    assert principal.groups == ("analytics",)
    assert dict(principal.attributes) == {"client": "report-bot"}


async def test_a_person_lends_a_program_both_kinds_of_token(
    identity: Identity, issuer: Issuer
) -> None:
    tokens = issuer.lent("laptop", "sample-person", AUDIENCE)
    for name, kind in (("access_token", "jwt"), ("id_token", "id_token")):
        assert (await _principal(identity, tokens[name], kind)).agent == "sample-person"
    assert tokens["refresh_token"]


async def test_a_token_for_another_service_is_refused(identity: Identity, issuer: Issuer) -> None:
    with pytest.raises(TokenRefusedError, match=r"for the audience `https://other\.example\.com/`"):
        await _principal(identity, issuer.token("report-bot", "https://other.example.com/"))


async def test_an_access_token_that_is_no_jwt_is_refused(
    identity: Identity, issuer: Issuer
) -> None:
    opaque = issuer.token("report-bot", "")
    with pytest.raises(TokenRefusedError, match="the token is not a signed JWT"):
        await _principal(identity, opaque)


async def test_keys_rotate_without_a_refused_token(
    identity: Identity, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "_RETRY_SECONDS", 0)
    old = issuer.token("report-bot", AUDIENCE)
    await _principal(identity, old)
    issuer.rotate()
    for token in (issuer.token("report-bot", AUDIENCE), old):
        assert (await _principal(identity, token)).agent == "report-bot"
    issuer.withdraw()
    monkeypatch.setattr(keys, "_FRESH_SECONDS", 0)
    with pytest.raises(TokenRefusedError, match="has no key that fits the token"):
        await _principal(identity, old)
    assert await _principal(identity, issuer.token("report-bot", AUDIENCE))
