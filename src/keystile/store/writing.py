"""The connection that writes: it holds SQLite's one write lock as short as it can.

A thread for each statement, as SQLite is used under asyncio elsewhere, would hold the lock through
several turns of the event loop and of the scheduler: seconds on a busy machine, for which all other
processes wait. So only what waits for the disk has a thread here.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiosqlite

BEGIN = "BEGIN IMMEDIATE"
"""How a transaction begins that writes: with the lock, so that nothing it reads is outdated."""

# How soon the lock is tried again that another process has. SQLite itself would try ten times a
# second, and so lose it again and again to whoever comes by at the right moment.
_PAUSE_SECONDS = 0.005
_PRIMARY = 0xFF  # of an error's code, https://www.sqlite.org/rescode.html#pve


class WritingConnection(aiosqlite.Connection):
    """A connection for one task at a time, whose statements run on the caller's thread.

    INVARIANT: nothing is waited for between the statements of a transaction but what its owner
    waits for.
    """

    def __init__(self, file: Path, wait_seconds: float) -> None:
        """Take the database's file, and for how long `BEGIN` waits for other processes."""

        def connected() -> sqlite3.Connection:
            return sqlite3.connect(file, timeout=0, check_same_thread=False)

        super().__init__(connected, iter_chunk_size=64)
        self._thread.daemon = True
        self._wait_seconds = wait_seconds

    async def _execute(self, fn: Callable[..., Any], *args: Any, **named: Any) -> Any:
        if fn in {self._conn.commit, self._conn.rollback, self._conn.close}:
            return await super()._execute(fn, *args, **named)  # type: ignore[no-untyped-call]
        if args[:1] == (BEGIN,):
            return await self._begin(fn, *args, **named)
        return fn(*args, **named)

    async def _begin(self, fn: Callable[..., Any], *args: Any, **named: Any) -> Any:
        deadline = time.monotonic() + self._wait_seconds
        while True:
            try:
                return fn(*args, **named)
            except sqlite3.OperationalError as error:
                busy = error.sqlite_errorcode & _PRIMARY == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() > deadline:
                    raise
            await asyncio.sleep(_PAUSE_SECONDS)
