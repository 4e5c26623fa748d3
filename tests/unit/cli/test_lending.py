from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from keystile.cli.connecting import Way
from keystile.cli.lending import Lending
from keystile.identity.device_flow import Tokens
from keystile.identity.login import Login, Logins

JWT = "urn:ietf:params:oauth:token-type:jwt"


class Gateway:
    """Keeps the forms that came, and answers with `answer`."""

    def __init__(self) -> None:
        self.url = ""
        self.forms: list[dict[str, str]] = []
        self.answer: tuple[int, Any] = (200, {"access_token": "ks_1", "expires_in": 600})

    async def exchange(self, request: web.Request) -> web.Response:
        self.forms.append({name: str(value) for name, value in (await request.post()).items()})
        return web.json_response(self.answer[1], status=self.answer[0])


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    made, app = Gateway(), web.Application()
    app.router.add_post("/v1/token", made.exchange)
    async with TestServer(app) as server:
        made.url = str(server.make_url("")).rstrip("/")
        yield made


@pytest.fixture
def logins(gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Logins:
    kept = Logins(tmp_path / "people")
    monkeypatch.setattr(Login, "is_fresh", lambda _login, now: now <= time.time())
    issuer = "https://login.example.com"
    values = (issuer, "laptop", f"{issuer}/token", "laptop", "", "access")
    kept.keep(Login(gateway.url, *values, Tokens("the-persons")))
    return kept


async def _ask(url: str, secret: str) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data={"subject_token": secret}) as answer,
    ):
        return answer.status, await answer.json()


async def _agents() -> str:
    return "the-agents"


async def test_the_gateway_gets_the_person_and_the_agent(gateway: Gateway, logins: Logins) -> None:
    lending = Lending(Way(gateway.url, "//keystile/agents"), logins, _agents)
    async with lending.serving() as url:
        assert url.startswith("http://127.0.0.1:")
        assert await _ask(url, lending.secret) == (200, gateway.answer[1])
    assert gateway.forms == [
        {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "audience": "//keystile/agents",
            "subject_token": "the-persons",
            "subject_token_type": JWT,
            "actor_token": "the-agents",
            "actor_token_type": JWT,
        }
    ]


async def test_without_a_token_of_the_agents_own_the_persons_goes_alone(
    gateway: Gateway, logins: Logins
) -> None:
    lending = Lending(Way(gateway.url, "//keystile/agents"), logins, None)
    async with lending.serving() as url:
        await _ask(url, lending.secret)
    assert "actor_token" not in gateway.forms[0]


@pytest.mark.parametrize("secret", ["", "guessed", "é", "the-persons"])
async def test_another_program_on_the_machine_gets_nothing(
    gateway: Gateway, logins: Logins, secret: str
) -> None:
    lending = Lending(Way(gateway.url, "//keystile/agents"), logins, _agents)
    async with lending.serving() as url:
        status, body = await _ask(url, secret)
    assert (status, body["error"]) == (400, "invalid_request")
    assert gateway.forms == []


async def test_what_the_gateway_refuses_is_told_as_it_says_it(
    gateway: Gateway, logins: Logins
) -> None:
    said = {"error": "invalid_grant", "error_description": "`may_act` does not name the actor"}
    gateway.answer = (400, said)
    lending = Lending(Way(gateway.url, "//keystile/agents"), logins, _agents)
    async with lending.serving() as url:
        assert await _ask(url, lending.secret) == (400, said)


async def test_an_outage_or_an_ended_sign_in_is_no_5xx(gateway: Gateway, logins: Logins) -> None:
    lending = Lending(Way(gateway.url, "//keystile/agents"), logins, _agents)
    async with lending.serving() as url:
        await logins.forget(gateway.url)
        status, body = await _ask(url, lending.secret)
        assert status == 400
        assert "sign in again with `keystile login`" in body["error_description"]
    away = Lending(Way("http://127.0.0.1:1", "//keystile/agents"), logins, _agents)
    logins.keep(
        Login("http://127.0.0.1:1", "i", "c", "t", "a", "", "access", Tokens("the-persons"))
    )
    async with away.serving() as url:
        status, body = await _ask(url, away.secret)
        assert status == 400
        assert "cannot be reached" in body["error_description"]
