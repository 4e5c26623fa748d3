"""The data folder: `DIR/<project>/<dataset>/<table>.schema.json` beside `<table>.ndjson`.

A view is `<view>.view.sql`. A schema file is BigQuery's own schema JSON: a list of fields, or an
object with `fields`, a `description` and the `timePartitioning` of BigQuery's table resource. Rows
are newline-delimited JSON as BigQuery loads it; those of a table that is partitioned by ingestion
time may say their `_PARTITIONTIME`. A routine is BigQuery's `<routine>.routine.json`. Jobs
load from and extract to `DIR/_storage/<bucket>/<object>` as `gs://<bucket>/<object>`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from keystile.googlesql.messages import service
from keystile.model.errors import InvalidRequestError
from keystile.model.schema import Field, Mode, TableId, TableKind
from keystile.sandbox.cells import stored_value
from keystile.sandbox.errors import BadDataError, UnsupportedError
from keystile.sandbox.routines import Routine, routine_from_json
from keystile.sandbox.sizes import logical_bytes
from keystile.wire.responses import etag
from keystile.wire.schema import fields_from_json

STORAGE = "_storage"
"""The folder of buckets; no project has such a name."""

_SCHEMA = ".schema.json"
_VIEW = ".view.sql"
_ROUTINE = ".routine.json"
_PARTITION_TIME = "_PARTITIONTIME"


class Stored(msgspec.Struct, frozen=True):
    """A table or a view.

    `raw` are its rows as a serialized `TableContent` with text leaves, each led by its number;
    `content`, where it is set, the rows as values. Both hold the `hidden` pseudo columns last.
    `sizes` are logical bytes by column. Times are in seconds since 1970. The fields of a view are
    what was noted of its columns, none or all, until its query has been described; `view_columns`
    rename them. `details` are parts of its resource as they stand (`timePartitioning`, `labels` …),
    `attributes` the same by the path of a field (`maxLength` …), `defaults` SQL by column.
    """

    id: TableId
    kind: TableKind
    etag: str
    modified: float
    fields: tuple[Field, ...] = ()
    description: str = ""
    view_query: str = ""
    raw: bytes = b""
    row_count: int = 0
    sizes: dict[str, int] = {}
    content: bytes | None = None
    created: float = 0
    hidden: tuple[Field, ...] = ()
    details: dict[str, object] = {}
    attributes: dict[str, dict[str, object]] = {}
    defaults: dict[str, str] = {}
    view_columns: tuple[str, ...] = ()

    @property
    def base(self) -> TableId | None:
        """The table that this one is a snapshot or a clone of."""
        for name in ("snapshotDefinition", "cloneDefinition"):
            if isinstance(found := self.details.get(name), dict):
                base = found["baseTableReference"]
                return TableId(base["projectId"], base["datasetId"], base["tableId"])
        return None

    @property
    def expires(self) -> float:
        """When it goes, in seconds since 1970; infinite where it stays."""
        until = self.details.get("expirationTime")
        return int(str(until)) / 1000 if until else float("inf")


class Folder(msgspec.Struct, frozen=True):
    """All that the folder holds. `datasets` are pairs of project and name, some without tables."""

    datasets: tuple[tuple[str, str], ...]
    tables: Mapping[TableId, Stored]
    routines: Mapping[TableId, Routine] = {}


def read_folder(folder: Path) -> Folder:
    """Read all of it. Raises `BadDataError` naming the file and what is wrong."""
    if not folder.is_dir():
        raise BadDataError(
            f"the data folder `{folder}` does not exist",
            hint="make it, or let --sample fill it with the sample data",
        )
    found_paths = sorted(folder.glob("*/*"))
    datasets = [path for path in found_paths if path.is_dir() and path.parent.name != STORAGE]
    found = [
        _view(path) if path.name.endswith(_VIEW) else _table(path)
        for dataset in datasets
        for path in sorted(dataset.iterdir())
        if path.name.endswith((_SCHEMA, _VIEW))
    ]
    tables = {stored.id: stored for stored in found}
    if len(tables) != len(found):
        raise BadDataError(f"`{folder}` has a table and a view of one name")
    files = [file for dataset in datasets for file in sorted(dataset.glob(f"*{_ROUTINE}"))]
    return Folder(
        tuple((path.parent.name, path.name) for path in datasets),
        tables,
        {routine.id: routine for routine in map(_routine, files)},
    )


def _view(file: Path) -> Stored:
    sql = _text(file)
    return Stored(
        id=_id(file, _VIEW),
        kind=TableKind.VIEW,
        etag=etag(sql),
        modified=file.stat().st_mtime,
        view_query=sql,
    )


def _routine(file: Path) -> Routine:
    id_, modified = _id(file, _ROUTINE), file.stat().st_mtime
    try:
        return routine_from_json(id_, json.loads(_text(file)), modified)
    except (ValueError, RecursionError, KeyError, InvalidRequestError) as error:
        raise BadDataError(f"`{file}` is not a routine: {error}") from error


def _table(file: Path) -> Stored:
    try:
        schema = json.loads(_text(file))
        fields = fields_from_json(schema)
    except (ValueError, RecursionError, InvalidRequestError) as error:
        raise BadDataError(f"`{file}` is not a schema: {error}") from error
    given = schema if isinstance(schema, dict) else {}
    partitioning = given.get("timePartitioning")
    hidden = partition_columns(partitioning)
    rows_file = file.with_name(file.name.removesuffix(_SCHEMA) + ".ndjson")
    rows = _rows(rows_file, fields, hidden) if rows_file.exists() else []
    try:
        raw = raw_rows(rows, fields + hidden, str(rows_file))
    except UnsupportedError as error:
        raise BadDataError(f"`{rows_file}`: {error}") from error
    return Stored(
        id=_id(file, _SCHEMA),
        kind=TableKind.TABLE,
        etag=etag(schema),
        modified=file.stat().st_mtime,
        fields=fields,
        description=str(given.get("description", "")),
        raw=raw,
        row_count=len(rows),
        sizes={
            field.name: sum(logical_bytes(row.get(field.name), field.sql_type) for row in rows)
            for field in fields
        },
        created=file.stat().st_mtime,
        hidden=hidden,
        details={"timePartitioning": partitioning} if partitioning else {},
    )


def partition_columns(partitioning: object) -> tuple[Field, ...]:
    """Give the pseudo columns of a table that is partitioned by ingestion time."""
    if not isinstance(partitioning, dict) or partitioning.get("field"):
        return ()
    time = Field(_PARTITION_TIME, "TIMESTAMP")
    daily = partitioning.get("type", "DAY") == "DAY"
    return (time, Field("_PARTITIONDATE", "DATE")) if daily else (time,)


def _rows(
    file: Path, fields: tuple[Field, ...], hidden: tuple[Field, ...]
) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    names = {field.name for field in fields} | ({_PARTITION_TIME} if hidden else set())
    for number, line in enumerate(_text(file).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BadDataError(f"`{file}`, line {number} is not JSON: {error}") from error
        if not isinstance(row, dict) or (unknown := row.keys() - names):
            detail = f"`{min(unknown)}` is not in the schema" if isinstance(row, dict) else "no row"
            raise BadDataError(f"`{file}`, line {number}: {detail}")
        for field in fields:
            if field.mode is Mode.REQUIRED and row.get(field.name) is None:
                raise BadDataError(f"`{file}`, line {number} lacks `{field.name}`")
        if hidden:
            row["_PARTITIONDATE"] = str(row.setdefault(_PARTITION_TIME, None) or "")[:10] or None
        rows.append(row)
    return rows


def raw_rows(rows: Sequence[Mapping[str, object]], fields: tuple[Field, ...], where: str) -> bytes:
    """Write rows as a `TableContent` with text leaves. Raises `BadDataError` naming `where`."""
    content = service.TableContent()
    content.table_data.SetInParent()
    for number, row in enumerate(rows):
        written = content.table_data.row.add()
        written.cell.add(int64_value=number)
        try:
            written.cell.extend(
                stored_value(row.get(field.name), field.sql_type, field.name) for field in fields
            )
        except InvalidRequestError as error:
            raise BadDataError(f"`{where}`, row {number + 1}: {error}") from error
    encoded: bytes = content.SerializeToString()
    return encoded


def _id(file: Path, suffix: str) -> TableId:
    return TableId(file.parent.parent.name, file.parent.name, file.name.removesuffix(suffix))


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise BadDataError(f"cannot read `{file}`: {error}") from error
