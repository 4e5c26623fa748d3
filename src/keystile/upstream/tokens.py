"""Access tokens, fetched anew ahead of their end.

INVARIANT: no token appears in a repr, a log or an error.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import msgspec

from keystile.model.errors import KeystileError
from keystile.telemetry.logs import logger

AHEAD_SECONDS = 300
"""How long before its end a token is replaced."""

_PAUSE_SECONDS = 10.0

_log = logger("upstream")


class Token(msgspec.Struct, frozen=True):
    """A bearer token for BigQuery, of `account`; `expires` is in UTC seconds since the epoch."""

    text: str
    account: str
    expires: float

    def __repr__(self) -> str:
        """Name the account, never the token."""
        return f"Token(account={self.account!r}, expires={self.expires})"


class FreshToken:
    """Keeps one token. Whoever asks waits only where there is none that still holds.

    INVARIANT: an outage of whoever gives tokens takes nothing away before the end of the last one.
    """

    def __init__(self, fetch: Callable[[], Awaitable[Token]], **named: str) -> None:
        """`fetch` gives a new token; what it is for is `named` in the log."""
        self._fetch = fetch
        self._named = named
        self._fetching: asyncio.Task[Token] | None = None
        self._again_at = 0.0
        self.last: Token | None = None

    async def get(self) -> Token:
        """Give a token that holds. Raises what `fetch` does where there is none."""
        last, now = self.last, time.time()
        if last is None or now >= last.expires:
            # Shielded, for others wait for it as well.
            return await asyncio.shield(self._begun())
        if now >= max(last.expires - AHEAD_SECONDS, self._again_at):
            self._begun()
        return last

    def forget(self) -> None:
        """Drop a token that Google does not take."""
        self.last = None

    def _begun(self) -> asyncio.Task[Token]:
        if self._fetching is None:
            self._again_at = time.time() + _PAUSE_SECONDS
            self._fetching = asyncio.get_running_loop().create_task(self._fetched())
            self._fetching.add_done_callback(self._ended)
        return self._fetching

    async def _fetched(self) -> Token:
        self.last = await self._fetch()
        return self.last

    def _ended(self, task: asyncio.Task[Token]) -> None:
        self._fetching = None
        if task.cancelled() or not (fault := task.exception()):
            return
        left = max(0, round(self.last.expires - time.time())) if self.last else 0
        reason = str(fault) if isinstance(fault, KeystileError) else type(fault).__name__
        _log.warning("credential_not_refreshed", reason=reason, seconds_left=left, **self._named)
