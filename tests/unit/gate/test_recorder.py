from __future__ import annotations

from typing import Any

import pytest

from keystile.gate.recorder import Recorder
from keystile.model.errors import RecordingUnavailableError
from keystile.recording.events import Event, EventKind
from keystile.telemetry.metrics import Metrics

EVENT = Event(EventKind.INTENT, 1.0)
COUNT = b"keystile_recording_append_seconds_count 1.0"


async def test_an_event_is_durable_and_timed(bench: Any, one: Any) -> None:
    metrics = Metrics()
    await Recorder(one.log, metrics).record(EVENT)
    assert bench.kinds == ["intent"]
    assert COUNT in metrics.text()


async def test_what_cannot_be_recorded_raises(one: Any) -> None:
    await one.log.close()
    with pytest.raises(RecordingUnavailableError):
        await Recorder(one.log, Metrics()).record(EVENT)
