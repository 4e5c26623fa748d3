from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from google.auth import identity_pool
from google.auth.exceptions import OAuthError
from google.auth.transport.requests import Request
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from keystile.config.identity import ExchangeLimits
from keystile.config.settings import Settings
from keystile.identity.connection import Connection
from keystile.identity.disabling import Target
from keystile.identity.exchange import TokenResponse
from keystile.identity.wiring import Identity, build
from keystile.model.errors import (
    StoreUnavailableError,
    TokenFault,
    TokenRefusedError,
    UnauthenticatedError,
)
from keystile.model.sender import Sender
from keystile.store.database import Database

FORM = "application/x-www-form-urlencoded"
AUDIENCE = "//keystile/agents"
JWT = "urn:ietf:params:oauth:token-type:jwt"
ACCESS = "urn:ietf:params:oauth:token-type:access_token"


@pytest.fixture
async def identity(
    settings: Callable[..., Settings], database: Database
) -> AsyncIterator[Identity]:
    made = build(settings(), database)
    yield made
    await made.close()


def _form(token: str, **changes: Any) -> dict[str, str]:
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "audience": AUDIENCE,
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "requested_token_type": ACCESS,
        "subject_token": token,
        "subject_token_type": JWT,
    }
    return {name: value for name, value in (form | changes).items() if value is not ...}


async def _exchange(identity: Identity, token: str, **changes: Any) -> TokenResponse:
    body = urlencode(_form(token, **changes)).encode()
    return await identity.exchange.exchange(body, FORM)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"subject_token_type": "urn:ietf:params:oauth:token-type:id_token"},
        {"requested_token_type": ..., "scope": ...},
        {"requested_token_type": "", "actor_token": "", "options": "{}", "client_id": "x"},
    ],
)
async def test_an_issuers_token_becomes_a_gateway_token(
    identity: Identity, issuer: Any, changes: dict[str, Any]
) -> None:
    response = await _exchange(identity, issuer.token(groups=["g"], sid="run-1"), **changes)
    assert response.issued_token_type == ACCESS
    assert response.token_type == "Bearer"
    assert response.expires_in == 600
    assert response.access_token not in repr(response)
    principal = await identity.callers.principal(response.access_token)
    assert (principal.issuer, principal.subject) == ("https://issuer.test", "agent-7")
    assert principal.groups == ("g",)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
async def test_a_file_whose_line_ends_holds_a_token_all_the_same(
    identity: Identity, issuer: Any, end: str
) -> None:
    """Clients send it as it is; it was refused as if its signature were wrong."""
    assert await _exchange(identity, issuer.token() + end)


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"grant_type": ...}, "invalid_request", "`grant_type` is missing"),
        ({"grant_type": "authorization_code"}, "unsupported_grant_type", "must be `urn:ietf"),
        ({"subject_token": ...}, "invalid_request", "`subject_token` is missing"),
        ({"subject_token": ""}, "invalid_request", "`subject_token` is missing"),
        ({"subject_token_type": ...}, "invalid_request", "`subject_token_type` is missing"),
        ({"subject_token_type": ACCESS}, "invalid_request", "`subject_token_type` must be"),
        ({"requested_token_type": JWT}, "invalid_request", "`requested_token_type` must be"),
        ({"actor_token": "x"}, "invalid_request", "`actor_token_type` is missing"),
        ({"actor_token_type": JWT}, "invalid_request", "`actor_token` is missing"),
        ({"actor_token": "x", "actor_token_type": ACCESS}, "invalid_request", "must be"),
        (
            {"actor_token": "x", "actor_token_type": JWT},
            "invalid_request",
            "nobody may act for the subjects of this issuer",
        ),
        ({"audience": ...}, "invalid_request", "`audience` is missing"),
        ({"audience": "//other/agents"}, "invalid_target", "must be `//keystile/agents`"),
    ],
)
async def test_each_faulty_parameter_has_its_own_sentence(
    identity: Identity, issuer: Any, changes: dict[str, Any], code: str, message: str
) -> None:
    token = issuer.token()
    with pytest.raises(TokenRefusedError) as caught:
        await _exchange(identity, token, **changes)
    assert caught.value.oauth_error == code
    assert message in str(caught.value)
    assert token not in str(caught.value)


