"""The rows of files to load, each as texts by column or with why it is bad."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from types import ModuleType
from typing import IO, Any

import msgspec

from keystile.model.errors import InvalidRequestError
from keystile.model.schema import Field
from keystile.sandbox.errors import unsupported
from keystile.sandbox.transfer import delimited, detecting
from keystile.sandbox.transfer.delimited import Dialect, Line
from keystile.sandbox.transfer.requests import Load
from keystile.sandbox.transfer.storage import Source
from keystile.sandbox.transfer.values import BadRowError, line_texts, parse_json, record_texts

CSV, JSON, PARQUET = "CSV", "NEWLINE_DELIMITED_JSON", "PARQUET"

MAX_BYTES = 1 << 30
"""A bound on what one file may hold once it is unpacked."""

_GZIP = b"\x1f\x8b"
_ENCODINGS = {
    "UTF-8": "utf-8-sig",
    "ISO-8859-1": "iso-8859-1",
    "UTF-16BE": "utf-16-be",
    "UTF-16LE": "utf-16-le",
    "UTF-32BE": "utf-32-be",
    "UTF-32LE": "utf-32-le",
}
_DELIMITERS = {"\\t": "\t", "tab": "\t"}


class Read(msgspec.Struct, frozen=True):
    """A row of a file: texts by column, or in BigQuery's words what is wrong with it."""

    source: Source
    position: int
    values: dict[str, object] = {}
    problem: str = ""


class Reader:
    """Reads the files of a load job, first for their schema, then for their rows."""

    def __init__(self, asked: Load, sources: Sequence[Source]) -> None:
        """Take a job's options. Raises `UnsupportedError`, `InvalidRequestError`."""
        _check_served(asked)
        self._asked, self._sources = asked, sources
        self._dialect = _dialect(asked)
        self._nulls = asked.null_markers or (asked.null_marker,)
        self._skipped = asked.skip_leading_rows or 0
        if asked.encoding.upper() not in _ENCODINGS:
            raise InvalidRequestError(f"Invalid encoding: {asked.encoding[:40]}")

    def detect(self, known: Sequence[Field]) -> tuple[Field, ...]:
        """Detect the columns; those of `known` names are as they are there.

        Parquet says itself what its columns are: those of the last file by name. Raises
        `InvalidRequestError` where no file has a row, or is in the format that it should be in.
        """
        if self._asked.source_format == PARQUET:
            return self._parquet_fields(known)
        detected = self._json_fields() if self._asked.source_format == JSON else self._csv_fields()
        by_name = {field.name.lower(): field for field in known}
        return tuple(by_name.get(field.name.lower(), field) for field in detected)

    def rows(self, fields: Sequence[Field]) -> Iterator[Read]:
        """Read all rows of all files."""
        for source in self._sources:
            if self._asked.source_format == PARQUET:
                yield from self._parquet_rows(source, fields)
            elif self._asked.source_format == JSON:
                yield from self._json_rows(source, fields)
            else:
                yield from self._csv_rows(source, fields)

    def _json_fields(self) -> tuple[Field, ...]:
        found = []
        for source in self._sources:
            with opened(source) as file:
                for _, line in islice(_json_lines(file), detecting.SAMPLE_ROWS):
                    try:
                        value = parse_json(line)
                    except BadRowError:
                        continue
                    found.append(value)
        rows = [value for value in found[: detecting.SAMPLE_ROWS] if isinstance(value, dict)]
        if not rows:
            raise InvalidRequestError("Schema has no fields.")
        return detecting.json_fields(rows)

    def _json_rows(self, source: Source, fields: Sequence[Field]) -> Iterator[Read]:
        with opened(source) as file:
            for position, line in _json_lines(file):
                try:
                    ignore = self._asked.ignore_unknown_values
                    values = record_texts(parse_json(line), fields, "", ignore_unknown=ignore)
                except BadRowError as error:
                    yield Read(source, position, problem=json_problem(position, str(error)))
                else:
                    yield Read(source, position, values)

    def _parquet_fields(self, known: Sequence[Field]) -> tuple[Field, ...]:
        last = max(self._sources, key=_uri)
        found: tuple[Field, ...] = _parquet().columns(last, self._asked)
        adds = "ALLOW_FIELD_ADDITION" in self._asked.schema_update_options
        if known and self._asked.ignore_unknown_values and not adds:
            names = {field.name.lower() for field in known}
            return tuple(field for field in found if field.name.lower() in names)
        return found

    def _parquet_rows(self, source: Source, fields: Sequence[Field]) -> Iterator[Read]:
        rows = _parquet().rows(source, fields, self._asked, MAX_BYTES)
        for position, row in enumerate(rows):
            if isinstance(row, BadRowError):
                yield Read(source, position, problem=str(row))
            else:
                yield Read(source, position, row)

    def _csv_fields(self) -> tuple[Field, ...]:
        for source in self._sources:
            with opened(source) as file, self._text(file) as text:
                if self._asked.field_delimiter is None:
                    first = next(text, "")
                    guessed = detecting.delimiter_of(first)
                    self._dialect = msgspec.structs.replace(self._dialect, delimiter=guessed)
                    text.seek(0)
                start = max(self._skipped - 1, 0)
                lines = delimited.read(text, self._dialect)
                sample = islice(lines, start, start + detecting.SAMPLE_ROWS)
                rows = [line.values for line in sample if not line.problem]
            if rows:
                return self._columns(rows)
        raise InvalidRequestError("Schema has no fields.")

    def _columns(self, rows: list[tuple[delimited.Value, ...]]) -> tuple[Field, ...]:
        if self._asked.skip_leading_rows == 0:
            return detecting.csv_columns([(), *rows], self._nulls).fields
        columns = detecting.csv_columns(rows, self._nulls)
        if columns.header and not self._skipped:
            self._skipped = 1
        elif not columns.header and self._skipped and len(rows) > 1:
            return detecting.csv_columns([(), *rows[1:]], self._nulls).fields
        return columns.fields

    def _csv_rows(self, source: Source, fields: Sequence[Field]) -> Iterator[Read]:
        with opened(source) as file, self._text(file) as text:
            for line in islice(delimited.read(text, self._dialect), self._skipped, None):
                try:
                    yield Read(source, line.position, self._line(line, fields))
                except BadRowError as error:
                    yield Read(source, line.position, problem=str(error))

    def _line(self, line: Line, fields: Sequence[Field]) -> dict[str, object]:
        if line.problem:
            raise BadRowError(
                f"Error detected while parsing row starting at position: {line.position}. "
                f"Error: {line.problem}"
            )
        found, wanted = len(line.values), len(fields)
        if found > wanted and not self._asked.ignore_unknown_values:
            raise BadRowError(
                f"Too many values in row starting at position: {line.position}. "
                f"Found {found} column(s) while expected {wanted}."
            )
        if found < wanted and not self._asked.allow_jagged_rows:
            raise BadRowError(
                f"CSV table references column position {found}, but line starting at "
                f"position:{line.position} contains only {found} columns."
            )
        return line_texts(line.values, fields, self._nulls)

    def _text(self, file: IO[bytes]) -> io.TextIOWrapper:
        encoding = _ENCODINGS[self._asked.encoding.upper()]
        return io.TextIOWrapper(file, encoding=encoding, errors="replace", newline="")


