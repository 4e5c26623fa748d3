from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from keystile.gate import noted as room
from keystile.gate.noted import NoteRecords
from keystile.gate.recorder import Recorder
from keystile.model.errors import RecordingUnavailableError
from keystile.recording.events import Event, EventKind
from keystile.store.database import Database
from keystile.store.notes import Notes, note


class Paper:
    """Stands for a `Recorder`, which cannot write while it is `full`."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.full = False

    async def record(self, event: Event) -> None:
        if self.full:
            raise RecordingUnavailableError("no room")
        self.events.append(event)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Database]:
    store = Database(f"sqlite+aiosqlite:///{tmp_path / 'store.db'}")
    await store.open()
    yield store
    await store.close()


async def noted(store: Database, *names: str) -> None:
    for name in names:
        async with store.begin() as connection:
            await note(connection, "connection_changed", {"connection": name})


async def test_a_note_is_on_record_once_however_many_gateways_look(store: Database) -> None:
    paper = Paper()
    await noted(store, "a", "b")
    looking = [NoteRecords(Notes(store), cast("Recorder", paper)) for _ in range(2)]
    await asyncio.gather(*(one.look() for one in looking))
    await looking[0].look()
    assert [event.body["connection"] for event in paper.events] == ["a", "b"]
    assert {event.kind for event in paper.events} == {EventKind.CONNECTION_CHANGED}


async def test_a_note_that_could_not_be_recorded_is_tried_again(
    store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    paper = Paper()
    paper.full = True
    records = NoteRecords(Notes(store), cast("Recorder", paper))
    await noted(store, "a")
    with pytest.raises(RecordingUnavailableError):
        await records.look()
    paper.full = False
    await records.look()
    assert paper.events == []  # another gateway might be at it
    later = time.time() + room._ROUND_SECONDS + 1
    monkeypatch.setattr(time, "time", lambda: later)
    await records.look()
    assert len(paper.events) == 1


async def test_what_is_undone_leaves_no_note(store: Database) -> None:
    async def undone() -> None:
        async with store.begin() as connection:
            await note(connection, "agent_enabled", {})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await undone()
    assert await Notes(store).take(0.0) == ()
