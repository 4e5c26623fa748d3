from __future__ import annotations

import time

import msgspec
import pytest
from sqlalchemy import select

from keystile.identity import gateway_tokens as module
from keystile.identity import recent
from keystile.identity.agents import Agents
from keystile.identity.disabling import Disablings, Target
from keystile.identity.gateway_tokens import GatewayTokens
from keystile.model.errors import RefusedError, UnauthenticatedError
from keystile.model.principal import Principal
from keystile.store import tables
from keystile.store.database import Database

ANA = Principal("https://issuer.test", "a", "agent-a", "s1", groups=("g",), attributes={"x": "y"})
BOT = Principal("http://gw/issuer", "bot", "bot", "s2", groups=("old",))


@pytest.fixture
def agents(database: Database) -> Agents:
    return Agents(database)


@pytest.fixture
def tokens(database: Database, agents: Agents) -> GatewayTokens:
    return GatewayTokens(database, agents, "http://gw/issuer", 600)


async def _whose(tokens: GatewayTokens, token: str) -> Principal:
    return (await tokens.find(token)).principal


async def test_a_token_gives_its_principal_back(tokens: GatewayTokens, database: Database) -> None:
    token, lifetime = await tokens.issue(ANA)
    assert lifetime == 600
    assert token.startswith("ks_")
    assert len(token) == 3 + 43
    assert await _whose(tokens, token) == ANA == await _whose(tokens, token)
    async with database.read() as connection:
        rows = (await connection.execute(select(tables.tokens))).all()
    assert len(rows) == 1
    assert token[3:] not in str(rows)


async def test_no_two_tokens_are_alike(tokens: GatewayTokens) -> None:
    issued = {(await tokens.issue(ANA))[0] for _ in range(5)}
    assert len(issued) == 5


@pytest.mark.parametrize("token", ["", "ks_", "ks_unknown", "x" * 10_000, "\udc80", "é"])
async def test_an_unknown_token_is_refused(tokens: GatewayTokens, token: str) -> None:
    with pytest.raises(UnauthenticatedError, match="unknown, has expired or was revoked") as caught:
        await _whose(tokens, token)
    assert "exchange the agent's OIDC token again" in caught.value.hint


async def test_the_stores_digest_is_no_token(tokens: GatewayTokens, database: Database) -> None:
    await tokens.issue(ANA)
    async with database.read() as connection:
        digest = (await connection.execute(select(tables.tokens.c.digest))).scalar_one()
    with pytest.raises(UnauthenticatedError):
        await _whose(tokens, digest)


