"""Puts on record what commands did: any gateway on the store, and another where one dies."""

from __future__ import annotations

import asyncio
import time

from keystile.gate.recorder import Recorder
from keystile.model.errors import KeystileError
from keystile.recording.events import Event, EventKind
from keystile.store.notes import Notes
from keystile.telemetry.logs import logger

_TICK_SECONDS = 0.5
_ROUND_SECONDS = 5.0

_log = logger("gate")


class NoteRecords:
    """Looks for notes, and writes them down."""

    def __init__(self, notes: Notes, recorder: Recorder) -> None:
        """Take notes from the store to the recordings."""
        self._notes = notes
        self._recorder = recorder

    async def run(self) -> None:
        """Look for ever; what fails is logged, and tried again."""
        while True:
            try:
                await self.look()
            except KeystileError as error:
                _log.warning("note_not_recorded", reason=str(error))
            except Exception:  # noqa: BLE001 - no fault ends it, or nothing more would be recorded
                _log.exception("note_fault")
            await asyncio.sleep(_TICK_SECONDS)

    async def look(self) -> None:
        """Record what is due. Raises `KeystileError` where that cannot be done now."""
        for one in await self._notes.take(time.time() + _ROUND_SECONDS):
            await self._recorder.record(Event(EventKind(one.kind), one.at, body=one.body))
            await self._notes.done(one)
