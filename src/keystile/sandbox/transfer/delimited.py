"""CSV as BigQuery reads and writes it.

Python's own reader cannot tell `""`, an empty text, from nothing at all, which is NULL.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

_CLOSED_TWICE = 'Data between close double quote (") and field separator.'
_NO_TEXT = "Bad character (ASCII 0) encountered."
_NOT_CLOSED = 'Missing close double quote (") character.'


class Dialect(msgspec.Struct, frozen=True):
    """How a CSV file is written. An empty `quote` quotes nothing."""

    delimiter: str = ","
    quote: str = '"'
    quoted_newlines: bool = False


class Value(msgspec.Struct, frozen=True):
    """One value of a line and whether it stood in quotes."""

    text: str
    quoted: bool = False


class Line(msgspec.Struct, frozen=True):
    """One record: where it starts, in bytes of UTF-8; its values, or why it has none."""

    position: int
    values: tuple[Value, ...] = ()
    problem: str = ""


class _BrokenError(Exception):
    pass


def read(text: Iterable[str], dialect: Dialect) -> Iterator[Line]:
    """Read records from lines that still have their line ends (`newline=""`). Empty ones go."""
    lines, position = iter(text), 0
    for line in lines:
        record = [line]
        start, position = position, position + len(line.encode())
        if not line.rstrip("\r\n"):
            continue
        try:
            values = tuple(_values(record, lines, dialect))
        except _BrokenError as error:
            yield Line(start, problem=str(error))
        else:
            bad = any("\0" in each for each in record)
            yield Line(start, problem=_NO_TEXT) if bad else Line(start, values)
        position += sum(len(more.encode()) for more in record[1:])


def _values(record: list[str], lines: Iterator[str], dialect: Dialect) -> Iterator[Value]:
    """Cut a record. A quoted value may take further lines, which are added to the record."""
    line, at = record[0].rstrip("\r\n"), 0
    while True:
        if dialect.quote and line.startswith(dialect.quote, at):
            value, line, at = _quoted(record, lines, dialect, at + len(dialect.quote))
            yield Value(value, quoted=True)
            if at < len(line) and not line.startswith(dialect.delimiter, at):
                raise _BrokenError(_CLOSED_TWICE)
        else:
            end = line.find(dialect.delimiter, at)
            value, at = line[at : end if end >= 0 else None], end if end >= 0 else len(line)
            yield Value(value)
        if at >= len(line):
            return
        at += len(dialect.delimiter)


def _quoted(
    record: list[str], lines: Iterator[str], dialect: Dialect, at: int
) -> tuple[str, str, int]:
    """Read a quoted value from behind its quote; give it, the line it ends in and where."""
    quote, parts, raw = dialect.quote, [], record[-1]
    while True:
        end = raw.find(quote, at)
        if end < 0:
            parts.append(raw[at:])
            raw, at = next(lines, "") if dialect.quoted_newlines else "", 0
            if not raw:
                raise _BrokenError(_NOT_CLOSED)
            record.append(raw)
        elif raw.startswith(quote, end + len(quote)):
            parts.append(raw[at : end + len(quote)])
            at = end + 2 * len(quote)
        else:
            parts.append(raw[at:end])
            return "".join(parts), raw.rstrip("\r\n"), end + len(quote)


def written(values: Sequence[str | None], delimiter: str) -> str:
    """Write a record as BigQuery's extract jobs do: NULL is nothing, an empty text is `""`."""
    return delimiter.join(_written(value, delimiter) for value in values) + "\n"


def _written(value: str | None, delimiter: str) -> str:
    if value is None:
        return ""
    special = (delimiter, '"', "\n", "\r")
    if value and value.strip() == value and not any(each in value for each in special):
        return value
    return '"' + value.replace('"', '""') + '"'
