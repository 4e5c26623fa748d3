"""Check that a recording is whole: nothing edited, removed, put in another order or cut off."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from keystile.recording import chain as chains
from keystile.recording.chain import FIRST_PREV, BrokenLineError, Head
from keystile.recording.events import Event, EventKind
from keystile.recording.index import Witness, witnesses
from keystile.recording.own_events import RetentionBody


class Problem(msgspec.Struct, frozen=True):
    """The first broken place of a chain. `line` counts from 1 in `segment`; 0 for no one line."""

    segment: str
    line: int
    what: str


class ChainReport(msgspec.Struct, frozen=True):
    """What was found of one chain.

    Records up to `removed` were taken by retention. `last_seq` and `last_hash` are the newest
    intact record; kept elsewhere, they witness that the chain was not cut since.
    `unacknowledged_bytes` at the end were being written, or were left by a crash.
    """

    chain: str
    segments: int
    records: int
    removed: int
    last_seq: int
    last_hash: str
    unacknowledged_bytes: int
    problem: Problem | None


class Verification(msgspec.Struct, frozen=True):
    """What was found of a whole recording folder."""

    chains: tuple[ChainReport, ...]

    @property
    def intact(self) -> bool:
        """Whether every chain is whole."""
        return all(report.problem is None for report in self.chains)


class _Walk:
    """Reads one chain from its beginning to its end or its first broken place."""

    def __init__(self, path: Path, witness: Witness | None) -> None:
        self.path = path
        # The head is read first: what it promises must stand in what is read after it.
        self.head = chains.read_head(path)
        self.witness = witness
        self.segments = chains.segments(path)
        self.records = self.seq = self.unacknowledged = 0
        self.hash = FIRST_PREV
        self.begins_after = (0, FIRST_PREV)
        self.floors: set[tuple[str, int, str]] = set()
        self.problem: Problem | None = None

    def run(self, progress: Callable[[int], None]) -> None:
        for segment in self.segments:
            self._segment(segment)
            if self.problem:
                return
            progress(segment.stat().st_size)
        head = self.head
        if head is None:
            self._broken("", 0, "its head is missing or unreadable, so its end is unproved")
        elif self.seq < head.seq:
            self._broken("", 0, f"it ends with record {self.seq}, but {head.seq} was acknowledged")
        elif self.witness and self.seq < self.witness.seq:
            known = self.witness.seq
            self._broken("", 0, f"it ends with record {self.seq}, but the index has seen {known}")

    def _segment(self, segment: Path) -> None:
        end, number = 0, 0
        for place, content in chains.lines(segment):
            number = place.number
            try:
                self._line(segment, place.number, content)
            except BrokenLineError as error:
                if not self._is_past_head():
                    self._broken(segment.name, place.number, error.reason)
                    return
                break
            end = place.end
        rest = segment.stat().st_size - end
        if rest and not self._is_past_head():
            self._broken(segment.name, number + 1, "it ends in the middle of a record")
        else:
            self.unacknowledged += rest

    def _is_past_head(self) -> bool:
        """Tell whether all that was acknowledged has been met, so that the rest proves nothing."""
        return self.head is not None and self.seq >= self.head.seq

    def _line(self, segment: Path, number: int, content: bytes) -> None:
        line = chains.parse(content)
        if number == 1 and line.seq != chains.segment_seq(segment):
            raise BrokenLineError("the segment's name does not fit its first record")
        if self.records == 0:
            self.seq, self.hash = self.begins_after = (line.seq - 1, line.prev)
        chains.follows(line, self.seq, self.hash)
        for known in (self.head, self.witness):
            if known and known.seq == line.seq and known.hash != line.hash:
                who = "acknowledged" if isinstance(known, Head) else "seen by the index"
                raise BrokenLineError(f"it is not the record {line.seq} that was {who}")
        self.records, self.seq, self.hash = self.records + 1, line.seq, line.hash
        if b'"kind":"retention"' in bytes(line.event):
            self._note_floors(bytes(line.event))

    def _note_floors(self, content: bytes) -> None:
        event = msgspec.json.decode(content, type=Event)
        if event.kind is EventKind.RETENTION:
            body = msgspec.convert(event.body, RetentionBody)
            self.floors |= {(chain, *floor) for chain, floor in body.floors.items()}
            # A crash may have stopped the deletion after any of these.
            self.floors |= {(one.chain, one.last_seq, one.last_hash) for one in body.removed}

    def _broken(self, segment: str, line: int, what: str) -> None:
        self.problem = Problem(segment, line, what)

    def check_beginning(self, floors: set[tuple[str, int, str]]) -> None:
        """Check that retention explains what is missing before the first record."""
        begins = self.begins_after
        if begins != (0, FIRST_PREV) and (self.path.name, *begins) not in floors:
            first = self.segments[0].name if self.segments else ""
            self._broken(first, 1, f"no retention explains why records up to {begins[0]} are gone")

    def report(self) -> ChainReport:
        return ChainReport(
            chain=self.path.name,
            segments=len(self.segments),
            records=self.records,
            removed=self.begins_after[0],
            last_seq=self.seq,
            last_hash=self.hash,
            unacknowledged_bytes=self.unacknowledged,
            problem=self.problem,
        )


def verify(folder: Path, progress: Callable[[int], None] = lambda _bytes: None) -> Verification:
    """Read every chain of `folder` from end to end, also while it is written.

    `progress` is told the bytes of each segment read. Raises `OSError` when the folder cannot be
    read.
    """
    known = witnesses(folder)
    walks = [_Walk(path, known.get(path.name)) for path in chains.chains(folder)]
    for walk in walks:
        walk.run(progress)
    floors = set().union(*(walk.floors for walk in walks))
    for walk in walks:
        walk.check_beginning(floors)
    reports = [walk.report() for walk in walks]
    present = {walk.path.name for walk in walks}
    reports += [
        ChainReport(
            chain=chain,
            segments=0,
            records=0,
            removed=0,
            last_seq=0,
            last_hash=FIRST_PREV,
            unacknowledged_bytes=0,
            problem=Problem("", 0, f"the whole chain is gone; the index has seen {witness.seq}"),
        )
        for chain, witness in sorted(known.items())
        if chain not in present
    ]
    return Verification(tuple(reports))
