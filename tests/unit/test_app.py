from __future__ import annotations

import asyncio
import json
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from keystile import app
from keystile.app import PolicySource, masking_key
from keystile.config.load import load
from keystile.config.settings import Listener, Settings
from keystile.googlesql.inline import InlineRunner
from keystile.model.errors import UnsafeConfigurationError
from keystile.recording.events import Event, EventKind
from keystile.recording.log import RecordingLog
from keystile.recording.verify import verify

FILTER = "row_filters:\n- {{name: f, tables: [p.d.t], where: '{}'}}\n"
RULES = "rules:\n- {name: a, allow: [read]}\n"


def settings_in(folder: Path, **more: object) -> Settings:
    file = folder / "keystile.yaml"
    upstream = {"service_account_file": "key.json"}
    file.write_text(json.dumps({"upstream": upstream, **more}), encoding="utf-8")
    return load(file)


def test_the_masking_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    key = masking_key(settings)
    assert len(key) == 64
    assert masking_key(settings) == key
    file = settings.data_folder / "masking-key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [found.name for found in settings.data_folder.iterdir()] == ["masking-key"]


@pytest.mark.parametrize("key", ["", "short", "x" * 65])
def test_a_masking_key_of_an_unsafe_size_is_refused_clearly(tmp_path: Path, key: str) -> None:
    (tmp_path / "key").write_text(key, encoding="ascii")
    settings = settings_in(tmp_path, masking_key_file="key")
    with pytest.raises(UnsafeConfigurationError, match=r"not 32 to 64|is empty"):
        masking_key(settings)


def test_a_port_that_is_taken_is_one_clear_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UnsafeConfigurationError, match=f"cannot listen on `127.0.0.1:{port}`"):
            app._listening(Listener(port=port))


async def test_a_changed_policy_takes_its_place_and_a_broken_one_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "_POLICY_SECONDS", 0.01)
    file = tmp_path / "rules.yaml"
    file.write_text(RULES, encoding="utf-8")
    source = PolicySource(tmp_path, InlineRunner())
    await source.check()
    first = source.current().digest
    following = asyncio.ensure_future(source.follow())
    try:
        file.write_text("rules: [nonsense", encoding="utf-8")
        await asyncio.sleep(0.1)
        assert source.current().digest == first
        file.write_text(f"{RULES}{FILTER.format('a) OR (b')}", encoding="utf-8")
        await asyncio.sleep(0.2)
        assert source.current().digest == first
        file.write_text(RULES.replace("read", "write"), encoding="utf-8")
        async with asyncio.timeout(5):
            while source.current().digest == first:  # noqa: ASYNC110 - a file, not an event
                await asyncio.sleep(0.01)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def test_half_a_file_that_is_being_written_is_no_policy(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(RULES, encoding="utf-8")
    source = PolicySource(tmp_path, InlineRunner())
    first = source.current().digest
    after = f"{RULES}{FILTER.format('TRUE')}"
    for written in ("", RULES.replace("read", "write"), after):
        file.write_text(written, encoding="utf-8")
        await source._follow_once()
        assert source.current().digest == first
    await source._follow_once()
    assert source.current().digest == PolicySource(tmp_path, InlineRunner()).current().digest
    assert source.current().digest != first


async def test_a_row_filter_that_is_no_condition_stops_the_gateway(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(FILTER.format("a) OR (b"), encoding="utf-8")
    with pytest.raises(
        UnsafeConfigurationError, match=r"`rules.yaml` line \d: row filter `f`: it is no single"
    ):
        await PolicySource(tmp_path, InlineRunner()).check()


async def test_old_recordings_go_to_the_archive_by_themselves(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, recording={"retention": {"after_days": 30}})
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
