"""The gate's pen: every event through one place, timed."""

from __future__ import annotations

from keystile.recording.events import Event
from keystile.recording.log import RecordingLog
from keystile.telemetry.metrics import Metrics


class Recorder:
    """Makes events durable and measures how long that takes."""

    def __init__(self, log: RecordingLog, metrics: Metrics) -> None:
        """Write to an open log."""
        self._log = log
        self._metrics = metrics

    async def record(self, event: Event) -> None:
        """Return once the event is durable. Raises `RecordingUnavailableError`."""
        with self._metrics.recording_append_seconds.time():
            await self._log.append(event)
