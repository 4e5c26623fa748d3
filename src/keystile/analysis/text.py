"""Small edits of SQL text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Edit(NamedTuple):
    """Put `text` in the place of a byte range of the UTF-8 text."""

    start: int
    end: int
    text: str


def splice(sql: str, edits: Iterable[Edit]) -> str:
    """Make all edits at once. INVARIANT: their ranges do not overlap."""
    data = sql.encode()
    for start, end, text in sorted(edits, reverse=True):
        data = data[:start] + text.encode() + data[end:]
    return data.decode()


def quoted(name: str) -> str:
    """Write an identifier in backticks."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
