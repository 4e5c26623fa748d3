"""Where something stands in a text, and where that is in the text that this one was made from.

A place is a 1-based line and a 1-based column. Ours count characters, so that the text found there
begins with what is meant; those in the engine's words count a tab as up to the next multiple of
eight, as BigQuery's do. A carriage return ends a line as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from keystile.model.errors import InvalidQueryError, KeystileError
from keystile.model.facts import Opaque

_LINE_END = re.compile(r"\r\n|\r|\n")
_IN_WORDS = re.compile(r"\[(?:at )?(\d+):(\d+)\]")
_PLAIN, _ENGINE = 1, 8


class Translation:
    """Says the places of one text as those of the text that it was made from."""

    def __init__(self, sql: str, original: str, moved: Callable[[int], int]) -> None:
        """Let `moved` give the byte of `original` that a byte of `sql` comes from."""
        self._sql = sql
        self._original = original
        self._moved = moved

    def error(self, error: KeystileError) -> KeystileError:
        """Give the same error with its places translated, those in the engine's words too."""
        if isinstance(error, InvalidQueryError):
            error = InvalidQueryError(self.words(error.message), hint=error.hint, place=error.place)
        return error.at(self.place(*error.place))

    def opaque(self, found: Iterable[Opaque]) -> tuple[Opaque, ...]:
        """Translate the places of what is not understood; one without a place stays without."""
        return tuple(
            msgspec.structs.replace(one, **self.place(one.line, one.column)._asdict())
            for one in found
        )

    def place(self, line: int, column: int) -> Place:
        """Translate a place; zeros stay zeros."""
        return self._place(line, column, _PLAIN) if line else Place(0, 0)

    def words(self, words: str) -> str:
        """Translate the places that stand in the engine's words."""
        return _IN_WORDS.sub(
            lambda found: "[{}:{}]".format(*self._place(int(found[1]), int(found[2]), _ENGINE)),
            words,
        )

    def _place(self, line: int, column: int, tab: int) -> Place:
        offset = self._moved(_offset(self._sql, Place(line, column), tab))
        return _place(self._original, offset, tab)


class Place(NamedTuple):
    """A 1-based line and a 1-based column."""

    line: int
    column: int


def line_and_column(sql: str, offset: int) -> Place:
    """Turn a byte offset into a line and a column in characters."""
    return _place(sql, offset, _PLAIN)


def in_engine_words(sql: str, offset: int) -> str:
    """Write the place of a byte offset as the engine does: `[1:9]`."""
    return "[{}:{}]".format(*engine_place(sql, offset))


def engine_place(sql: str, offset: int) -> Place:
    """Turn a byte offset into a line and a column as the engine counts them."""
    return _place(sql, offset, _ENGINE)


def engine_places(sql: str, offsets: Iterable[int]) -> dict[int, Place]:
    """Do the same with many offsets of one text, in one pass over it."""
    data, found = sql.encode(), dict[int, Place]()
    at, line, width, before = 0, 1, 0, ""
    for offset in sorted(set(offsets)):
        for character in data[at:offset].decode("utf-8", "ignore"):
            if character not in "\r\n":
                width += _step(width, character, _ENGINE)
            elif (before, character) != ("\r", "\n"):
                line, width = line + 1, 0
            before = character
        at = offset
        found[offset] = Place(line, width + 1)
    return found


def _place(sql: str, offset: int, tab: int) -> Place:
    before = sql.encode()[:offset].decode("utf-8", "ignore")
    lines = before.count("\n") + before.count("\r") - before.count("\r\n")
    start = max(before.rfind("\n"), before.rfind("\r")) + 1
    return Place(lines + 1, _width(before[start:], tab) + 1)


def _offset(sql: str, place: Place, tab: int) -> int:
    starts = [0, *(end.end() for end in _LINE_END.finditer(sql))]
    index = starts[min(place.line, len(starts)) - 1]
    width = 0
    while index < len(sql) and width < place.column - 1:
        width += _step(width, sql[index], tab)
        index += 1
    return len(sql[:index].encode())


def _width(text: str, tab: int) -> int:
    if tab == _PLAIN:
        return len(text)
    width = 0
    for character in text:
        width += _step(width, character, tab)
    return width


def _step(width: int, character: str, tab: int) -> int:
    return tab - width % tab if character == "\t" else 1
