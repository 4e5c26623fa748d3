from __future__ import annotations

import asyncio
import base64
import json
import stat
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from keystile.identity import login as module
from keystile.identity.device_flow import OAuthError, Tokens
from keystile.identity.login import Login, Logins, token_for
from keystile.model.errors import NotFoundError, RefusedError

GATEWAY, AUDIENCE = "https://gw.example.com", "https://bigquery-gateway.example.com"


def jwt(**claims: Any) -> str:
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
        for part in ({"alg": "none"}, claims)
    ]
    return ".".join((*parts, "signature"))


def tokens(seconds: float = 600, **changes: Any) -> Tokens:
    end = time.time() + seconds
    values = {
        "access_token": jwt(sub="ana", aud=AUDIENCE, exp=end),
        "id_token": jwt(sub="ana", aud="laptop", exp=end, email="ana@example.com"),
        "refresh_token": "r1",
    }
    return Tokens(**(values | changes))


def signed_in(given: Tokens | None = None, **changes: Any) -> Login:
    values: dict[str, Any] = {
        "gateway": GATEWAY,
        "issuer": "https://login.example.com",
        "client_id": "laptop",
        "token_endpoint": "https://login.example.com/token",
        "audience": AUDIENCE,
        "resource": AUDIENCE,
        "token": "access",
        "tokens": given or tokens(),
    }
    return Login(**(values | changes))


@pytest.fixture
def logins(tmp_path: Path) -> Logins:
    return Logins(tmp_path / "people")


class Issued:
    """Stands for the issuer: what it gives next, and what it was given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.next: list[Any] = []
        self.used: list[str] = []

        async def refresh(_flow: Any, _url: str, refresh_token: str, _resource: str) -> Tokens:
            self.used.append(refresh_token)
            await asyncio.sleep(0.05)
            if isinstance(self.next[0], Exception):
                raise self.next[0]
            given: Tokens = self.next.pop(0)
            return given

        monkeypatch.setattr(module.DeviceFlow, "refresh", refresh)


@pytest.fixture
def issued(monkeypatch: pytest.MonkeyPatch) -> Issued:
    return Issued(monkeypatch)


@pytest.mark.parametrize(("audience", "kind"), [(AUDIENCE, "access"), ("laptop", "id")])
def test_the_token_that_is_for_the_gateway_is_the_one(audience: str, kind: str) -> None:
    assert token_for(tokens(), audience) == kind
    several = tokens(access_token=jwt(aud=["x", AUDIENCE]))
    assert token_for(several, audience) == kind


@pytest.mark.parametrize("access", ["opaque", "a.b.c", "", jwt(sub="x"), jwt(aud=[5])])
def test_a_token_for_somebody_else_is_not_kept(access: str) -> None:
    with pytest.raises(RefusedError, match=r"no token of the issuer is for .* only for .*`laptop`"):
        token_for(tokens(access_token=access), AUDIENCE)


async def test_a_sign_in_is_kept_for_its_owner_alone_until_it_is_forgotten(
    logins: Logins, tmp_path: Path
) -> None:
    assert logins.find(GATEWAY) is None
    logins.keep(signed_in())
    assert logins.find(GATEWAY) == signed_in(logins.find(GATEWAY).tokens)  # type: ignore[union-attr]
    assert logins.find("https://other.example.com") is None
    (file,) = (tmp_path / "people").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert await logins.forget(GATEWAY)
    assert not await logins.forget(GATEWAY)
    assert list((tmp_path / "people").glob("*.json")) == []


def test_a_damaged_file_is_no_sign_in(logins: Logins, tmp_path: Path) -> None:
    logins.keep(signed_in())
    (file,) = (tmp_path / "people").iterdir()
    file.write_text("{")
    assert logins.find(GATEWAY) is None


def test_it_says_who_it_is() -> None:
    assert signed_in(token="id").person == "ana@example.com"
    assert signed_in().person == "ana"


async def test_a_token_that_lives_is_not_replaced(logins: Logins, issued: Issued) -> None:
    logins.keep(signed_in())
    await logins.fresh(GATEWAY)
    assert issued.used == []


async def test_an_old_token_is_replaced_once_whoever_asks(
    logins: Logins, issued: Issued, tmp_path: Path
) -> None:
    """An issuer that rotates refresh tokens ends everything when one comes twice."""
    logins.keep(signed_in(tokens(30)))
    issued.next = [tokens(600, refresh_token="r2")]
    others = [Logins(tmp_path / "people") for _ in range(4)]
    found = await asyncio.gather(*(one.fresh(GATEWAY) for one in others))
    assert issued.used == ["r1"]
    assert {one.tokens.refresh_token for one in found} == {"r2"}
    kept = logins.find(GATEWAY)
    assert kept
    assert kept.tokens.refresh_token == "r2"


async def test_a_refresh_token_that_is_not_replaced_stays(logins: Logins, issued: Issued) -> None:
    logins.keep(signed_in(tokens(30)))
    issued.next = [tokens(600, refresh_token="")]
    assert (await logins.fresh(GATEWAY)).tokens.refresh_token == "r1"


async def test_fresh_tokens_for_somebody_else_are_not_taken(logins: Logins, issued: Issued) -> None:
    logins.keep(signed_in(tokens(30)))
    issued.next = [tokens(600, access_token=jwt(aud="https://other.example.com", exp=9e9))]
    with pytest.raises(RefusedError, match="no token of the issuer is for"):
        await logins.fresh(GATEWAY)


async def test_a_sign_in_that_has_ended_says_what_to_do(logins: Logins, issued: Issued) -> None:
    with pytest.raises(NotFoundError, match="sign in again with `keystile login`"):
        await logins.fresh(GATEWAY)
    logins.keep(signed_in(tokens(30)))
    issued.next = [OAuthError("invalid_grant", "")]
    with pytest.raises(RefusedError, match=r"ended.*sign in again with `keystile login`"):
        await logins.fresh(GATEWAY)
    logins.keep(signed_in(msgspec.structs.replace(tokens(30), refresh_token="")))
    with pytest.raises(RefusedError, match="the sign-in has ended"):
        await logins.fresh(GATEWAY)