async def test_an_expired_token_is_refused_even_from_the_cache_and_then_removed(
    tokens: GatewayTokens, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, _ = await tokens.issue(ANA)
    await _whose(tokens, token)
    later = time.time() + 601
    monkeypatch.setattr(module.time, "time", lambda: later)
    with pytest.raises(UnauthenticatedError):
        await _whose(tokens, token)
    await tokens.issue(ANA)
    async with database.read() as connection:
        assert len((await connection.execute(select(tables.tokens))).all()) == 1


async def test_the_registry_counts_within_seconds(
    tokens: GatewayTokens, database: Database, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    await agents.create("bot", ["new"], {"a": "b"}, "operator")
    token, _ = await tokens.issue(BOT)
    principal = await _whose(tokens, token)
    assert (principal.groups, principal.attributes, principal.session) == (
        ("new",),
        {"a": "b"},
        "s2",
    )
    await Disablings(database).disable(Target("bot"), "operator", "cli")
    now = time.monotonic() + 5
    monkeypatch.setattr(recent.time, "monotonic", lambda: now)
    with pytest.raises(RefusedError, match="`bot` is disabled"):
        await _whose(tokens, token)


async def test_an_agent_that_is_gone_is_not_known(tokens: GatewayTokens) -> None:
    token, _ = await tokens.issue(BOT)
    with pytest.raises(UnauthenticatedError, match="no agent `bot`"):
        await _whose(tokens, token)


async def test_tokens_survive_a_restart_and_hold_on_every_replica(
    tokens: GatewayTokens, database: Database, agents: Agents
) -> None:
    token, _ = await tokens.issue(ANA)
    other = GatewayTokens(database, agents, "http://gw/issuer", 600)
    assert await _whose(other, token) == ANA


async def test_a_disabled_agent_is_out_on_every_replica_within_five_seconds(
    tokens: GatewayTokens,
    database: Database,
    agents: Agents,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await agents.create("bot", [], {}, "operator")
    token, _ = await tokens.issue(BOT)
    replicas = [tokens, GatewayTokens(database, Agents(database), "http://gw/issuer", 600)]
    for replica in replicas:
        assert (await _whose(replica, token)).agent == "bot"
    await Disablings(database).disable(Target("bot"), "operator", "cli")
    now = time.monotonic() + 4.9
    monkeypatch.setattr(recent.time, "monotonic", lambda: now)
    for replica in replicas:
        with pytest.raises(RefusedError, match="`bot` is disabled"):
            await _whose(replica, token)


async def test_the_tokens_of_an_agent_are_counted_until_they_end(
    tokens: GatewayTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    await tokens.issue(ANA)
    await tokens.issue(msgspec.structs.replace(ANA, on_behalf_of="a-person"))
    await tokens.issue(msgspec.structs.replace(ANA, subject="b"))
    assert await tokens.count(ANA.issuer, ANA.subject) == 2
    later = time.time() + 601
    monkeypatch.setattr(module.time, "time", lambda: later)
    assert await tokens.count(ANA.issuer, ANA.subject) == 0


async def test_the_cache_is_bounded(tokens: GatewayTokens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "_KEPT", 2)
    for _ in range(4):
        token, _ = await tokens.issue(ANA)
        await _whose(tokens, token)
    assert len(tokens._seen._values) == 2


async def _is_refused_after_five_seconds(
    replicas: list[GatewayTokens], token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic() + 4.9
    monkeypatch.setattr(recent.time, "monotonic", lambda: now)
    for replica in replicas:
        with pytest.raises(UnauthenticatedError, match="was revoked"):
            await _whose(replica, token)


async def test_a_revoked_token_is_refused_at_once_here_and_soon_on_every_replica(
    tokens: GatewayTokens, database: Database, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, kept = (await tokens.issue(ANA))[0], (await tokens.issue(ANA))[0]
    other = GatewayTokens(database, agents, "http://gw/issuer", 600)
    for replica in (tokens, other):
        assert await _whose(replica, token) == ANA
    await tokens.revoke(token)
    with pytest.raises(UnauthenticatedError, match="was revoked"):
        await _whose(tokens, token)
    await _is_refused_after_five_seconds([tokens, other], token, monkeypatch)
    assert await _whose(tokens, kept) == ANA
    await tokens.revoke("ks_unknown")


async def test_all_tokens_of_one_agent_end_and_nobody_elses(
    tokens: GatewayTokens, database: Database, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    like = [
        Principal(issuer, subject, "agent-a", "s1")
        for issuer, subject in (("https://issuer.test", "a"), ("https://other.test", "a"))
    ]
    mine, theirs = [(await tokens.issue(who))[0] for who in like]
    again, _ = await tokens.issue(like[0])
    other = GatewayTokens(database, agents, "http://gw/issuer", 600)
    for token in (mine, theirs, again):
        await _whose(tokens, token)
        await _whose(other, token)
    assert await tokens.revoke_all("https://issuer.test", "a") == 2
    for token in (mine, again):
        with pytest.raises(UnauthenticatedError):
            await _whose(tokens, token)
    await _is_refused_after_five_seconds([tokens, other], mine, monkeypatch)
    assert await _whose(other, theirs) == like[1]
    assert await tokens.revoke_all("https://issuer.test", "a") == 0
