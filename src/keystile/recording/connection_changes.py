"""What was done to the gateway's connections, as it is on record."""

from __future__ import annotations

import asyncio
from pathlib import Path

from keystile.recording import index
from keystile.recording.reader import Recorded, read_record

# The kind stands in the text, for the index to be used.
_CHANGES = """
SELECT chain, seq, segment, start, end FROM events WHERE kind = 'connection_changed'
ORDER BY at DESC, chain DESC, seq DESC LIMIT ?
"""


async def connection_changes(folder: Path, limit: int) -> tuple[Recorded, ...]:
    """Give the newest `connection_changed` events of a recording folder, the newest first.

    Raises `RefusedError` when a record was altered or is gone.
    """
    return await asyncio.to_thread(_read, folder, limit)


def _read(folder: Path, limit: int) -> tuple[Recorded, ...]:
    with index.opened(folder) as connection:
        rows = connection.execute(_CHANGES, (limit,)).fetchall()
    return tuple(read_record(folder, row[0], row[1], row[2:]) for row in rows)