@pytest.mark.parametrize("name", ["audience", "subject_token", "grant_type", "scope"])
async def test_a_repeated_parameter_is_refused(identity: Identity, issuer: Any, name: str) -> None:
    form = _form(issuer.token())
    body = urlencode([*form.items(), (name, form[name])]).encode()
    with pytest.raises(TokenRefusedError, match="given twice") as caught:
        await identity.exchange.exchange(body, FORM)
    assert caught.value.oauth_error == "invalid_request"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"grant_type", FORM),
        (b"a=%FF", FORM),
        (b"a=\xff", FORM),
        (b"a=" + b"x" * 70_000, FORM),
        ("&".join(f"a{i}=1" for i in range(40)).encode(), FORM),
        (b"{}", "application/json"),
        (b"a=b", ""),
    ],
)
async def test_what_is_no_form_is_refused(
    identity: Identity, body: bytes, content_type: str
) -> None:
    with pytest.raises(TokenRefusedError, match="form") as caught:
        await identity.exchange.exchange(body, content_type)
    assert caught.value.oauth_error == "invalid_request"


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(max_size=300) | st.dictionaries(st.sampled_from(sorted(_form(""))), st.text())
)
async def test_no_body_does_worse_than_a_refusal(identity: Identity, body: Any) -> None:
    encoded = body if isinstance(body, bytes) else urlencode(body, errors="replace").encode()
    with pytest.raises(TokenRefusedError):
        await identity.exchange.exchange(encoded, FORM)


async def test_a_bad_token_is_refused_in_its_verifiers_words(
    identity: Identity, issuer: Any
) -> None:
    with pytest.raises(TokenRefusedError, match="the token has expired"):
        await _exchange(identity, issuer.token(exp=-100))
    with pytest.raises(TokenRefusedError, match="has no audience"):
        await _exchange(identity, issuer.token(aud=...))


async def test_a_built_in_agent_has_what_the_registry_says_not_what_its_token_says(
    identity: Identity,
) -> None:
    assert identity.builtin
    await identity.agents.create("bot", ["coding-agents"], {"purpose": "support"}, "operator")
    token = identity.builtin.mint("bot", "run-1")
    response = await _exchange(identity, token)
    principal = await identity.callers.principal(response.access_token)
    assert principal.agent == principal.subject == principal.service_account == "bot"
    assert principal.groups == ("coding-agents",)
    assert principal.attributes == {"purpose": "support"}
    await identity.agents.regroup("bot", ["other"])
    again = await identity.callers.principal((await _exchange(identity, token)).access_token)
    assert again.groups == ("other",)
    assert again.session == principal.session
    await identity.disablings.disable(Target("bot"), "operator", "cli")
    with pytest.raises(TokenRefusedError, match="`bot` is disabled"):
        await _exchange(identity, token)


@pytest.mark.parametrize("target", [Target("dana"), Target("", "https://issuer.test", "dana")])
async def test_who_was_disabled_still_lent_agents_a_name(
    settings: Callable[..., Settings], database: Database, issuer: Any, target: Target
) -> None:
    (trusted,) = settings().identity.issuers
    both = msgspec.structs.replace(trusted, actor_issuers=[trusted.issuer])
    identity = build(settings(issuers=[both]), database)
    lent = {
        "token": issuer.token(sub="dana", may_act={"sub": "agent-7"}),
        "actor_token": issuer.token(),
        "actor_token_type": JWT,
    }
    assert await _exchange(identity, **lent)
    await identity.disablings.disable(target, "operator", "cli")
    with pytest.raises(TokenRefusedError, match="`dana` is disabled") as caught:
        await _exchange(identity, **lent)
    assert caught.value.fault is TokenFault.AGENT
    assert await _exchange(identity, issuer.token())  # the agent itself may come
    await identity.close()


async def test_a_built_in_token_of_an_unknown_agent_is_refused(identity: Identity) -> None:
    assert identity.builtin
    with pytest.raises(TokenRefusedError, match="there is no agent `ghost`"):
        await _exchange(identity, identity.builtin.mint("ghost", "run-1"))


async def test_another_gateways_built_in_token_is_refused(
    identity: Identity, settings: Callable[..., Settings], database: Database, tmp_path: Any
) -> None:
    other = settings()
    moved = type(other)(folder=tmp_path / "other", upstream=other.upstream, identity=other.identity)
    elsewhere = build(moved, database)
    assert elsewhere.builtin
    await identity.agents.create("bot", [], {}, "operator")
    with pytest.raises(TokenRefusedError, match="another key"):
        await _exchange(identity, elsewhere.builtin.mint("bot", "run-1"))


async def test_a_gateway_token_is_no_subject_token(identity: Identity, issuer: Any) -> None:
    response = await _exchange(identity, issuer.token())
    with pytest.raises(TokenRefusedError, match="not a signed JWT"):
        await _exchange(identity, response.access_token)


async def test_nothing_is_issued_while_the_store_is_away(
    identity: Identity, issuer: Any, database: Database
) -> None:
    await database.close()
    with pytest.raises(StoreUnavailableError, match="control store"):
        await _exchange(identity, issuer.token())


