from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from keystile import app
from keystile.config.load import load
from keystile.recording.events import Event, EventKind
from keystile.recording.log import RecordingLog
from keystile.recording.verify import verify


async def test_old_recordings_go_to_the_archive_by_themselves(tmp_path: Path) -> None:
    file = tmp_path / "keystile.yaml"
    chosen: dict[str, object] = {"upstream": {"service_account_file": "key.json"}}
    chosen |= {"recording": {"retention": {"after_days": 30}}}
    file.write_text(json.dumps(chosen), encoding="utf-8")
    settings = load(file)
    folder = settings.path(settings.recording.folder)
    log = RecordingLog(folder, 1 << 20, clock=lambda: 1_700_000_000.0)
    await log.open()
    await log.append(Event(EventKind.INTENT, 1_700_000_000.0, "s", "a", "j"))
    await log.close()
    keeping = asyncio.ensure_future(app._keep_retention(settings))
    try:
        async with asyncio.timeout(10):
            while not list((tmp_path / "archive").rglob("*.jsonl")):  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.01)
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
    assert verify(folder).intact


def test_what_only_the_storage_api_needs_is_not_imported_without_it() -> None:
    """Arrow and gRPC take a second, at each start of a command too."""
    program = "import sys, keystile.cli, keystile.app; print({'grpc', 'pyarrow'} & {*sys.modules})"
    command = [sys.executable, "-c", program]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == "set()"
