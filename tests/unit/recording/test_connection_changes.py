from __future__ import annotations

from pathlib import Path

from keystile.recording.connection_changes import connection_changes
from keystile.recording.events import Event, EventKind
from keystile.recording.log import RecordingLog


async def test_what_was_done_to_connections_is_given_newest_first_and_nothing_else(
    tmp_path: Path,
) -> None:
    log = RecordingLog(tmp_path, 3000)
    await log.open()
    for number in range(3):
        changed = {"action": "rotate", "connection": f"c{number}"}
        await log.append(Event(EventKind.CONNECTION_CHANGED, float(number), body=changed))
        await log.append(Event(EventKind.AGENT_ENABLED, float(number), body={"name": "a"}))
    await log.close()
    found = await connection_changes(tmp_path, 2)
    assert [one.event.body["connection"] for one in found] == ["c2", "c1"]
    assert await connection_changes(tmp_path / "none", 2) == ()
