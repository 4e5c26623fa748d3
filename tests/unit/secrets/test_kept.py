from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from keystile.model.errors import UnsafeConfigurationError
from keystile.secrets.kept import Fetched, KeptSecret, OutageError


class Server:
    """Gives what a test puts into it, one after the other."""

    def __init__(self, *answers: bytes | Exception) -> None:
        self.answers = [*answers]
        self.asked = 0
        self.open = asyncio.Event()
        self.open.set()

    async def fetch(self) -> Fetched:
        self.asked += 1
        await self.open.wait()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Fetched(answer, str(self.asked))


async def test_readers_at_once_ask_once() -> None:
    server = Server(b"secret")
    kept = KeptSecret("place", server.fetch)
    assert await asyncio.gather(*(kept.read() for _ in range(9))) == [b"secret"] * 9
    assert server.asked == 1


async def test_a_server_that_hangs_holds_one_reader_up(later: Callable[[float], None]) -> None:
    server = Server(b"old", b"new")
    kept = KeptSecret("place", server.fetch)
    assert await kept.read() == b"old"
    later(31)
    server.open.clear()
    waiting = asyncio.ensure_future(kept.read())
    await asyncio.sleep(0)
    assert await asyncio.wait_for(kept.read(), 1) == b"old"
    server.open.set()
    assert await waiting == b"new"


async def test_a_no_is_repeated_without_asking_for_some_seconds(
    later: Callable[[float], None],
) -> None:
    server = Server(UnsafeConfigurationError("no", hint="ask"), b"secret")
    kept = KeptSecret("place", server.fetch)
    for _ in range(3):
        with pytest.raises(UnsafeConfigurationError, match="no; ask"):
            await kept.read()
    assert server.asked == 1
    later(6)
    assert await kept.read() == b"secret"


async def test_a_no_after_an_outage_takes_the_secret_away(later: Callable[[float], None]) -> None:
    server = Server(b"secret", OutageError("out"), UnsafeConfigurationError("taken back"))
    kept = KeptSecret("place", server.fetch)
    assert await kept.read() == b"secret"
    later(31)
    assert await kept.read() == b"secret"
    later(6)
    with pytest.raises(UnsafeConfigurationError, match="taken back"):
        await kept.read()


@pytest.mark.parametrize("content", [b"", b"x" * 70_000])
async def test_an_empty_or_huge_secret_is_none(content: bytes) -> None:
    with pytest.raises(UnsafeConfigurationError, match="`place` is empty or larger"):
        await KeptSecret("place", Server(content).fetch).read()


def test_nothing_that_holds_a_secret_shows_it() -> None:
    fetched = Fetched(b"planted", "1")
    kept = KeptSecret("place", Server(b"planted").fetch)
    kept._last = fetched
    assert "planted" not in f"{fetched} {fetched!r} {kept} {kept!r}"
