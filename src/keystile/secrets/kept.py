"""A secret that a server keeps: asked for again and again, and bridged while the server is out.

INVARIANT: what the server takes back is given out no more; only silence is bridged, and not for
ever.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import structlog

from keystile.model.errors import UnsafeConfigurationError

FRESH_SECONDS = 30.0
"""How old a secret may be before it is asked for again: how soon a rotated one counts."""

OUTAGE_SECONDS = 3600.0
"""How long the last secret serves while its server cannot be reached."""

_RETRY_SECONDS = 5.0
# A service-account key has some 2.4 KB; Secret Manager holds 64 KiB at most.
_MAX_BYTES = 64 << 10

_log = structlog.get_logger(room="secrets")


class OutageError(UnsafeConfigurationError):
    """The server that keeps a secret does not answer, or not now."""


class Fetched(NamedTuple):
    """A secret, and what its server calls the version of it."""

    value: bytes
    version: str

    def __repr__(self) -> str:
        """Name the version, never the secret."""
        return f"Fetched(version={self.version!r})"


class KeptSecret:
    """One secret of a server. `fetch` gets it, raising `OutageError` where it may be bridged."""

    def __init__(self, name: str, fetch: Callable[[], Awaitable[Fetched]]) -> None:
        """Nothing is asked for yet."""
        self.name = name
        self._fetch = fetch
        self._last: Fetched | None = None
        self._problem: UnsafeConfigurationError | None = None
        self._fetched = self._tried = float("-inf")
        self._lock = asyncio.Lock()

    def __repr__(self) -> str:
        """Name the place, never the secret."""
        return f"KeptSecret({self.name!r})"

    async def read(self) -> bytes:
        """Give the secret, which is at most half a minute old; in an outage at most an hour.

        Raises `UnsafeConfigurationError`.
        """
        now = time.monotonic()
        due = now - self._fetched >= FRESH_SECONDS and now - self._tried >= _RETRY_SECONDS
        # INVARIANT: who can have the last secret does not wait for a server that may hang.
        if due and not (self._lock.locked() and self._usable()):
            async with self._lock:
                if time.monotonic() - self._tried >= _RETRY_SECONDS:
                    await self._refresh()
        if self._last is not None and self._usable():
            return self._last.value
        raise self._refusal()

    def _usable(self) -> bool:
        return self._last is not None and time.monotonic() - self._fetched < OUTAGE_SECONDS

    def _refusal(self) -> UnsafeConfigurationError:
        problem = self._problem
        if problem is None:
            return OutageError(f"the secret `{self.name}` has not been read yet", hint="try again")
        if self._last is None:
            return type(problem)(problem.message, hint=problem.hint)
        minutes = round((time.monotonic() - self._fetched) / 60)
        return OutageError(
            f"the secret `{self.name}` was last read {minutes} minutes ago, which is too long:"
            f" {problem.message}",
            hint=problem.hint,
        )

    async def _fetched_whole(self) -> Fetched:
        fetched = await self._fetch()
        if not 0 < len(fetched.value) <= _MAX_BYTES:
            message = f"the secret `{self.name}` is empty or larger than {_MAX_BYTES} bytes"
            raise UnsafeConfigurationError(message)
        return fetched

    async def _refresh(self) -> None:
        self._tried = time.monotonic()
        try:
            fetched = await self._fetched_whole()
        except OutageError as error:
            self._problem = error
            left = round(self._fetched + OUTAGE_SECONDS - time.monotonic()) if self._usable() else 0
            _log.warning(
                "secret_not_read", secret_name=self.name, reason=str(error), seconds_left=left
            )
            return
        except UnsafeConfigurationError as error:
            self._problem, self._last = error, None
            _log.warning("secret_refused", secret_name=self.name, reason=str(error))
            return
        if self._last is None or fetched.version != self._last.version:
            _log.info("secret_version", secret_name=self.name, version=fetched.version)
        self._last, self._problem, self._fetched = fetched, None, time.monotonic()
