from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from keystile.model.errors import RefusedError
from keystile.recording import chain as chains
from keystile.recording import retention
from keystile.recording.events import Event, EventKind
from keystile.recording.own_events import RetentionBody
from keystile.recording.reader import RecordingReader, SessionFilter
from keystile.recording.retention import RetentionReport, retain
from keystile.recording.verify import verify
from keystile.recording.writer import ChainWriter, canonical, claim

DAY = 86_400.0
START = 1_767_182_400.0  # 2025-12-31 12:00 UTC


def fill(folder: Path, days: range, *, close: bool = True) -> ChainWriter:
    """Write two events on each day; give the writer."""
    now = START
    writer = claim(folder, segment_bytes=1 << 20, clock=lambda: now)
    for day in days:
        now = START + day * DAY
        for number in range(2):
            event = Event(
                EventKind.INTENT, now, f"s{day}", "a", f"j{number}", {"sql": f"day {day}"}
            )
            writer.append([canonical(event)])
    if close:
        writer.close()
    return writer


def run(folder: Path, *, now: float = START + 9 * DAY, **change: Any) -> RetentionReport:
    values = {"after_days": 5, "action": "archive", "segment_bytes": 1 << 20, "dry_run": False}
    values |= {"archive": folder.parent / "archive"} | change
    return retain(folder, now=now, **values)


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.jsonl"))
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "recordings"


def test_a_dry_run_lists_with_counts_and_dates_and_changes_nothing(folder: Path) -> None:
    fill(folder, range(10))
    before = files(folder)
    report = run(folder, dry_run=True)
    assert files(folder) == before
    assert not (folder.parent / "archive").exists()
    assert [(one.day, one.records) for one in report.segments] == [
        ("2025-12-31", 2),
        ("2026-01-01", 2),
        ("2026-01-02", 2),
        ("2026-01-03", 2),
    ]
    assert report.before == "2026-01-04"
    assert (report.segments[0].first_at, report.segments[1].last_at) == (START, START + DAY)


@pytest.mark.parametrize("action", ["purge", "archive"])
async def test_old_segments_go_and_the_rest_verifies(folder: Path, action: str) -> None:
    writer = fill(folder, range(10))
    reader = RecordingReader(folder)
    assert len((await reader.sessions(SessionFilter())).sessions) == 10
    before = files(folder)
    planned = run(folder, action=action, dry_run=True)
    done = run(folder, action=action)
    assert done.segments == planned.segments
    gone = {f"{one.chain}/{one.segment}" for one in done.segments}
    assert not gone & set(files(folder))
    archived = files(folder.parent / "archive")
    assert archived == ({name: before[name] for name in gone} if action == "archive" else {})
    found = verify(folder)
    assert found.intact
    assert {report.chain: report.removed for report in found.chains}[writer.chain] == 8
    left = await reader.sessions(SessionFilter())
    assert [one.id for one in left.sessions] == [f"s{day}" for day in range(9, 3, -1)]
    assert run(folder, action=action).segments == ()


def test_a_running_gateway_keeps_its_newest_segment(folder: Path) -> None:
    writer = fill(folder, range(3), close=False)
    assert len(run(folder, now=START + 100 * DAY, dry_run=True).segments) == 2
    report = run(folder, now=START + 100 * DAY)
    assert len(report.segments) == 2
    assert verify(folder).intact
    writer.append([canonical(Event(EventKind.VIEWED, START))])
    assert verify(folder).intact
    writer.close()


def test_an_idle_chain_goes_whole_and_continues_after(folder: Path) -> None:
    writer = fill(folder, range(3))
    report = run(folder, now=START + 100 * DAY)
    assert len(report.segments) == 3
    found = verify(folder)
    assert found.intact
    assert [(one.chain, one.removed, one.records) for one in found.chains] == [(writer.chain, 6, 1)]
    fill(folder, range(100, 101))
    assert verify(folder).intact


def test_many_rounds_still_verify(folder: Path) -> None:
    """The event that explained an earlier removal is itself removed later."""
    for day in range(40):
        now = START + day * DAY
        fill(folder, range(day, day + 1))
        run(folder, now=now, after_days=3, action="purge")
        found = verify(folder)
        assert found.intact, (day, found)
    assert sum(report.records for report in found.chains) < 20


def test_an_explanation_outlives_the_segment_that_held_it(folder: Path) -> None:
    """The note of the first removal goes with another chain, in a run that takes nothing here."""
    writer = fill(folder, range(3), close=False)
    assert len(run(folder, now=START + 20 * DAY).segments) == 2
    later = run(folder, now=START + 40 * DAY)
    assert {one.chain for one in later.segments} - {writer.chain}
    assert writer.chain not in {one.chain for one in later.segments}
    assert verify(folder).intact
    writer.close()


def test_the_event_says_what_went(folder: Path) -> None:
    fill(folder, range(10))
    report = run(folder)
    events = [
        msgspec.json.decode(chains.parse(content).event, type=Event)
        for path in chains.chains(folder)
        for segment in chains.segments(path)
        for _, content in chains.lines(segment)
    ]
    (event,) = [one for one in events if one.kind is EventKind.RETENTION]
    body = msgspec.convert(event.body, RetentionBody)
    assert body.action == "archive"
    assert [one.segment for one in body.removed] == [one.segment for one in report.segments]


def test_a_chain_that_does_not_verify_is_left_alone(folder: Path) -> None:
    writer = fill(folder, range(10))
    victim = chains.segments(writer.folder)[1]
    victim.write_bytes(victim.read_bytes().replace(b"day 1", b"day 7"))
    before = files(folder)
    report = run(folder)
    assert (report.segments, report.skipped) == ((), (writer.chain,))
    assert files(folder) == before


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_a_crash_at_any_deletion_leaves_what_verifies(
    folder: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    fill(folder, range(10))
    real, deleted = Path.unlink, 0

    def crash(path: Path) -> None:
        nonlocal deleted
        if deleted == after:
            raise OSError(5, "Input/output error")
        deleted += 1
        real(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", crash)
        with pytest.raises(RefusedError, match="retention stopped"):
            run(folder)
    assert verify(folder).intact
    run(folder)
    assert verify(folder).intact
    assert len(files(folder.parent / "archive")) == 4


def test_an_archive_that_cannot_be_written_keeps_everything(folder: Path) -> None:
    fill(folder, range(10))
    before = files(folder)
    (folder.parent / "archive").write_text("a file stands here")
    with pytest.raises(RefusedError, match="retention stopped"):
        run(folder)
    assert files(folder) == before


def test_a_copy_that_is_not_true_keeps_everything(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(folder, range(10))
    before = files(folder)

    def bad_copy(_source: Path, target: Path) -> None:
        target.write_bytes(b"something else")

    monkeypatch.setattr(retention.shutil, "copyfile", bad_copy)
    with pytest.raises(RefusedError, match="not a true copy"):
        run(folder)
    assert files(folder) == before


def test_an_empty_folder_has_nothing_to_go(folder: Path) -> None:
    assert run(folder).segments == ()
    claim(folder, segment_bytes=1).close()
    assert run(folder).segments == ()
    assert list(folder.parent.iterdir()) == [folder]
