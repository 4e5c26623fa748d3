"""What is still to be put on record: written with the change that it tells of, in one transaction.

INVARIANT: a note goes only once it is on record, so whatever ends a process, none is lost; it may
be on record twice.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import uuid4

import msgspec
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from keystile.store.database import Database
from keystile.store.tables import notes


class Note(NamedTuple):
    """Something that was done; `kind` and `body` are those of the event, `at` is UTC seconds."""

    id: str
    kind: str
    at: float
    body: Mapping[str, Any]


async def note(connection: AsyncConnection, kind: str, body: Mapping[str, object]) -> None:
    """Note what is done in the same transaction."""
    now = time.time()
    row = {"id": uuid4().hex, "kind": kind, "at": now, "due_at": now}
    text = msgspec.json.encode(body).decode()
    await connection.execute(insert(notes).values({**row, "body": text}))


class Notes:
    """The table of notes."""

    def __init__(self, database: Database) -> None:
        """Take an open control store."""
        self._database = database

    async def take(self, until: float) -> tuple[Note, ...]:
        """Take the notes that are due, the oldest first, for others not to before `until`."""
        now = time.time()
        if not self._database.look_up("SELECT 1 FROM notes WHERE due_at <= ? LIMIT 1", (now,)):
            return ()
        query = select(notes).where(notes.c.due_at <= now).order_by(notes.c.at, notes.c.id)
        async with self._database.begin() as connection:
            # Another process may have taken them in between.
            rows = (await connection.execute(query)).all()
            taken = notes.c.id.in_([row.id for row in rows])
            await connection.execute(update(notes).where(taken).values(due_at=until))
        return tuple(
            Note(row.id, row.kind, row.at, msgspec.json.decode(row.body, type=dict[str, Any]))
            for row in rows
        )

    async def done(self, one: Note) -> None:
        """Forget a note that is on record."""
        async with self._database.begin() as connection:
            await connection.execute(delete(notes).where(notes.c.id == one.id))