def _check_served(asked: Load) -> None:
    if asked.source_format not in (CSV, JSON, PARQUET):
        named = f"the source format `{asked.source_format[:40]}`"
        raise unsupported(f"{named}; use CSV, {JSON} or {PARQUET}")
    if asked.decimal_target_types != ("NUMERIC",) and asked.source_format != PARQUET:
        raise unsupported("`decimalTargetTypes` of a file that is not Parquet")
    if asked.parquet_options and asked.parquet_options.enum_as_string:
        raise unsupported("`enumAsString` of `parquetOptions`")


def _parquet() -> ModuleType:
    """Import what reads Parquet when the first such file comes: pyarrow takes half a second."""
    from keystile.sandbox.transfer import parquet  # noqa: PLC0415  # the line above

    return parquet


def _uri(source: Source) -> str:
    return source.uri


def json_problem(position: int, what: str) -> str:
    """Say what is wrong with a row of JSON, and where it starts."""
    return f"JSON parsing error in row starting at position {position}: {what}"


def _dialect(asked: Load) -> Dialect:
    given = asked.field_delimiter or ","
    delimiter = _DELIMITERS.get(given, given)
    if len(delimiter) != 1 or delimiter in '\r\n"' or len(asked.quote) > 1:
        raise InvalidRequestError("`fieldDelimiter` and `quote` are one character each")
    return Dialect(delimiter, asked.quote, asked.allow_quoted_newlines)


def _json_lines(file: Iterable[bytes]) -> Iterator[tuple[int, str]]:
    """Give each line that is not empty and where it starts, in bytes."""
    position = 0
    for line in file:
        text = line.decode("utf-8-sig" if position == 0 else "utf-8", errors="replace")
        if text.strip():
            yield position, text
        position += len(line)


def opened(source: Source) -> IO[bytes]:
    """Open a source to read, unpacked where it is packed with gzip.

    Reading raises `InvalidRequestError` for what cannot be unpacked or is too large then.
    """
    with source.file.open("rb") as file:
        packed = file.read(len(_GZIP)) == _GZIP
    if packed:
        return io.BufferedReader(_Unpacked(gzip.GzipFile(source.file)))
    return source.file.open("rb")


class _Unpacked(io.RawIOBase):
    """What is in a gzip file, up to a bound."""

    def __init__(self, packed: gzip.GzipFile) -> None:
        self._packed, self._read = packed, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._read = 0
        return self._packed.seek(offset, whence)

    def tell(self) -> int:
        return self._packed.tell()

    def close(self) -> None:
        self._packed.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._packed.read(len(buffer))
        except (OSError, EOFError, zlib.error) as error:
            raise InvalidRequestError(
                f"Error while reading data, error message: cannot unpack gzip: {error}"
            ) from error
        self._read += len(data)
        if self._read > MAX_BYTES:
            raise unsupported(f"a file that is larger than {MAX_BYTES} bytes once it is unpacked")
        buffer[: len(data)] = data
        return len(data)
