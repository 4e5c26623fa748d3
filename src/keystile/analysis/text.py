"""Small edits of SQL text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from keystile.model.schema import SqlType


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


def unspliced(offset: int, edits: Iterable[Edit]) -> int:
    """Give the byte of the text before `edits` that a byte of the text after them comes from.

    What an edit has put in comes from the beginning of what it took out.
    """
    grown = 0
    for start, end, text in sorted(edits):
        size = len(text.encode())
        if offset < start + grown + size:
            return min(start, offset - grown)
        grown += size - (end - start)
    return offset - grown


def quoted(name: str) -> str:
    """Write an identifier in backticks."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def written(type_: SqlType) -> str:
    """Write a type with its field names in backticks."""
    if type_.kind == "STRUCT":
        fields = (
            f"{quoted(name) if name else ''} {written(inner)}".lstrip()
            for name, inner in type_.fields
        )
        return f"STRUCT<{', '.join(fields)}>"
    return f"{type_.kind}<{written(type_.element)}>" if type_.element else type_.kind
