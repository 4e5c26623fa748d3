"""Tokens that are good only with a key, and agents' own tokens used without an exchange."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from prove.identity.forging import b64 as encoded
from prove.identity.holder import Holder
from sqlalchemy import select

from keystile.config.identity import ExchangeLimits
from keystile.config.listeners import Gateway
from keystile.config.settings import Settings
from keystile.identity import recent
from keystile.identity.wiring import Identity, build
from keystile.model.errors import (
    RefusedError,
    TokenFault,
    TokenRefusedError,
    UnauthenticatedError,
    UnsafeConfigurationError,
)
from keystile.model.sender import UNKNOWN, Sender
from keystile.store.database import Database
from keystile.store.tables import used_tokens

FORM = "application/x-www-form-urlencoded"
TOKEN_URL, URL = "http://gw.test/v1/token", "http://gw.test/bigquery/v2/projects/p/queries"
REVOKE_URL = "http://gw.test/v1/revoke"
CERTIFICATE = b"a certificate in DER"
THUMBPRINT = encoded(hashlib.sha256(CERTIFICATE).digest())
SHOWN = Sender(certificate=CERTIFICATE)
HOLDER, THIEF = Holder(), Holder()

Make = Callable[..., Any]


@pytest.fixture
def make(settings: Callable[..., Settings], database: Database) -> Make:
    @asynccontextmanager
    async def make(limits: Any = None, **trust: Any) -> AsyncIterator[Identity]:
        (trusted,) = settings().identity.issuers
        chosen = settings(
            issuers=[msgspec.structs.replace(trusted, **trust)], limits=limits or ExchangeLimits()
        )
        authorities = Gateway(client_ca_file="ca.pem", certificate_file="c", key_file="k")
        identity = build(msgspec.structs.replace(chosen, gateway=authorities), database)
        yield identity
        await identity.close()

    return make


async def _exchange(identity: Identity, token: str, sender: Sender = UNKNOWN) -> Any:
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "audience": "//keystile/agents",
        "subject_token": token,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    }
    return await identity.exchange.exchange(urlencode(form).encode(), FORM, sender)


async def _refused(asked: Any, fault: TokenFault | None = TokenFault.PROOF) -> str:
    with pytest.raises((TokenRefusedError, UnauthenticatedError)) as caught:
        await asked
    assert caught.value.fault is fault
    return str(caught.value)


async def test_a_token_asked_for_with_a_proof_is_good_only_with_its_key(
    make: Make, issuer: Any
) -> None:
    async with make() as identity, make() as replica:
        issued = await _exchange(identity, issuer.token(), HOLDER.sender("POST", TOKEN_URL))
        assert issued.token_type == "DPoP"
        token = issued.access_token
        for each in (identity, replica):
            good = HOLDER.sender("POST", URL, token)
            assert (await each.callers.principal(token, good)).subject == "agent-7"
        callers = identity.callers
        # Stolen: by itself, with the thief's own key, with what the thief has seen go by.
        stolen = msgspec.structs.replace(UNKNOWN, method="POST", url=URL)
        assert "came as a bearer's" in await _refused(callers.principal(token, stolen))
        bare = msgspec.structs.replace(stolen, is_dpop=True)
        assert "no DPoP proof shows" in await _refused(callers.principal(token, bare))
        own = THIEF.sender("POST", URL, token)
        assert "no DPoP proof shows" in await _refused(callers.principal(token, own))
        as_bearer = msgspec.structs.replace(HOLDER.sender("POST", URL, token), is_dpop=False)
        assert "came as a bearer's" in await _refused(callers.principal(token, as_bearer))
        seen = HOLDER.sender("POST", URL, token)
        await callers.principal(token, seen)
        for each in (identity, replica):
            said = await _refused(each.callers.principal(token, seen), TokenFault.REPLAY)
            assert "was used before" in said
        elsewhere = msgspec.structs.replace(HOLDER.sender("POST", f"{URL}/other", token), url=URL)
        assert "another request" in await _refused(callers.principal(token, elsewhere))
        for_another = msgspec.structs.replace(HOLDER.sender("POST", URL, "ks_x"), is_dpop=True)
        assert "another token" in await _refused(callers.principal(token, for_another))


async def test_a_free_token_is_no_dpop_token(make: Make, issuer: Any) -> None:
    async with make() as identity:
        issued = await _exchange(identity, issuer.token())
        assert issued.token_type == "Bearer"
        sender = HOLDER.sender("POST", URL, issued.access_token)
        asked = identity.callers.principal(issued.access_token, sender)
        assert "is not bound to its key" in await _refused(asked)


async def test_a_proof_is_taken_once_at_the_token_endpoint_too(make: Make, issuer: Any) -> None:
    async with make() as identity, make() as replica:
        sender = HOLDER.sender("POST", TOKEN_URL)
        await _exchange(identity, issuer.token(), sender)
        for each in (identity, replica):
            with pytest.raises(TokenRefusedError, match="was used before") as caught:
                await _exchange(each, issuer.token(), sender)
            assert caught.value.oauth_error == "invalid_dpop_proof"
        wrong = msgspec.structs.replace(HOLDER.sender("POST", URL), url=TOKEN_URL)
        assert "another request" in await _refused(_exchange(identity, issuer.token(), wrong))


@pytest.mark.parametrize(
    ("constraint", "sender", "said"),
    [
        ("dpop", UNKNOWN, "only with a DPoP proof"),
        ("dpop", SHOWN, "only with a DPoP proof"),
        ("mtls", UNKNOWN, "only with a client certificate"),
        ("mtls", "proof", "only with a client certificate"),
        ("either", UNKNOWN, "only with a DPoP proof or a client certificate"),
    ],
)
async def test_an_issuer_may_demand_a_key(
    make: Make, issuer: Any, constraint: str, sender: Any, said: str
) -> None:
    async with make(sender_constraint=constraint) as identity:
        by = HOLDER.sender("POST", TOKEN_URL) if sender == "proof" else sender
        assert said in await _refused(_exchange(identity, issuer.token(), by))


@pytest.mark.parametrize("constraint", ["mtls", "either"])
async def test_a_token_is_good_only_with_its_certificate(
    make: Make, issuer: Any, constraint: str
) -> None:
    async with make(sender_constraint=constraint) as identity:
        issued = await _exchange(identity, issuer.token(), SHOWN)
        assert issued.token_type == "Bearer"
        token = issued.access_token
        assert (await identity.callers.principal(token, SHOWN)).subject == "agent-7"
        for thief in (UNKNOWN, Sender(certificate=b"another")):
            said = await _refused(identity.callers.principal(token, thief))
            assert "which the sender has not shown" in said


async def test_a_certificate_that_nobody_asks_for_binds_nothing(make: Make, issuer: Any) -> None:
    async with make() as identity:
        issued = await _exchange(identity, issuer.token(), SHOWN)
        assert await identity.callers.principal(issued.access_token)


async def test_an_agents_own_token_that_is_bound_stays_bound(make: Make, issuer: Any) -> None:
    async with make() as identity:
        by_key = issuer.token(cnf={"jkt": HOLDER.thumbprint})
        assert "no DPoP proof shows" in await _refused(_exchange(identity, by_key))
        thief = THIEF.sender("POST", TOKEN_URL)
        assert "no DPoP proof shows" in await _refused(_exchange(identity, by_key, thief))
        issued = await _exchange(identity, by_key, HOLDER.sender("POST", TOKEN_URL))
        assert issued.token_type == "DPoP"
        by_certificate = issuer.token(cnf={"x5t#S256": THUMBPRINT})
        assert "has not shown" in await _refused(_exchange(identity, by_certificate))
        token = (await _exchange(identity, by_certificate, SHOWN)).access_token
        assert "has not shown" in await _refused(identity.callers.principal(token))
        assert await identity.callers.principal(token, SHOWN)


@pytest.mark.parametrize(
    "cnf",
    [{}, None, "x", [], {"jwk": {}}, {"kid": "k"}, {"jkt": ""}, {"jkt": 7},
     {"jkt": HOLDER.thumbprint, "jku": "https://mallory.test"}],
)  # fmt: skip
async def test_a_token_that_is_bound_in_another_way_is_refused(
    make: Make, issuer: Any, cnf: Any
) -> None:
    async with make() as identity:
        asked = _exchange(identity, issuer.token(cnf=cnf), HOLDER.sender("POST", TOKEN_URL))
        assert "not understood (`cnf`)" in await _refused(asked)


async def test_only_who_holds_the_key_ends_a_bound_token(make: Make, issuer: Any) -> None:
    async with make() as identity:
        issued = await _exchange(identity, issuer.token(), HOLDER.sender("POST", TOKEN_URL))
        token, form = issued.access_token, urlencode({"token": issued.access_token}).encode()
        for thief in (UNKNOWN, THIEF.sender("POST", REVOKE_URL)):
            await _refused(identity.exchange.revoke(form, FORM, thief))
        assert await identity.callers.principal(token, HOLDER.sender("POST", URL, token))
        await identity.exchange.revoke(form, FORM, HOLDER.sender("POST", REVOKE_URL))
        await _refused(identity.callers.principal(token, HOLDER.sender("POST", URL, token)), None)


def test_certificates_that_nobody_can_show_are_not_demanded(
    settings: Callable[..., Settings], database: Database
) -> None:
    (trusted,) = settings().identity.issuers
    unsafe = settings(issuers=[msgspec.structs.replace(trusted, sender_constraint="mtls")])
    with pytest.raises(UnsafeConfigurationError, match="nobody can show one"):
        build(unsafe, database)


async def test_an_agents_own_token_is_not_taken_unless_its_issuer_is_set_up_so(
    make: Make, issuer: Any
) -> None:
    async with make() as identity:
        said = await _refused(identity.callers.principal(issuer.token()), None)
        assert "is unknown" in said


async def test_one_issuers_setting_is_not_anothers(
    settings: Callable[..., Settings], database: Database, issuer: Any
) -> None:
    (trusted,) = settings().identity.issuers
    other = msgspec.structs.replace(trusted, issuer="https://other.test", direct_use=True)
    identity = build(settings(issuers=[trusted, other]), database)
    assert await identity.callers.principal(issuer.token(iss="https://other.test"))
    asked = identity.callers.principal(issuer.token())
    assert "are not taken here themselves" in await _refused(asked, TokenFault.ISSUER)


async def test_an_agents_own_token_is_verified_as_if_exchanged(make: Make, issuer: Any) -> None:
    async with make(direct_use=True, exchanges_per_token=1) as identity:
        principal = await identity.callers.principal(issuer.token(groups=["g"], sid="run-1"))
        exchanged = await _exchange(identity, issuer.token(groups=["g"], sid="run-1"))
        assert principal == await identity.callers.principal(exchanged.access_token)
        assert (await identity.agents.named("agent-7"))[0].last_seen
        for changes, fault in (
            ({"exp": -100}, TokenFault.TIME),
            ({"aud": "https://gateway-b.test"}, TokenFault.AUDIENCE),
            ({"iss": "https://mallory.test"}, TokenFault.ISSUER),
            ({"act": {"sub": "x"}}, TokenFault.DELEGATION),
            ({"may_act": {"sub": "x"}}, TokenFault.DELEGATION),
            ({"cnf": {}}, TokenFault.PROOF),
            ({"cnf": {"x5t#S256": "x"}}, TokenFault.PROOF),
        ):
            await _refused(identity.callers.principal(issuer.token(**changes)), fault)
        head, payload, _ = issuer.token().split(".")
        forged = f"{head}.{payload}.{encoded(bytes(64))}"
        await _refused(identity.callers.principal(forged), TokenFault.SIGNATURE)


async def test_it_stops_within_seconds_of_its_end_or_of_its_agents(
    make: Make, issuer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make(direct_use=True) as identity:
        token = issuer.token(exp=20)
        assert await identity.callers.principal(token)
        later, soon = time.time() + 60, time.monotonic() + 3.1
        monkeypatch.setattr("keystile.identity.tokens.time.time", lambda: later)
        monkeypatch.setattr(recent.time, "monotonic", lambda: soon)
        await _refused(identity.callers.principal(token), TokenFault.TIME)


async def test_a_direct_token_of_a_disabled_built_in_agent_is_refused(
    settings: Callable[..., Settings], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from keystile.config.identity import BuiltinIssuer  # noqa: PLC0415 - beside its only use
    from keystile.identity.disabling import Target  # noqa: PLC0415 - the same

    identity = build(settings(builtin_issuer=BuiltinIssuer(direct_use=True)), database)
    await identity.agents.create("bot", ["g"], {}, "operator")
    assert identity.builtin
    token = identity.builtin.mint("bot", "run-1")
    assert (await identity.callers.principal(token)).groups == ("g",)
    await identity.disablings.disable(Target("", "", "bot"), "operator", "cli")
    soon = time.monotonic() + 3.1
    monkeypatch.setattr(recent.time, "monotonic", lambda: soon)
    with pytest.raises(RefusedError, match="`bot` is disabled"):
        await identity.callers.principal(token)


async def test_who_was_disabled_still_lent_agents_a_name_in_tokens_used_directly(
    make: Make, issuer: Any
) -> None:
    from keystile.identity.disabling import Target  # noqa: PLC0415 - beside its only use

    actor = {"google.subject": "assertion.act.sub"}
    async with make(direct_use=True, actor_mapping=actor) as identity:
        lent = [issuer.token(sub="dana", act={"sub": "bot"}, jti=word) for word in "ab"]
        assert (await identity.callers.principal(lent[0])).on_behalf_of == "dana"
        await identity.disablings.disable(Target("dana"), "operator", "cli")
        with pytest.raises(RefusedError, match="`dana` is disabled"):
            await identity.callers.principal(lent[1])


@pytest.mark.parametrize("constraint", ["dpop", "mtls", "either"])
async def test_a_key_that_is_demanded_is_demanded_of_direct_tokens_too(
    make: Make, issuer: Any, constraint: str
) -> None:
    async with make(direct_use=True, sender_constraint=constraint) as identity:
        # A proof of whoever holds a token that is bound to no key proves nothing.
        free = issuer.token()
        by = msgspec.structs.replace(HOLDER.sender("POST", URL, free), certificate=CERTIFICATE)
        assert "are taken only with" in await _refused(identity.callers.principal(free, by))
        if constraint != "mtls":
            bound = issuer.token(cnf={"jkt": HOLDER.thumbprint})
            assert await identity.callers.principal(bound, HOLDER.sender("POST", URL, bound))
            thief = THIEF.sender("POST", URL, bound)
            await _refused(identity.callers.principal(bound, thief))


async def test_where_a_request_came_from_is_that_of_each_request(make: Make, issuer: Any) -> None:
    async with make(direct_use=True) as identity:
        own = issuer.token()
        issued = (await _exchange(identity, own, Sender(address="192.0.2.9"))).access_token
        for token in (issued, own):
            for sender in (Sender("192.0.2.1", client="bq"), Sender("192.0.2.2"), UNKNOWN):
                principal = await identity.callers.principal(token, sender)
                assert (principal.address, principal.client) == (sender.address, sender.client)


async def test_who_sends_bad_tokens_is_not_looked_at_for_a_while(make: Make, issuer: Any) -> None:
    near, far = Sender(address="192.0.2.1"), Sender(address="192.0.2.2")
    async with make(ExchangeLimits(failed_per_address=2), direct_use=True) as identity:
        for number in range(2):
            bad = issuer.token(exp=-100 - number)
            await _refused(identity.callers.principal(bad, near), TokenFault.TIME)
        await _refused(identity.callers.principal(issuer.token(), near), TokenFault.RATE)
        assert await identity.callers.principal(issuer.token(), far)


async def test_a_thiefs_proofs_leave_nothing_in_the_store(
    make: Make, issuer: Any, database: Database
) -> None:
    async def kept() -> int:
        async with database.read() as connection:
            return len((await connection.execute(select(used_tokens))).all())

    async with make() as identity:
        issued = await _exchange(identity, issuer.token(), HOLDER.sender("POST", TOKEN_URL))
        token, before = issued.access_token, await kept()
        for _ in range(3):
            await _refused(identity.callers.principal(token, THIEF.sender("POST", URL, token)))
            form = urlencode({"token": token}).encode()
            await _refused(identity.exchange.revoke(form, FORM, THIEF.sender("POST", REVOKE_URL)))
        assert await kept() == before
        await identity.callers.principal(token, HOLDER.sender("POST", URL, token))
        assert await kept() == before + 1
