"""Purge or archive old segments so that what is left still verifies."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import msgspec

from keystile.config.settings import Settings
from keystile.model.errors import RefusedError
from keystile.recording import chain as chains
from keystile.recording.events import Event, EventKind
from keystile.recording.own_events import RemovedSegment, RetentionBody
from keystile.recording.verify import verify
from keystile.recording.writer import BrokenChainError, ChainWriter, canonical, claim, take

Action = Literal["purge", "archive"]


class OldSegment(msgspec.Struct, frozen=True):
    """A segment old enough to go: what it holds and when that happened (UTC epoch seconds)."""

    chain: str
    segment: str
    day: str
    records: int
    bytes: int
    first_at: float
    last_at: float
    last_seq: int
    last_hash: str


class RetentionReport(msgspec.Struct, frozen=True):
    """What went or would go: segments written before the UTC day `before`.

    Chains in `skipped` do not verify; nothing of theirs goes, since it is evidence.
    """

    action: Action
    before: str
    dry_run: bool
    segments: tuple[OldSegment, ...]
    skipped: tuple[str, ...]


def retain_as_configured(
    settings: Settings, now: float, *, dry_run: bool = False
) -> RetentionReport:
    """Do what `recording.retention` says. Raises as `retain` does."""
    retention = settings.recording.retention
    return retain(
        settings.path(settings.recording.folder),
        after_days=retention.after_days,
        action=retention.action,
        archive=settings.path(retention.archive),
        segment_bytes=settings.recording.segment_bytes,
        now=now,
        dry_run=dry_run,
    )


def retain(  # noqa: PLR0913 - these are the settings of `recording.retention`
    folder: Path,
    *,
    after_days: int,
    action: Action,
    archive: Path,
    segment_bytes: int,
    now: float,
    dry_run: bool = False,
) -> RetentionReport:
    """Take away every whole segment that is older than `after_days` full UTC days.

    Order: copy (for `archive`), record durably what goes and where each chain begins from now on,
    delete. A crash between these loses nothing and the next run finishes. The segment that a
    running gateway writes never goes. Raises `RefusedError`.
    """
    before = (datetime.fromtimestamp(now, UTC) - timedelta(days=after_days)).strftime("%Y-%m-%d")
    skipped = {report.chain for report in verify(folder).chains if report.problem}
    old = tuple(
        _described(segment)
        for path in chains.chains(folder)
        if path.name not in skipped
        for segment in _old(path, before)
    )
    report = RetentionReport(action, before, dry_run, old, tuple(sorted(skipped)))
    if dry_run or not old:
        return report
    try:
        return msgspec.structs.replace(
            report, segments=_carry_out(folder, report, archive, segment_bytes, now)
        )
    except (OSError, BrokenChainError) as error:
        raise RefusedError(
            f"retention stopped: {error}", hint="nothing is lost; repair it and run it again"
        ) from error


def _old(path: Path, before: str) -> list[Path]:
    """List a chain's oldest segments; its newest only when no gateway has the chain."""
    existing = chains.segments(path)
    removable = existing if _is_free(path) else existing[:-1]
    young = [place for place, one in enumerate(removable) if chains.segment_day(one) >= before]
    return removable[: young[0]] if young else removable


def _is_free(path: Path) -> bool:
    try:
        lock = os.open(path / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


def _described(segment: Path) -> OldSegment:
    records, moments, last_seq, last_hash = 0, [], 0, ""
    for _, content in chains.lines(segment):
        line = chains.parse(content)
        records, last_seq, last_hash = records + 1, line.seq, line.hash
        moments.append(msgspec.json.decode(line.event, type=Event).at)
    return OldSegment(
        chain=segment.parent.name,
        segment=segment.name,
        day=chains.segment_day(segment),
        records=records,
        bytes=segment.stat().st_size,
        first_at=min(moments, default=0.0),
        last_at=max(moments, default=0.0),
        last_seq=last_seq,
        last_hash=last_hash,
    )


def _carry_out(
    folder: Path, report: RetentionReport, archive: Path, segment_bytes: int, now: float
) -> tuple[OldSegment, ...]:
    writers = _take_idle(folder, report, segment_bytes, now)
    try:
        # A chain that a gateway took meanwhile keeps its newest segment.
        newest = {
            path.name: one.name
            for path in chains.chains(folder)
            if path.name not in writers
            for one in chains.segments(path)[-1:]
        }
        going = tuple(one for one in report.segments if newest.get(one.chain) != one.segment)
        if report.action == "archive":
            for one in going:
                _copy(folder / one.chain / one.segment, archive / one.chain)
        if not writers:
            writer = claim(folder, segment_bytes=segment_bytes, clock=lambda: now)
            writers[writer.chain] = writer
        note = _note(folder, report.action, going, now)
        for writer in writers.values():
            writer.append([note])
        for one in going:
            (folder / one.chain / one.segment).unlink()
        for name in {one.chain for one in going}:
            chains.sync_folder(folder / name)
    finally:
        for writer in writers.values():
            writer.close()
    return going


def _take_idle(
    folder: Path, report: RetentionReport, segment_bytes: int, now: float
) -> dict[str, ChainWriter]:
    """Hold every chain of which all goes: its next record, on a new day, starts a new segment."""
    writers = {}
    gone = {(one.chain, one.segment) for one in report.segments}
    for path in chains.chains(folder):
        if any((path.name, one.name) in gone for one in chains.segments(path)[-1:]):
            writer = take(path, segment_bytes=segment_bytes, clock=lambda: now)
            if writer:
                writers[path.name] = writer
    return writers


def _note(folder: Path, action: Action, going: tuple[OldSegment, ...], now: float) -> bytes:
    floors = {one.chain: (one.last_seq, one.last_hash) for one in going}
    for path in chains.chains(folder):
        if path.name not in floors:
            first = next(
                (content for one in chains.segments(path)[:1] for _, content in chains.lines(one)),
                None,
            )
            line = chains.parse(first) if first else None
            if line and line.seq > 1:
                floors[path.name] = (line.seq - 1, line.prev)
    body = RetentionBody(
        action=action,
        removed=tuple(
            RemovedSegment(
                chain=one.chain,
                segment=one.segment,
                records=one.records,
                last_seq=one.last_seq,
                last_hash=one.last_hash,
            )
            for one in going
        ),
        floors=floors,
    )
    return canonical(Event(EventKind.RETENTION, now, body=msgspec.to_builtins(body)))


def _copy(segment: Path, folder: Path) -> None:
    """Copy a segment durably and read the copy back. Raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    target, partial = folder / segment.name, folder / f"{segment.name}.partial"
    if not target.exists():
        shutil.copyfile(segment, partial)
        partial.chmod(0o600)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.rename(target)
    if _digest(target) != _digest(segment):
        raise OSError(errno.EIO, f"`{target}` is not a true copy of the segment")
    for path in (folder, folder.parent):
        chains.sync_folder(path)


def _digest(file: Path) -> bytes:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()
