"""Fair shares of the SQL engine: no agent's queries keep the others' waiting for long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from keystile.model.errors import EngineFailedError, OverloadedError

_LONGEST_SECONDS = 60


class _Share:
    def __init__(self, at_once: int) -> None:
        self.turns = asyncio.Semaphore(at_once)
        self.users = 0


class Shares:
    """Lets each agent have so many analyses at once, and so many more wait."""

    def __init__(self, at_once: int, waiting: int) -> None:
        """Give every agent the same share."""
        self._at_once = at_once
        self._most = at_once + waiting
        self._shares: dict[str, _Share] = {}

    @asynccontextmanager
    async def turn(self, owner: str) -> AsyncIterator[None]:
        """Wait for one of the owner's turns, which ends after a minute.

        Raises `OverloadedError` where too many wait, and `EngineFailedError` at the turn's end.
        """
        share = self._shares.setdefault(owner, _Share(self._at_once))
        if share.users >= self._most:
            raise OverloadedError(
                f"{self._most} of your queries are being analysed or wait for it already",
                hint="try again in a moment, with fewer at once",
            )
        share.users += 1
        try:
            async with share.turns, _bounded():
                yield
        finally:
            share.users -= 1
            if not share.users:
                del self._shares[owner]


@asynccontextmanager
async def _bounded() -> AsyncIterator[None]:
    """Bound the time that all of a query takes: the engine's deadline is that of each of its parts.

    Raises `EngineFailedError`.
    """
    try:
        async with asyncio.timeout(_LONGEST_SECONDS):
            yield
    except TimeoutError as error:
        raise EngineFailedError(
            f"analysing all of the query took longer than {_LONGEST_SECONDS} seconds",
            hint="run its statements in several pieces",
        ) from error
