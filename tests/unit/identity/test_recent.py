from __future__ import annotations

import asyncio

from keystile.identity.recent import Recent


async def test_what_was_being_looked_up_as_it_was_revoked_was_remembered() -> None:
    recent: Recent[str] = Recent()
    read, revoked = asyncio.Event(), asyncio.Event()

    async def before() -> str:
        read.set()
        await revoked.wait()
        return "good"

    async def after() -> str:
        raise LookupError

    looking = asyncio.ensure_future(recent.get("token", before))
    await read.wait()
    recent.forget(lambda key, _: key == "token")
    revoked.set()
    assert await looking == "good"
    found = await asyncio.gather(recent.get("token", after), return_exceptions=True)
    assert isinstance(found[0], LookupError)


async def test_what_was_found_out_is_not_found_out_again_until_it_is_forgotten() -> None:
    recent: Recent[int] = Recent()
    asked: list[int] = []

    async def find() -> int:
        asked.append(1)
        return len(asked)

    assert [await recent.get("a", find) for _ in range(3)] == [1, 1, 1]
    recent.forget(lambda key, value: (key, value) == ("a", 1))
    assert await recent.get("a", find) == 2
