from __future__ import annotations

import asyncio
import json
from pathlib import Path

from typer.testing import CliRunner

from keystile.cli import app
from keystile.recording.events import Event, EventKind
from keystile.recording.log import RecordingLog


def run(config: Path, *words: str) -> str:
    done = CliRunner().invoke(app, ["connection", "history", *words, "--config", str(config)])
    assert done.exit_code == 0, done.output
    return done.output


def test_changes_are_listed_with_their_keys_by_whom_or_from_where(tmp_path: Path) -> None:
    config = tmp_path / "keystile.yaml"
    config.write_text("upstream: {endpoint: 'http://127.0.0.1:9'}\n")
    assert "nothing is on record yet" in run(config)

    async def recorded() -> None:
        log = RecordingLog(tmp_path / "recordings", 30_000)
        await log.open()
        for change in (
            {"action": "rotate", "connection": "reports", "key": "k1", "person": "ana\x1b[31m"},
            {"action": "replace", "connection": "default", "key": "k2", "source": "/run/key"},
        ):
            await log.append(Event(EventKind.CONNECTION_CHANGED, 1.0, body=change))
        await log.close()

    asyncio.run(recorded())
    listed = json.loads(run(config, "--json"))
    assert [(one["action"], one["key"]) for one in listed] == [("replace", "k2"), ("rotate", "k1")]
    shown = run(config)
    assert "\x1b[31m" not in shown
    first, second = [line for line in shown.splitlines() if "k2" in line or "k1" in line]
    assert ("key replaced" in first, "/run/key" in first) == (True, True)
    assert ("rotated" in second, "ana" in second) == (True, True)
    assert len(json.loads(run(config, "--json", "--limit", "1"))) == 1
