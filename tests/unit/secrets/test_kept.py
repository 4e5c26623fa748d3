from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.model.errors import UnsafeConfigurationError
from keystile.secrets import kept as module
from keystile.secrets.kept import (
    FRESH_SECONDS,
    OUTAGE_SECONDS,
    Fetched,
    KeptSecret,
    OutageError,
)

PROBLEMS = {"out": OutageError("out"), "no": UnsafeConfigurationError("taken back")}


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


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 4, 6, 29, 31, 3599, 3601]), st.sampled_from(["ok", "out", "no"])
    )
)


@given(STEPS)
def test_what_is_given_is_neither_old_nor_taken_back(steps: list[tuple[int, str]]) -> None:
    clock, answers, given_at = Clock(), Server(), dict[bytes, float]()
    kept = KeptSecret("place", answers.fetch)

    async def lived() -> None:
        taken_back: bytes | None = None
        for number, (passed, kind) in enumerate(steps):
            clock.now += passed
            value = str(number).encode()
            answers.answers = [value if kind == "ok" else PROBLEMS[kind]]
            asked = answers.asked
            try:
                got = await kept.read()
            except UnsafeConfigurationError:
                got = None
            told = answers.asked > asked
            if told and kind == "ok":
                given_at[value] = clock.now
                assert got == value
            if told and kind == "no":
                taken_back = max(given_at, default=b"", key=lambda one: given_at[one])
                assert got is None
            if got is not None:
                assert got != taken_back
                assert clock.now - given_at[got] < OUTAGE_SECONDS
                assert clock.now - given_at[got] < FRESH_SECONDS or kind == "out" or not told

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "time", clock)
        asyncio.run(lived())
