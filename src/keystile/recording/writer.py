"""Writes one chain: claims it, repairs its end after a crash, appends durably.

Everything here blocks; `log` runs it in a thread of its own.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from keystile.recording import chain as chains
from keystile.recording.chain import BrokenLineError, Head
from keystile.recording.events import Event, EventKind
from keystile.recording.own_events import RecoveredBody

_WRITTEN_AT_ONCE = 1 << 20  # bytes; more are not copied together
_CHECKED_AT_ONCE = 100  # rows


class BrokenChainError(Exception):
    """The chain holds less than what it acknowledged, so it must not be continued."""


def canonical(event: Event) -> bytes:
    """Encode an event as canonical JSON: sorted keys, no spaces, UTF-8, one line.

    Rows may arrive as `msgspec.Raw`: those that are one line stay as they are. INVARIANT: each is
    parsed first, so that none can end the line and forge the next. Raises `ValueError`, `TypeError`
    or `RecursionError` for what JSON cannot hold.
    """
    body = dict(event.body)
    rows = body.pop("rows") if isinstance(body.get("rows"), (list, tuple)) else None
    plain = msgspec.json.decode(msgspec.json.encode(msgspec.structs.replace(event, body=body)))
    if rows is not None:
        plain["body"]["rows"] = msgspec.Raw(_canonical_rows(rows))
    return _sorted(plain)


class ChainWriter:
    """The one writer of one chain, as long as it holds the chain's lock."""

    def __init__(
        self,
        folder: Path,
        lock: int,
        *,
        segment_bytes: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take over the chain in `folder`; `lock` is its locked file. Use `claim` or `take`.

        Raises `BrokenChainError` and `OSError`.
        """
        self.folder = folder
        self._lock = lock
        self._segment_bytes = segment_bytes
        self._clock = clock
        self._head = Head()
        # The open segment: its descriptor, name and size in bytes; and whether a write failed.
        self._segment, self._name, self._size, self._torn = -1, "", 0, False
        self._head_file = os.open(folder / "head", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._resume()
        except BaseException:
            self.close()
            raise

    @property
    def chain(self) -> str:
        """The chain's name, which is the name of its folder."""
        return self.folder.name

    @property
    def head(self) -> Head:
        """The newest durable record."""
        return self._head

    def close(self) -> None:
        """Give the chain free for the next writer."""
        for descriptor in (self._segment, self._head_file, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._segment = self._head_file = self._lock = -1

    def append(self, events: Sequence[bytes]) -> list[int]:
        """Append canonical events durably, with one sync for all, and give their numbers.

        Raises `OSError`; then none of them counts as written, and the next append first repairs
        what a partial write left.
        """
        self._make_ready()
        head, parts, end, numbers = self._head, list[bytes](), self._size, []
        for event in events:
            line, digest = chains.link(head.seq + 1, head.hash, event)
            start, end = end, end + sum(map(len, line))
            parts += line
            head = Head(head.seq + 1, digest, self._name, start, end)
            numbers.append(head.seq)
        self._torn = True
        _write(self._segment, parts)
        os.fdatasync(self._segment)
        chains.write_head(self._head_file, head)
        self._head, self._size, self._torn = head, end, False
        return numbers

    def _make_ready(self) -> None:
        """Repair what a failed append left, and start a new segment where one is due."""
        if self._torn:
            # After a failed sync the kernel may forget what it could not write: those pages go.
            chains.write_head(self._head_file, self._head)
            os.ftruncate(self._segment, self._size)
            os.fdatasync(self._segment)
            self._torn = False
        if self._segment >= 0:
            state, place = os.fstat(self._segment), (self.folder / self._name).stat()
            if not os.path.samestat(state, place) or state.st_size != self._size:
                # Writing on would look durable and be lost, or would continue someone's bytes.
                raise OSError(errno.ESTALE, "the segment was changed or moved by something else")
        today = datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%d")
        full = self._size >= self._segment_bytes
        stale = self._size > 0 and chains.segment_day(Path(self._name)) != today
        if self._segment < 0 or full or stale:
            self._start_segment(chains.segment_name(self._head.seq + 1, today))

    def _start_segment(self, name: str) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self.folder / name, flags, 0o600)
        if os.fstat(descriptor).st_size:
            os.close(descriptor)
            raise OSError(errno.ESTALE, "a segment of this name exists already")
        try:
            chains.sync_folder(self.folder)
        except OSError:
            os.close(descriptor)
            raise
        if self._segment >= 0:
            os.close(self._segment)
        self._segment, self._name, self._size = descriptor, name, 0

    def _resume(self) -> None:
        """Find the end of the chain; keep whole unacknowledged records, cut a torn one."""
        existing = chains.segments(self.folder)
        head = chains.read_head(self.folder)
        if head is None and existing:
            raise BrokenChainError("its head is missing or unreadable")
        end = head or Head()
        _check_acknowledged(self.folder, end)
        cut = 0
        for segment in (path for path in existing if path.name >= end.segment):
            size = segment.stat().st_size
            if not cut:
                end = _intact_end(segment, end)
            if end.segment != segment.name:
                segment.unlink()
                cut += size
            elif end.end < size:
                os.truncate(segment, end.end)
                cut += size - end.end
        self._continue_at(end, cut)

    def _continue_at(self, end: Head, cut: int) -> None:
        if end.segment:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
            self._segment = os.open(self.folder / end.segment, flags)
            self._name, self._size = end.segment, end.end
            os.fsync(self._segment)
        chains.write_head(self._head_file, end)
        os.fsync(self._head_file)
        chains.sync_folder(self.folder)
        self._head = end
        if cut:
            body = RecoveredBody(chain=self.chain, segment=end.segment, cut_bytes=cut)
            self.append([recovered(body, self._clock())])


def claim(
    folder: Path, *, segment_bytes: int, clock: Callable[[], float] = time.time
) -> ChainWriter:
    """Take the first chain that no other process writes and that is intact, else a new one.

    Raises `OSError`.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    problems = []
    for path in chains.chains(folder):
        try:
            writer = take(path, segment_bytes=segment_bytes, clock=clock)
        except BrokenChainError as error:
            problems.append(RecoveredBody(chain=path.name, problem=str(error)))
            continue
        if writer:
            return writer
    path = folder / f"replica-{secrets.token_hex(4)}"
    path.mkdir(mode=0o700)
    chains.sync_folder(folder)
    created = take(path, segment_bytes=segment_bytes, clock=clock)
    if created is None:
        raise OSError(errno.EAGAIN, "a new chain was taken by another process")
    if problems:
        created.append([recovered(problem, clock()) for problem in problems])
    return created


def take(
    path: Path, *, segment_bytes: int, clock: Callable[[], float] = time.time
) -> ChainWriter | None:
    """Take one chain; None when another process writes it.

    Raises `BrokenChainError` and `OSError`.
    """
    lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return ChainWriter(path, lock, segment_bytes=segment_bytes, clock=clock)


def recovered(body: RecoveredBody, at: float) -> bytes:
    """Encode the event that says what a restart found."""
    return canonical(Event(EventKind.RECOVERED, at, body=msgspec.to_builtins(body)))


def _check_acknowledged(folder: Path, head: Head) -> None:
    """Check that the record which the head names still stands where it was written."""
    if head.seq == 0:
        return
    try:
        with (folder / head.segment).open("rb") as file:
            file.seek(head.start)
            line = chains.parse(file.read(head.end - head.start).removesuffix(b"\n"))
    except (OSError, BrokenLineError) as error:
        raise BrokenChainError(f"record {head.seq}, its newest, is gone or altered") from error
    if (line.seq, line.hash) != (head.seq, head.hash):
        raise BrokenChainError(f"record {head.seq}, its newest, is gone or altered")


def _intact_end(segment: Path, end: Head) -> Head:
    """Follow the chain through `segment` as far as it is intact."""
    start = end.end if segment.name == end.segment else 0
    for place, content in chains.lines(segment, start):
        try:
            line = chains.parse(content)
            chains.follows(line, end.seq, end.hash)
        except BrokenLineError:
            break
        end = Head(line.seq, line.hash, segment.name, place.start, place.end)
    return end


def _sorted(value: object) -> bytes:
    return msgspec.json.encode(value, order="sorted")


def _canonical_rows(rows: Sequence[object]) -> bytearray:
    """Encode some rows at a time: a page of them as objects takes many times its text's memory."""
    text = bytearray(b"[")
    for at in range(0, len(rows), _CHECKED_AT_ONCE):
        raw = _sorted(rows[at : at + _CHECKED_AT_ONCE])
        plain = msgspec.json.decode(raw)
        # JSON has line ends between its words only.
        text += (_sorted(plain) if b"\n" in raw or b"\r" in raw else raw)[1:-1]
        text += b","
    if rows:
        text.pop()
    text += b"]"
    return text


def _write(descriptor: int, parts: list[bytes]) -> None:
    if sum(map(len, parts)) <= _WRITTEN_AT_ONCE:
        parts = [b"".join(parts)]
    for part in parts:
        view = memoryview(part)
        while view:
            view = view[os.write(descriptor, view) :]
