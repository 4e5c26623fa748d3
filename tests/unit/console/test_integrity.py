import asyncio
import time
from pathlib import Path

import pytest

from keystile.console import integrity
from keystile.console.integrity import Integrity
from keystile.recording.events import Event, EventKind
from keystile.recording.log import RecordingLog
from keystile.recording.verify import Verification


async def test_an_altered_recording_is_told_and_an_intact_one_counted(
    recording: RecordingLog, tmp_path: Path
) -> None:
    now = 1000.0
    checker = Integrity(tmp_path / "recordings", lambda: now)
    for number in range(3):
        await recording.append(Event(EventKind.SIGNED_IN, number, body={"person": "operator"}))
    state = await checker.state()
    assert (state.intact, state.records, state.checked_at) == (True, 3, 1000.0)
    (segment,) = (
        file
        for file in (tmp_path / "recordings").rglob("*")
        if file.is_file() and b"operator" in file.read_bytes()
    )
    segment.write_bytes(segment.read_bytes().replace(b"operator", b"somebody", 1))
    now = 1030.0
    assert (await checker.state()).intact is True  # Fresh enough; the page says when.
    now = 1061.0
    state = await checker.state()
    assert state.intact is False
    assert segment.name in state.problem


async def test_a_long_check_does_not_hold_the_page_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    checks = 0

    def slow(_: Path) -> Verification:
        nonlocal checks
        checks += 1
        time.sleep(0.3)
        return Verification(())

    monkeypatch.setattr(integrity, "verify", slow)
    monkeypatch.setattr(integrity, "_PATIENCE_SECONDS", 0.01)
    checker = Integrity(tmp_path, time.time)
    states = await asyncio.gather(checker.state(), checker.state())
    assert [state.intact for state in states] == [None, None]
    await asyncio.sleep(0.5)
    assert (await checker.state()).intact is True
    assert checks == 1


async def test_a_folder_that_cannot_be_read_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(_: Path) -> Verification:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(integrity, "verify", broken)
    state = await Integrity(tmp_path, time.time).state()
    assert state.intact is False
    assert "Permission denied" in state.problem
