"""Events of the recording itself: what went, what a restart mended, and what others rest on."""

from __future__ import annotations

from typing import Any

import msgspec


class RemovedSegment(msgspec.Struct, frozen=True, kw_only=True):
    """One segment that retention took away, and the last record that it held."""

    chain: str
    segment: str
    records: int
    last_seq: int
    last_hash: str


class RetentionBody(msgspec.Struct, frozen=True, kw_only=True):
    """`retention`: what was purged or archived, and for every chain where it begins since.

    `floors` maps a chain to the last record that is gone from it by retention, now or earlier, so
    that the newest such event alone explains every missing beginning.
    """

    action: str = ""
    removed: tuple[RemovedSegment, ...] = ()
    floors: dict[str, tuple[int, str]] = {}


class RecoveredBody(msgspec.Struct, frozen=True, kw_only=True):
    """`recovered`: a restart cut an unacknowledged torn end, or left a broken chain alone.

    `cut_bytes` counts what was cut from `segment`; `problem` says why `chain` was left alone.
    """

    chain: str = ""
    segment: str = ""
    cut_bytes: int = 0
    problem: str = ""


class SchemaBody(msgspec.Struct, frozen=True, kw_only=True):
    """`schema`: a table, view or routine as decisions saw it, named by `digest`.

    `kind` is `table` or `routine`; `object` are all of its fields (`keystile.model.schema`). It is
    written before the first intent that rests on it, once a day by each process.
    """

    digest: str = ""
    kind: str = ""
    object: dict[str, Any] = {}
