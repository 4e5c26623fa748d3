import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from keystile.console import live
from keystile.console.live import Live
from keystile.model.errors import OverloadedError, RefusedError, UnauthenticatedError


class People:
    """Knows one session until it ends."""

    def __init__(self) -> None:
        self.here = True

    async def signed_in(self, _: str) -> None:
        if not self.here:
            raise UnauthenticatedError("you are not signed in")


class FakeDesk:
    def __init__(self) -> None:
        self.people = People()

    async def visit(self, _: object) -> Any:
        return type("Visit", (), {"session": "secret"})()


async def next_of(stream: AsyncIterator[bytes]) -> bytes:
    async with asyncio.timeout(2):
        while (message := await anext(stream)).startswith(b":"):
            pass
        return message


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(live, "_HEARTBEAT_SECONDS", 0.05)


async def test_a_change_is_told_to_everybody_once_and_carries_no_content() -> None:
    value, looked = "protected", 0

    async def look() -> object:
        nonlocal looked
        looked += 1
        return value

    stream = Live(FakeDesk(), {"approvals": look})  # type: ignore[arg-type]
    async with stream.running():
        await asyncio.sleep(0.05)
        assert looked == 0  # Nobody listens.
        pages = [stream._messages("secret") for _ in range(2)]
        assert [await next_of(page) for page in pages] == [b"retry: 2000\n\n"] * 2
        waiting = [asyncio.ensure_future(next_of(page)) for page in pages]
        await asyncio.sleep(0.05)
        assert looked > 0
        value = "more protected"
        assert await asyncio.gather(*waiting) == [b"event: changed\ndata: approvals\n\n"] * 2
        for page in pages:
            await page.aclose()  # type: ignore[attr-defined]
        await asyncio.sleep(0.05)
        before = looked
        await asyncio.sleep(0.05)
        assert looked <= before + 1


async def test_a_store_that_is_away_does_not_end_the_watching() -> None:
    away, value = True, 1

    async def look() -> object:
        if away:
            raise RefusedError("the control store is unavailable")
        return value

    stream = Live(FakeDesk(), {"approvals": look})  # type: ignore[arg-type]
    async with stream.running():
        page = stream._messages("secret")
        await next_of(page)
        told = asyncio.ensure_future(next_of(page))
        await asyncio.sleep(0.05)
        away = False
        await asyncio.sleep(0.05)
        value = 2
        assert b"approvals" in await told
        await page.aclose()  # type: ignore[attr-defined]


async def test_the_stream_ends_with_the_session() -> None:
    desk = FakeDesk()
    stream = Live(desk, {})  # type: ignore[arg-type]
    page = stream._messages("secret")
    await next_of(page)
    desk.people.here = False
    with pytest.raises(StopAsyncIteration):
        await next_of(page)
    assert not stream._listeners


async def test_open_streams_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_MAX_LISTENERS", 1)
    stream = Live(FakeDesk(), {})  # type: ignore[arg-type]
    page = stream._messages("secret")
    await next_of(page)
    with pytest.raises(OverloadedError):
        await stream.stream(None)  # type: ignore[arg-type]
    await page.aclose()  # type: ignore[attr-defined]
