"""The hash chain: what one line of a segment holds, and the files that hold the lines.

A recording folder has one folder for each chain; a chain has segments and a `head`. Every segment
is named `{first seq}-{UTC day}.jsonl`; its lines are `{"seq","prev","hash","event"}`. `hash` is the
SHA-256, in hex, of `prev`, a newline, `seq` in decimals, a newline and the event's bytes as they
stand in the line; `prev` is the hash of the line before, over segment borders too.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

FIRST_PREV = "0" * 64
_SEGMENT = re.compile(r"(\d{12})-(\d{4}-\d{2}-\d{2})\.jsonl")
_HEAD_BYTES = 512
_PLACE = b"{}"


class BrokenLineError(Exception):
    """A line that is not what the writer wrote. `reason` says why in a few words."""

    def __init__(self, reason: str) -> None:
        """Keep the reason."""
        super().__init__(reason)
        self.reason = reason


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of a segment. `event` stays as bytes, since the hash is over them."""

    seq: int
    prev: str
    hash: str
    event: msgspec.Raw


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The newest acknowledged record: where its line starts and ends, in bytes, in `segment`.

    INVARIANT: written after the line is durable and before its append returns, so a chain that
    holds less than its head has been cut.
    """

    seq: int = 0
    hash: str = FIRST_PREV
    segment: str = ""
    start: int = 0
    end: int = 0


class Place(NamedTuple):
    """A line of a segment file: its 1-based number and its bytes' range, newline included."""

    number: int
    start: int
    end: int


_decode_line = msgspec.json.Decoder(Line).decode
_decode_head = msgspec.json.Decoder(Head).decode


def link(seq: int, prev: str, event: bytes) -> tuple[tuple[bytes, ...], str]:
    """Make the line that follows `prev`, newline included, and its hash.

    The line comes in parts, since an event of many megabytes should not be copied.
    """
    digest = _hash(seq, prev, event)
    around = msgspec.json.encode(Line(seq, prev, digest, msgspec.Raw(_PLACE)))
    return (around.removesuffix(_PLACE + b"}"), event, b"}\n"), digest


def parse(line: bytes) -> Line:
    """Read one line without its newline and check its hash.

    Raises `BrokenLineError`. Whether it follows the line before is the caller's to check.
    """
    try:
        parsed = _decode_line(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BrokenLineError("it is not a line of a recording") from error
    event = bytes(parsed.event)
    if _hash(parsed.seq, parsed.prev, event) != parsed.hash:
        raise BrokenLineError("its hash does not fit its content")
    if msgspec.json.encode(parsed) != line:
        raise BrokenLineError("it is not spelled as the writer spells it")
    return parsed


def lines(segment: Path, start: int = 0) -> Iterator[tuple[Place, bytes]]:
    """Give every whole line from byte `start`, without newlines; a torn end is left out."""
    with segment.open("rb") as file:
        file.seek(start)
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            yield Place(number, start, start + len(line)), line[:-1]
            start += len(line)


def follows(line: Line, seq: int, prev: str) -> None:
    """Check that `line` comes right after record `seq` with hash `prev`.

    Raises `BrokenLineError`.
    """
    if line.seq != seq + 1:
        raise BrokenLineError(f"it has number {line.seq} where {seq + 1} belongs")
    if line.prev != prev:
        raise BrokenLineError("it does not continue the record before it")


def chains(folder: Path) -> list[Path]:
    """List the chain folders of a recording folder, by name."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and segments_or_head(path))


def segments(chain: Path) -> list[Path]:
    """List a chain's segments, oldest first."""
    return sorted(path for path in chain.iterdir() if _SEGMENT.fullmatch(path.name))


def segments_or_head(chain: Path) -> bool:
    """Tell whether a folder is a chain."""
    return (chain / "head").exists() or bool(segments(chain))


def segment_name(first_seq: int, day: str) -> str:
    """Name a segment by its first record and its UTC day (`YYYY-MM-DD`); names sort by age."""
    return f"{first_seq:012d}-{day}.jsonl"


def segment_seq(segment: Path) -> int:
    """Give the number of the first record that the segment's name promises."""
    return int(segment.name[:12])


def segment_day(segment: Path) -> str:
    """Give the UTC day (`YYYY-MM-DD`) on which the segment was written."""
    return segment.name[13:23]


def write_head(descriptor: int, head: Head) -> None:
    """Overwrite the head in place, in one write of one disk sector. Raises `OSError`."""
    os.pwrite(descriptor, msgspec.json.encode(head).ljust(_HEAD_BYTES - 1) + b"\n", 0)


def read_head(chain: Path) -> Head | None:
    """Read a chain's head; None when it is missing or unreadable.

    A writer may overwrite it meanwhile, so it counts only when read twice alike.
    """
    before = b""
    for _ in range(100):
        try:
            found = (chain / "head").read_bytes()
        except OSError:
            return None
        if found == before:
            break
        before = found
    try:
        return _decode_head(before)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Raises `OSError`."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _hash(seq: int, prev: str, event: bytes) -> str:
    digest = hashlib.sha256(b"%b\n%d\n" % (prev.encode(), seq))
    digest.update(event)
    return digest.hexdigest()
