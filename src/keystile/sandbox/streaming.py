"""tabledata.insertAll: rows of JSON put into a table at once.

Source of fact: `TableDataInsertAllRequest` and `TableDataInsertAllResponse` of the API.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from keystile.model.errors import InvalidQueryError, InvalidRequestError
from keystile.model.schema import Field, Mode, TableId, TableKind
from keystile.sandbox.asks import Ask
from keystile.sandbox.changes import Row, rows_of
from keystile.sandbox.data import Stored, raw_rows
from keystile.sandbox.errors import UnsupportedError, unsupported
from keystile.sandbox.evaluating import CONVERT, Raw
from keystile.sandbox.queries import Catalog
from keystile.sandbox.transfer.values import BadRowError, parse_json, record_texts
from keystile.sandbox.transfer.writing import destination, write
from keystile.wire.jsonbody import parse_object
from keystile.wire.responses import Resource
from keystile.wire.streaming import MAX_BYTES, MAX_ROWS

_REMEMBERED_SECONDS = 60.0
_KNOWN = frozenset(("ignoreUnknownValues", "kind", "rows", "skipInvalidRows", "traceId"))


class _Read(msgspec.Struct, frozen=True):
    """A row of the request: its texts, or what is wrong with it and in which column.

    `without` are the columns with a default that it does not name.
    """

    index: int
    id: str
    texts: dict[str, object] = {}
    without: frozenset[str] = frozenset()
    problem: str = ""
    location: str = ""


class Streams:
    """Takes rows in, and for a while remembers the ids of those that came."""

    def __init__(self, catalog: Catalog) -> None:
        """Write into the tables of `catalog`."""
        self._catalog = catalog
        self._seen: dict[tuple[TableId, str], float] = {}

    async def insert(self, ask: Ask, id_: TableId) -> Resource:
        """Answer one request: the rows that are wrong, and why.

        Raises `InvalidRequestError` for a request that is wrong as a whole, `NotFoundError`.
        """
        given = _checked(ask.body)
        async with self._catalog.changing:
            stored = self._catalog.store.table(id_)
            if stored.kind is not TableKind.TABLE:
                raise InvalidRequestError(
                    f"Cannot add rows to a table of type {stored.kind.value}."
                )
            if not stored.fields:
                raise InvalidRequestError("The destination table has no schema.")
            ignore = given.get("ignoreUnknownValues") is True
            items = list(enumerate(given["rows"]))
            reads = [_read(at, item, stored, ignore_unknown=ignore) for at, item in items]
            good, bad = await self._converted([read for read in reads if not read.problem], stored)
            bad += [read for read in reads if read.problem]
            if bad and given.get("skipInvalidRows") is not True:
                return _answer(bad, [read for read, _ in good])
            await self._put(id_, good)
        return _answer(bad, [])

    async def _converted(
        self, reads: Sequence[_Read], stored: Stored
    ) -> tuple[list[tuple[_Read, Row]], list[_Read]]:
        """Cast rows; where that fails, halve them until the bad ones stand alone."""
        if not reads:
            return [], []
        try:
            rows = await self._values(reads, stored.fields)
        except InvalidQueryError as error:
            if isinstance(error, UnsupportedError):
                raise
            if len(reads) == 1:
                return [], [await self._explained(reads[0], stored.fields, error)]
            half = len(reads) // 2
            good, bad = await self._converted(reads[:half], stored)
            more, worse = await self._converted(reads[half:], stored)
            return good + more, bad + worse
        return list(zip(reads, rows, strict=True)), []

    async def _values(self, reads: Sequence[_Read], fields: Sequence[Field]) -> list[Row]:
        raw = raw_rows([read.texts for read in reads], tuple(fields), "the request")
        types = tuple(field.sql_type for field in fields)
        return rows_of(await self._catalog.run(CONVERT, Raw(types, raw)))

    async def _explained(
        self, read: _Read, fields: Sequence[Field], error: InvalidQueryError
    ) -> _Read:
        for field in fields:
            try:
                await self._values([read], (field,))
            except InvalidQueryError as inner:
                said = f"{inner.message}. Field: {field.name}; Value: {read.texts[field.name]}"
                return msgspec.structs.replace(read, problem=said, location=field.name)
        return msgspec.structs.replace(read, problem=error.message)

    async def _put(self, id_: TableId, good: Sequence[tuple[_Read, Row]]) -> None:
        """Add rows, but for those whose id came lately; the same id twice is one row."""
        now = time.monotonic()
        self._seen = {key: at for key, at in self._seen.items() if now - at < _REMEMBERED_SECONDS}
        groups: dict[frozenset[str], list[Row]] = {}
        for read, row in good:
            if read.id and (id_, read.id) in self._seen:
                continue
            if read.id:
                self._seen[id_, read.id] = now
            groups.setdefault(read.without, []).append(row)
        for without, rows in groups.items():
            to = destination(self._catalog, id_, "CREATE_NEVER", "WRITE_APPEND")
            stored = self._catalog.store.table(id_)
            kept = [at for at, field in enumerate(stored.fields) if field.name not in without]
            columns = [stored.fields[at] for at in kept]
            await write(
                self._catalog, to, stored, columns, [[row[at] for at in kept] for row in rows]
            )


def _checked(body: bytes) -> dict[str, Any]:
    given = parse_object(body, MAX_BYTES)
    if given.get("templateSuffix"):
        raise unsupported("`templateSuffix`; make the table first and name it")
    for name in given:
        if name not in _KNOWN | {"templateSuffix"}:
            raise InvalidRequestError(
                f'Invalid JSON payload received. Unknown name "{name[:100]}": Cannot find field.'
            )
    # Once more with numbers as they are written: no digit of a NUMERIC is lost.
    read: Any = parse_json(body.decode())
    rows = read.get("rows")
    if not isinstance(rows, list) or not rows:
        raise InvalidRequestError("No rows present in the request.")
    if len(rows) > MAX_ROWS:
        raise InvalidRequestError(f"too many rows present in the request, limit: {MAX_ROWS}")
    if not all(isinstance(row, dict) and isinstance(row.get("json"), dict) for row in rows):
        raise InvalidRequestError("each of `rows` must be an object whose `json` is the row")
    return {**given, "rows": rows}


def _read(at: int, item: dict[str, Any], stored: Stored, *, ignore_unknown: bool) -> _Read:
    given = item["json"]
    read = _Read(at, str(item.get("insertId") or ""))
    fields = {field.name.lower(): field for field in stored.fields}
    named = {name.lower(): value for name, value in given.items()}
    unknown = [name for name in given if name.lower() not in fields]
    if unknown and not ignore_unknown:
        problem, location = f"no such field: {unknown[0]}.", unknown[0]
        return msgspec.structs.replace(read, problem=problem, location=location)
    without = frozenset(name for name in stored.defaults if name.lower() not in named)
    texts: dict[str, object] = {}
    for name, field in fields.items():
        one = {field.name: _parsed(named[name], field)} if name in named else {}
        if field.name in without:
            texts[field.name] = None
            continue
        try:
            texts |= record_texts(one, (field,), "", ignore_unknown=ignore_unknown)
        except BadRowError as error:
            return msgspec.structs.replace(read, problem=str(error), location=field.name)
    return msgspec.structs.replace(read, texts=texts, without=without)


def _parsed(value: Any, field: Field) -> Any:
    """Read the texts in JSON columns: what is streamed into them is JSON in a text."""
    if field.mode is Mode.REPEATED and isinstance(value, list):
        one = msgspec.structs.replace(field, mode=Mode.NULLABLE)
        return [_parsed(item, one) for item in value]
    if field.type == "JSON" and type(value) is str:
        try:
            return parse_json(value)
        except BadRowError:
            return value
    if field.type == "STRUCT" and isinstance(value, dict):
        inner = {part.name.lower(): part for part in field.fields}
        return {
            name: _parsed(item, inner[name.lower()]) if name.lower() in inner else item
            for name, item in value.items()
        }
    return value


def _answer(bad: Sequence[_Read], stopped: Sequence[_Read]) -> Resource:
    answer: Resource = {"kind": "bigquery#tableDataInsertAllResponse"}
    errors = {read.index: _error("invalid", read.location, read.problem) for read in bad}
    errors |= {read.index: _error("stopped", "", "") for read in stopped}
    if errors:
        answer["insertErrors"] = [
            {"index": index, "errors": [errors[index]]} for index in sorted(errors)
        ]
    return answer


def _error(reason: str, location: str, message: str) -> Resource:
    return {"reason": reason, "location": location, "debugInfo": "", "message": message}