async def test_googles_own_credentials_exchange_unchanged(
    identity: Identity, tmp_path: Path
) -> None:
    assert identity.builtin
    await identity.agents.create("bot", ["g"], {}, "operator")

    async def token(request: web.Request) -> web.Response:
        try:
            answer = await identity.exchange.exchange(
                await request.read(), request.headers["Content-Type"]
            )
        except TokenRefusedError as error:
            body = {"error": error.oauth_error, "error_description": str(error)}
            return web.json_response(body, status=400)
        return web.Response(body=msgspec.json.encode(answer))

    app = web.Application()
    app.router.add_post("/v1/token", token)
    async with TestServer(app) as server:
        url = str(server.make_url("")).rstrip("/")
        connection = Connection(tmp_path / "agent", url, AUDIENCE)
        connection.write(identity.builtin.mint("bot", "run-1"))
        credentials = identity_pool.Credentials.from_file(
            connection.environment("")["GOOGLE_APPLICATION_CREDENTIALS"],
            scopes=["https://www.googleapis.com/auth/bigquery"],
        )
        await asyncio.to_thread(credentials.refresh, Request())
        principal = await identity.callers.principal(credentials.token)
        assert (principal.agent, principal.groups) == ("bot", ("g",))
        assert credentials.valid
        await identity.disablings.disable(Target("bot"), "operator", "cli")
        with pytest.raises(OAuthError, match="the agent `bot` is disabled"):
            await asyncio.to_thread(credentials.refresh, Request())


async def test_whoever_holds_a_gateway_token_ends_it(identity: Identity, issuer: Any) -> None:
    response = await _exchange(identity, issuer.token())
    form = {"token": response.access_token, "token_type_hint": "access_token"}
    for _ in range(2):
        await identity.exchange.revoke(urlencode(form).encode(), FORM)
    with pytest.raises(UnauthenticatedError, match="was revoked"):
        await identity.callers.principal(response.access_token)
    with pytest.raises(TokenRefusedError, match="`token` is missing"):
        await identity.exchange.revoke(b"token_type_hint=access_token", FORM)


async def test_a_token_is_exchanged_only_so_often_on_all_replicas_together(
    settings: Callable[..., Settings], database: Database, issuer: Any
) -> None:
    (trusted,) = settings().identity.issuers
    once = settings(issuers=[msgspec.structs.replace(trusted, exchanges_per_token=2)])
    replicas = [build(once, database) for _ in range(2)]
    token = issuer.token(jti="t-1")
    for replica in replicas:
        assert await _exchange(replica, token)
    head, _, signature = token.rpartition(".")
    # The same token with another of its signatures (ECDSA has two of each).
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    raw = base64.urlsafe_b64decode(signature + "==")
    turned = raw[:32] + (order - int.from_bytes(raw[32:])).to_bytes(32)
    again = f"{head}.{base64.urlsafe_b64encode(turned).rstrip(b'=').decode()}"
    for replica, each in zip(replicas, (token, again), strict=True):
        with pytest.raises(TokenRefusedError, match="exchanged 2 times") as caught:
            await _exchange(replica, each)
        assert caught.value.fault is TokenFault.REPLAY
    assert await _exchange(replicas[0], issuer.token(jti="t-2"))


async def test_a_default_gateway_lets_a_file_be_exchanged_by_many_processes(
    identity: Identity, issuer: Any
) -> None:
    token = issuer.token()
    assert all([await _exchange(identity, token) for _ in range(20)])


async def test_failures_and_agents_have_their_limits(
    settings: Callable[..., Settings], database: Database, issuer: Any
) -> None:
    limits = ExchangeLimits(failed_per_address=2, per_agent=2)
    identity = build(settings(limits=limits), database)
    near, far = Sender(address="192.0.2.1"), Sender(address="192.0.2.2")

    async def ask(sender: Sender, token: str) -> None:
        await identity.exchange.exchange(urlencode(_form(token)).encode(), FORM, sender)

    good = issuer.token()
    for _ in range(2):
        await ask(near, good)
    for _ in range(4):
        # What is too much of one agent is no failure of its address, which others share.
        with pytest.raises(TokenRefusedError, match="exchanges of this agent"):
            await ask(near, good)
    await ask(near, issuer.token(sub="agent-8"))
    for _ in range(2):
        with pytest.raises(TokenRefusedError, match="not a signed JWT"):
            await ask(near, "x")
    with pytest.raises(TokenRefusedError, match="too many refused tokens") as caught:
        await ask(near, issuer.token(sub="agent-9"))
    assert caught.value.fault is TokenFault.RATE
    await ask(far, issuer.token(sub="agent-9"))
