"""What a forger tries with tokens, each refused in its own words and counted by what was wrong.

`script/prove identity` tries the same at a gateway that runs.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import msgspec
import pytest
from joserfc import jwt
from prove.identity.attacks import ATTACKS
from prove.identity.forging import KEY_B, OURS, RSA_A, THEIRS, B, claims, issuers, signed

from keystile.api import token as endpoint
from keystile.config.identity import Issuer
from keystile.config.settings import Settings
from keystile.identity.wiring import Identity, build
from keystile.model.errors import TokenRefusedError, UnauthenticatedError
from keystile.store.database import Database
from keystile.telemetry.metrics import Metrics

FORM = "application/x-www-form-urlencoded"


@pytest.fixture
async def identity(
    settings: Callable[..., Settings], database: Database, tmp_path: Path
) -> AsyncIterator[Identity]:
    trusted = msgspec.convert(issuers(tmp_path), list[Issuer])
    made = build(settings(issuers=trusted), database)
    yield made
    await made.close()


async def _exchange(identity: Identity, token: str) -> str:
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "audience": OURS,
        "subject_token": token,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    }
    return (await identity.exchange.exchange(urlencode(form).encode(), FORM)).access_token


@pytest.fixture
def depth_of_a_server() -> Iterator[None]:
    """Let texts nest as deep as in a server: hypothesis allows more, and does not take it back."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    yield
    sys.setrecursionlimit(limit)


@pytest.mark.usefixtures("depth_of_a_server")
@pytest.mark.parametrize("attack", ATTACKS)
async def test_it_is_refused_in_its_own_words_and_counted(identity: Identity, attack: str) -> None:
    token, fault, message = ATTACKS[attack]
    with pytest.raises(TokenRefusedError) as caught:
        await _exchange(identity, token)
    assert message in caught.value.message
    metrics = Metrics()
    answer = endpoint.refusal(caught.value, metrics)
    assert answer.status == 400
    assert json.loads(answer.body)["error"] == "invalid_request"
    assert f'keystile_token_refusals_total{{fault="{fault}"}} 1.0' in metrics.text().decode()
    # INVARIANT: no part of a token is ever repeated, so that no log holds one.
    assert not any(part in str(caught.value) for part in token.split(".") if len(part) > 20)


@pytest.mark.usefixtures("depth_of_a_server")
@pytest.mark.parametrize("attack", ATTACKS)
async def test_it_is_refused_for_the_same_fault_where_no_exchange_is_asked_for(
    identity: Identity, attack: str
) -> None:
    token, fault, message = ATTACKS[attack]
    with pytest.raises(UnauthenticatedError) as caught:
        await identity.callers.principal(token)
    if "." in token:
        assert (caught.value.fault, message in caught.value.message) == (fault, True)


async def test_what_the_attacks_are_made_of_is_taken(identity: Identity) -> None:
    """Else all of them could be refused for a reason that is none of theirs."""
    assert await _exchange(identity, signed())
    assert await identity.callers.principal(signed())
    assert await _exchange(identity, signed(header={"typ": "at+jwt", "kid": ""}, aud=[OURS]))
    assert await _exchange(identity, signed(KEY_B, iss=B, aud=THEIRS))
    both = {"alg": "RS256", "kid": "r1"}
    assert await _exchange(identity, jwt.encode(both, claims(), RSA_A))


async def test_a_replayed_token_gives_nobody_else_and_ends_with_itself(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = signed(exp=int(time.time()) + 300)
    given = [await _exchange(identity, token) for _ in range(2)]
    who = [await identity.callers.principal(each) for each in given]
    assert who[0] == who[1]
    assert given[0] != given[1]
    later = time.time() + 400
    monkeypatch.setattr("keystile.identity.tokens.time.time", lambda: later)
    with pytest.raises(TokenRefusedError, match="has expired"):
        await _exchange(identity, token)
