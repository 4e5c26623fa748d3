from __future__ import annotations

import asyncio
import time

import pytest
from structlog.testing import capture_logs

from keystile.model.errors import RefusedError
from keystile.upstream.tokens import AHEAD_SECONDS, FreshToken, Token


class Giver:
    """Gives tokens `t1`, `t2`, …, which last `lasts` seconds; while `down`, none."""

    def __init__(self) -> None:
        self.given = 0
        self.lasts = 3600.0
        self.down = False
        self.hold = asyncio.Event()
        self.hold.set()

    async def fetch(self) -> Token:
        await self.hold.wait()
        if self.down:
            raise RefusedError("the giver cannot be reached")
        self.given += 1
        return Token(f"t{self.given}", "a@b", time.time() + self.lasts)


@pytest.fixture
def giver() -> Giver:
    return Giver()


@pytest.fixture
def fresh(giver: Giver) -> FreshToken:
    return FreshToken(giver.fetch, connection="default")


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_one_token_serves_all_who_ask_at_once(giver: Giver, fresh: FreshToken) -> None:
    tokens = await asyncio.gather(*(fresh.get() for _ in range(20)))
    assert {token.text for token in tokens} == {"t1"}
    assert giver.given == 1


async def test_a_token_is_replaced_ahead_of_its_end_and_nobody_waits(
    giver: Giver, fresh: FreshToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fresh.get()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600 - AHEAD_SECONDS + 1)
    giver.hold.clear()
    assert (await fresh.get()).text == "t1"
    giver.hold.set()
    await settle()
    assert (await fresh.get()).text == "t2"


async def test_an_outage_keeps_the_token_until_its_end_and_then_refuses(
    giver: Giver, fresh: FreshToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fresh.get()
    giver.down = True
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3500)
    with capture_logs() as logs:
        assert (await fresh.get()).text == "t1"
        await settle()
    assert logs[0]["event"] == "credential_not_refreshed"
    assert logs[0]["connection"] == "default"
    assert 99 <= logs[0]["seconds_left"] <= 100
    monkeypatch.setattr(time, "time", lambda: now + 3601)
    with pytest.raises(RefusedError, match="cannot be reached"):
        await fresh.get()
    giver.down = False
    assert (await fresh.get()).text == "t2"


async def test_an_outage_is_not_asked_about_again_and_again(
    giver: Giver, fresh: FreshToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fresh.get()
    giver.down = True
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3500)
    with capture_logs() as logs:
        for _ in range(10):
            await fresh.get()
            await settle()
    assert len(logs) == 1


async def test_a_forgotten_token_is_not_given_again(fresh: FreshToken) -> None:
    await fresh.get()
    fresh.forget()
    assert (await fresh.get()).text == "t2"


async def test_whoever_leaves_does_not_end_the_wait_of_others(
    giver: Giver, fresh: FreshToken
) -> None:
    giver.hold.clear()
    leaving = asyncio.ensure_future(fresh.get())
    staying = asyncio.ensure_future(fresh.get())
    await settle()
    leaving.cancel()
    giver.hold.set()
    assert (await staying).text == "t1"


def test_a_token_is_not_shown() -> None:
    token = Token("ya29.secret", "a@b", 1.0)
    assert "secret" not in f"{token!r} {token} {[token]}"
    assert "a@b" in repr(token)
