from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keystile.model.errors import RecordingUnavailableError, RefusedError
from keystile.recording import chain as chains
from keystile.recording.events import Event, EventKind
from keystile.recording.log import Position, RecordingLog


def event(**body: object) -> Event:
    return Event(EventKind.VIEWED, 1.0, session="s", agent="a", job="j", body=body)


def recorded(folder: Path) -> list[Event]:
    return [
        msgspec.json.decode(chains.parse(content).event, type=Event)
        for chain in chains.chains(folder)
        for segment in chains.segments(chain)
        for _, content in chains.lines(segment)
    ]


async def test_many_appends_share_syncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs, real = 0, os.fdatasync

    def counted(descriptor: int) -> None:
        nonlocal syncs
        syncs += 1
        time.sleep(0.002)
        real(descriptor)

    log = RecordingLog(tmp_path, 1 << 20)
    await log.open()
    monkeypatch.setattr(os, "fdatasync", counted)
    positions = await asyncio.gather(*(log.append(event(number=n)) for n in range(200)))
    await log.close()
    assert sorted(position.seq for position in positions) == list(range(1, 201))
    assert syncs <= 20
    by_seq = recorded(tmp_path)
    assert [by_seq[position.seq - 1].body["number"] for position in positions] == list(range(200))


async def test_append_returns_only_after_the_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = 0.0

    def slow(_descriptor: int) -> None:
        nonlocal synced
        time.sleep(0.05)
        synced = time.monotonic()

    log = RecordingLog(tmp_path, 1 << 20)
    await log.open()
    monkeypatch.setattr(os, "fdatasync", slow)
    await log.append(event())
    assert 0 < synced <= time.monotonic()
    await log.close()


async def test_it_refuses_while_it_cannot_write_and_recovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = RecordingLog(tmp_path, 1 << 20)
    await log.open()
    await log.append(event(number=1))

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", full)
        for _ in range(2):
            with pytest.raises(RecordingUnavailableError, match="No space left on device"):
                await log.append(event(number=2))
        assert not log.available
    assert (await log.append(event(number=3))).seq == 2
    assert log.available
    await log.close()
    assert [found.body["number"] for found in recorded(tmp_path)] == [1, 3]


async def test_a_fault_of_the_writer_does_not_leave_callers_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(_descriptor: int) -> None:
        raise MemoryError

    log = RecordingLog(tmp_path, 1 << 20)
    await log.open()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fault)
        with pytest.raises(RecordingUnavailableError):
            await asyncio.wait_for(log.append(event()), 5)
    assert (await log.append(event())).seq == 1
    await log.close()


async def test_one_event_that_cannot_be_written_harms_no_other(tmp_path: Path) -> None:
    log = RecordingLog(tmp_path, 1 << 20)
    await log.open()
    answers = await asyncio.gather(
        log.append(event(number=1)),
        log.append(event(bad=object())),
        log.append(event(text="\ud800")),
        log.append(event(number=2)),
        return_exceptions=True,
    )
    await log.close()
    assert [type(answer) for answer in answers] == [
        Position,
        RefusedError,
        RefusedError,
        Position,
    ]
    assert [found.body["number"] for found in recorded(tmp_path)] == [1, 2]


async def test_closed_and_unopened_logs_refuse(tmp_path: Path) -> None:
    log = RecordingLog(tmp_path, 1 << 20)
    with pytest.raises(RecordingUnavailableError, match="not open"):
        await log.append(event())
    await log.open()
    await log.close()
    with pytest.raises(RecordingUnavailableError, match="not open"):
        await log.append(event())
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingUnavailableError):
        await RecordingLog(tmp_path / "file", 1 << 20).open()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_no_text_forges_or_changes_a_record(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("log")

    async def write() -> None:
        log = RecordingLog(folder, 1 << 20)
        await log.open()
        await asyncio.gather(*(log.append(event(text=text)) for text in texts))
        await log.close()

    asyncio.run(write())
    assert [found.body["text"] for found in recorded(folder)] == texts


APPENDER = """
import asyncio, sys
from pathlib import Path
from keystile.recording.events import Event, EventKind
from keystile.recording.log import RecordingLog
async def main():
    log = RecordingLog(Path(sys.argv[1]), 20_000)
    await log.open()
    async def work(worker):
        number = 0
        while True:
            body = {"worker": worker, "number": number, "text": "x" * 300}
            await log.append(Event(EventKind.VIEWED, 1.0, body=body))
            print(worker, number, flush=True)
            number += 1
    await asyncio.gather(*(work(f"{sys.argv[2]}-{n}") for n in range(8)))
asyncio.run(main())
"""


def test_kill_minus_nine_loses_nothing_acknowledged(tmp_path: Path) -> None:
    acknowledged: list[tuple[str, int]] = []
    for run in range(6):
        child = subprocess.Popen(
            [sys.executable, "-c", APPENDER, tmp_path, str(run)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout
        before = [child.stdout.readline() for _ in range(20 + 37 * run)]
        child.send_signal(signal.SIGKILL)
        # A last line without its end was never said completely.
        said = [line for line in [*before, *child.stdout] if line.endswith("\n")]
        child.wait()
        child.stdout.close()
        acknowledged += [(line.split()[0], int(line.split()[1])) for line in said]
    (chain,) = chains.chains(tmp_path)
    kept: set[tuple[str, int]] = set()
    seq, prev = 0, chains.FIRST_PREV
    for segment in chains.segments(chain):
        for _, content in chains.lines(segment):
            line = chains.parse(content)
            chains.follows(line, seq, prev)
            seq, prev = line.seq, line.hash
            found = msgspec.json.decode(line.event, type=Event)
            if found.kind is EventKind.VIEWED:
                kept.add((found.body["worker"], found.body["number"]))
    assert len(acknowledged) >= 6 * 20
    assert set(acknowledged) <= kept
