"""Load jobs: files become rows of a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import msgspec

from keystile.model.errors import InvalidQueryError, InvalidRequestError
from keystile.model.schema import Field, Mode, TableId
from keystile.sandbox.changes import Row, rows_of
from keystile.sandbox.columns import read_columns
from keystile.sandbox.data import Stored, raw_rows
from keystile.sandbox.errors import UnsupportedError
from keystile.sandbox.evaluating import CONVERT, Raw
from keystile.sandbox.queries import Catalog
from keystile.sandbox.table_bodies import with_columns
from keystile.sandbox.transfer.outcome import BadDataInLoadError
from keystile.sandbox.transfer.reading import JSON, PARQUET, Read, Reader, json_problem
from keystile.sandbox.transfer.requests import Load, named_table
from keystile.sandbox.transfer.schemas import merged
from keystile.sandbox.transfer.storage import Source, Storage
from keystile.sandbox.transfer.values import unfit, unparsed
from keystile.sandbox.transfer.writing import Destination, destination, fresh, write
from keystile.wire.responses import Resource
from keystile.wire.schema import field_json

_BATCH_ROWS = 1000
_ERRORS_TOLD = 100
_WHILE = "Error while reading data, error message: "


async def load(
    catalog: Catalog, storage: Storage, project: str, asked: Load, upload: Source | None
) -> tuple[Resource, tuple[Resource, ...]]:
    """Run a load job; give its statistics and what was wrong with the bad rows that were let pass.

    Raises `BadDataInLoadError`, `NotFoundError`, `DuplicateError`, `InvalidRequestError`.
    """
    id_ = named_table(asked.destination_table, project, "destinationTable")
    uris = asked.source_uris
    sources = [upload] if upload else [each for uri in uris for each in storage.sources(uri)]
    to = destination(catalog, id_, asked.create_disposition, asked.write_disposition)
    reader = Reader(asked, sources)
    columns, table = _schema(asked, to, reader)
    batches = _Batches(catalog, asked, columns)
    await batches.run(reader.rows(columns))
    stored = await write(catalog, to, table, columns, batches.rows)
    added = stored.row_count - (to.present.row_count if to.adds and to.present else 0)
    size = sum(stored.sizes.values())
    statistics = {
        "inputFiles": str(len(sources)),
        "inputFileBytes": str(sum(source.file.stat().st_size for source in sources)),
        "outputRows": str(added),
        "outputBytes": str(size * added // max(stored.row_count, 1)),
        "badRecords": str(batches.bad),
    }
    return {"load": statistics}, tuple(batches.errors)


def _schema(asked: Load, to: Destination, reader: Reader) -> tuple[tuple[Field, ...], Stored]:
    """Give the columns of the files and the table as it will be, still with its old rows."""
    present = to.present.fields if to.present else ()
    given = read_columns(asked.schema or {})
    if not given.fields and (asked.autodetect or asked.source_format == PARQUET):
        detected = reader.detect(present if to.keeps_schema else ())
        given = read_columns({"fields": [field_json(field) for field in detected]})
    if not given.fields and not present:
        raise InvalidRequestError("No schema specified on job or table.")
    if not given.fields and to.present:
        return present, to.present
    if to.present is None:
        return given.fields, with_columns(_new(asked, to.id), given)
    if not to.keeps_schema:
        return given.fields, with_columns(to.present, given)
    fields = merged(present, given.fields, asked.schema_update_options, to.id)
    known = {field.name for field in present}
    more = {name: sql for name, sql in given.defaults.items() if name not in known}
    return given.fields, msgspec.structs.replace(
        to.present,
        fields=fields,
        attributes={**given.attributes, **to.present.attributes},
        defaults={**to.present.defaults, **more},
    )


def _new(asked: Load, id_: TableId) -> Stored:
    """Make the table that a load creates, without columns yet."""
    properties = msgspec.to_builtins(asked.destination_table_properties or {})
    description = properties.pop("description", "")
    partitioning = asked.time_partitioning
    details = {
        "timePartitioning": {"type": "DAY", **partitioning} if partitioning else None,
        "rangePartitioning": asked.range_partitioning,
        "clustering": asked.clustering,
        **properties,
    }
    made = fresh(id_, (), {name: value for name, value in details.items() if value})
    return msgspec.structs.replace(made, description=description)


class _Batches:
    """Turns rows of texts into values, some at a time, and counts the bad ones."""

    def __init__(self, catalog: Catalog, asked: Load, columns: tuple[Field, ...]) -> None:
        self._catalog, self._asked, self._columns = catalog, asked, columns
        self._types = tuple(field.sql_type for field in columns)
        self._seen = 0
        self.rows: list[Row] = []
        self.bad = 0
        self.errors: list[Resource] = []

    async def run(self, reads: Iterator[Read]) -> None:
        while batch := list(islice(reads, _BATCH_ROWS)):
            self._seen += len(batch)
            for read in batch:
                if read.problem:
                    self._add(read, read.problem)
            await self._convert([read for read in batch if not read.problem])

    async def _convert(self, reads: Sequence[Read]) -> None:
        """Cast a batch; where that fails, halve it until the bad rows stand alone."""
        if not reads:
            return
        try:
            self.rows += await self._values(reads, self._columns)
        except InvalidQueryError as error:
            if len(reads) == 1:
                if isinstance(error, UnsupportedError):
                    raise
                self._add(reads[0], await self._reason(reads[0], error))
                return
            half = len(reads) // 2
            await self._convert(reads[:half])
            await self._convert(reads[half:])

    async def _values(self, reads: Sequence[Read], columns: tuple[Field, ...]) -> list[Row]:
        raw = raw_rows([read.values for read in reads], columns, "the file")
        types = tuple(field.sql_type for field in columns)
        return rows_of(await self._catalog.run(CONVERT, Raw(types, raw)))

    async def _reason(self, read: Read, error: InvalidQueryError) -> str:
        """Find the column that does not fit and say so."""
        for at, field in enumerate(self._columns):
            try:
                await self._values([read], (field,))
            except InvalidQueryError:
                text = str(read.values.get(field.name))
                plain = field.type != "STRUCT" and field.mode is not Mode.REPEATED
                if self._asked.source_format == JSON:
                    said = f"{error.message} Field: {field.name}"
                    said = unfit(field, field.name, text) if plain else said
                    return json_problem(read.position, said)
                return unparsed(field, at, text)
        return error.message

    def _add(self, read: Read, problem: str) -> None:
        self.bad += 1
        if len(self.errors) < _ERRORS_TOLD:
            self.errors.append(_problem(_WHILE + problem, read.source))
        if self.bad <= self._asked.max_bad_records:
            return
        word = "JSON" if self._asked.source_format == JSON else self._asked.source_format
        counts = f"Rows: {self._seen}; errors: {self.bad}"
        said = (
            f"{_WHILE}{word} table encountered too many errors, giving up. {counts}. "
            "Please look into the errors[] collection for more details."
        )
        limit = f"max bad: {self._asked.max_bad_records}; error percent: 0"
        also = (
            f"{_WHILE}{word} processing encountered too many errors, giving up. {counts}; {limit}"
        )
        errors = (_problem(said, read.source), _problem(also))
        raise BadDataInLoadError(said, (*errors, *self.errors))


def _problem(message: str, source: Source | None = None) -> Resource:
    problem: Resource = {"reason": "invalid", "message": message}
    return {**problem, "location": source.uri} if source and source.uri else problem
