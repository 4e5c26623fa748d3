"""The gate's pen: every event through one place, timed."""

from __future__ import annotations

import asyncio

from keystile.gate.basis import RestsOn, SchemaLog
from keystile.recording.events import Event
from keystile.recording.log import RecordingLog
from keystile.telemetry.metrics import Metrics


class Recorder:
    """Makes events durable and measures how long that takes."""

    def __init__(self, log: RecordingLog, metrics: Metrics) -> None:
        """Write to an open log."""
        self._log = log
        self._metrics = metrics
        self._schemas = SchemaLog()

    async def record(self, event: Event) -> None:
        """Return once the event is durable. Raises `RecordingUnavailableError`."""
        with self._metrics.recording_append_seconds.time():
            await self._log.append(event)

    async def rests_on(self, rests_on: RestsOn) -> None:
        """Return once all schemas that a decision rests on are durable, written anew or today."""
        if due := self._schemas.due(rests_on):
            await asyncio.gather(*map(self.record, due))
            self._schemas.written(due)
