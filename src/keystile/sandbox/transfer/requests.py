"""What a client asks for by jobs.insert that is no query, as typed data.

A field that the API has and the sandbox has not raises `UnsupportedError`; one that is not known at
all raises `InvalidRequestError` with its name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal, TypeVar

import msgspec

from keystile.model.errors import InvalidRequestError
from keystile.model.schema import TableId
from keystile.sandbox.errors import unsupported

_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,1024}")
_NAME = re.compile(r"[\w $@-]{1,1024}")
_MOMENT = re.compile(r"(.+)@(-?\d{1,15})")

Create = Literal["CREATE_IF_NEEDED", "CREATE_NEVER"]
Write = Literal["WRITE_EMPTY", "WRITE_APPEND", "WRITE_TRUNCATE", "WRITE_TRUNCATE_DATA"]
_StructT = TypeVar("_StructT", bound=msgspec.Struct)
_Number = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    pass


class Reference(_Strict, frozen=True):
    """A `TableReference`."""

    dataset_id: str
    table_id: str
    project_id: str = ""


class _Properties(_Strict, frozen=True):
    description: str = ""
    friendly_name: str = ""
    labels: dict[str, str] = {}
    expiration_time: str = ""


class _ParquetOptions(_Strict, frozen=True):
    enable_list_inference: bool = False
    enum_as_string: bool = False
    map_target_type: str = ""


class Load(_Strict, frozen=True):
    """A `JobConfigurationLoad`."""

    destination_table: Reference | None = None
    source_uris: tuple[str, ...] = ()
    source_format: str = "CSV"
    schema: dict[str, object] | None = None
    autodetect: bool = False
    create_disposition: Create = "CREATE_IF_NEEDED"
    write_disposition: Write = "WRITE_APPEND"
    schema_update_options: tuple[
        Literal["ALLOW_FIELD_ADDITION", "ALLOW_FIELD_RELAXATION"], ...
    ] = ()
    ignore_unknown_values: bool = False
    max_bad_records: _Number = 0
    field_delimiter: str | None = None
    quote: str = '"'
    skip_leading_rows: _Number | None = None
    allow_quoted_newlines: bool = False
    allow_jagged_rows: bool = False
    null_marker: str = ""
    null_markers: tuple[str, ...] = ()
    encoding: str = "UTF-8"
    time_partitioning: dict[str, object] | None = None
    range_partitioning: dict[str, object] | None = None
    clustering: dict[str, object] | None = None
    destination_table_properties: _Properties | None = None
    parquet_options: _ParquetOptions | None = None
    decimal_target_types: Annotated[
        tuple[Literal["NUMERIC", "BIGNUMERIC", "STRING"], ...], msgspec.Meta(min_length=1)
    ] = ("NUMERIC",)


class Copy(_Strict, frozen=True):
    """A `JobConfigurationTableCopy`."""

    destination_table: Reference | None = None
    source_table: Reference | None = None
    source_tables: tuple[Reference, ...] = ()
    create_disposition: Create = "CREATE_IF_NEEDED"
    write_disposition: Write = "WRITE_EMPTY"
    operation_type: Literal[
        "OPERATION_TYPE_UNSPECIFIED", "COPY", "SNAPSHOT", "RESTORE", "CLONE"
    ] = "COPY"
    destination_expiration_time: datetime | None = None


class Extract(_Strict, frozen=True):
    """A `JobConfigurationExtract`."""

    source_table: Reference | None = None
    destination_uri: str = ""
    destination_uris: tuple[str, ...] = ()
    destination_format: str = "CSV"
    compression: str = "NONE"
    print_header: bool = True
    field_delimiter: str = ","


_KINDS: dict[str, type[Load | Copy | Extract]] = {"load": Load, "copy": Copy, "extract": Extract}

# Fields that would change what is done in a way that is not followed here.
_UNSUPPORTED = {
    "load": (
        "connectionProperties",
        "createSession",
        "dateFormat",
        "datetimeFormat",
        "destinationEncryptionConfiguration",
        "fileSetSpecType",
        "hivePartitioningOptions",
        "jsonExtension",
        "preserveAsciiControlCharacters",
        "referenceFileSchemaUri",
        "schemaInline",
        "schemaInlineFormat",
        "sourceColumnMatch",
        "timeFormat",
        "timeZone",
        "timestampFormat",
        "timestampTargetPrecision",
    ),
    "copy": ("destinationEncryptionConfiguration",),
    "extract": ("sourceModel", "modelExtractOptions"),
}
# They say how other formats are read or written.
_IGNORED = {
    "load": (
        "columnNameCharacterMap",
        "projectionFields",
        "useAvroLogicalTypes",
    ),
    "copy": (),
    "extract": ("useAvroLogicalTypes",),
}


class Transfer(msgspec.Struct, frozen=True):
    """A load, copy or extract job that a client asks for.

    `configuration` is what jobs.get tells of it. `job_id` is empty where the client left
    the choice.
    """

    project: str
    asked: Load | Copy | Extract
    configuration: dict[str, object]
    job_id: str = ""
    location: str = ""
    job_timeout_ms: int = 0


class _JobReference(_Strict, frozen=True):
    project_id: str = ""
    job_id: str = ""
    location: str = ""


class _Configuration(_Strict, frozen=True):
    labels: dict[str, str] = {}
    job_timeout_ms: _Number = 0
    dry_run: bool = False
    job_type: str = ""


def parse_transfer(project: str, given: Mapping[str, object]) -> Transfer | None:
    """Read the body of jobs.insert; nothing where it asks for a query.

    Raises `InvalidRequestError` for what is malformed or unknown, `UnsupportedError`.
    """
    configuration = given.get("configuration")
    if not isinstance(configuration, dict):
        return None
    kinds = [kind for kind in _KINDS if configuration.get(kind) is not None]
    if not kinds:
        return None
    if len(kinds) > 1 or configuration.get("query") is not None:
        raise InvalidRequestError("a job has one of `query`, `load`, `copy` and `extract`")
    if unknown := given.keys() - {"configuration", "jobReference", "kind"}:
        raise InvalidRequestError(f"the request is not understood: `{min(unknown)[:100]}`")
    kind = kinds[0]
    common = _convert({k: v for k, v in configuration.items() if k != kind}, _Configuration)
    if common.dry_run:
        raise InvalidRequestError("`dryRun` is for query jobs", hint="leave it out")
    reference = _convert(given.get("jobReference") or {}, _JobReference)
    if reference.project_id not in ("", project):
        raise InvalidRequestError("`jobReference.projectId` is not the project of the path")
    if reference.job_id and not _JOB_ID.fullmatch(reference.job_id):
        raise InvalidRequestError("`jobReference.jobId` has characters that a job id cannot have")
    asked = _asked(kind, configuration[kind])
    echoed: dict[str, object] = {"jobType": kind.upper(), kind: _told(configuration[kind])}
    return Transfer(
        project,
        asked,
        {**echoed, "labels": common.labels} if common.labels else echoed,
        reference.job_id,
        reference.location,
        common.job_timeout_ms,
    )


def _told(asked: dict[str, object]) -> dict[str, object]:
    """Tell counts as numbers, as BigQuery does, though clients may write them as texts."""
    counts = {
        name: int(value)
        for name in ("maxBadRecords", "skipLeadingRows")
        if isinstance(value := asked.get(name), str) and value.isdecimal()
    }
    return {**asked, **counts}


def _asked(kind: str, given: object) -> Load | Copy | Extract:
    if not isinstance(given, dict):
        raise InvalidRequestError(f"`{kind}` is not an object")
    for name in _UNSUPPORTED[kind]:
        if given.get(name):
            raise unsupported(f"`{name}` of a {kind} job")
    left = (*_UNSUPPORTED[kind], *_IGNORED[kind])
    named = {name: value for name, value in given.items() if name not in left and value is not None}
    return _convert(named, _KINDS[kind])


def _convert(given: object, type_: type[_StructT]) -> _StructT:
    try:
        return msgspec.convert(given, type_, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidRequestError(f"the request is not understood: {str(error)[:300]}") from error


def named_table(reference: Reference | None, project: str, what: str) -> TableId:
    """Name a table that a job reads or writes. Raises `InvalidRequestError` for none."""
    if reference is None:
        raise InvalidRequestError(f"Required parameter is missing: {what}")
    if not _NAME.fullmatch(reference.table_id):
        raise InvalidRequestError(f'Invalid table ID "{reference.table_id[:100]}".')
    if "$" in reference.table_id:
        raise unsupported("the partition decorator `$`")
    return TableId(reference.project_id or project, reference.dataset_id, reference.table_id)


def tables_of(transfer: Transfer) -> list[TableId]:
    """Name all tables that a job is about. Raises `InvalidRequestError` for one that is missing."""
    asked, project = transfer.asked, transfer.project
    found = []
    if isinstance(asked, Copy):
        named = asked.source_tables or (asked.source_table,)
        found += [named_table(each, project, "sourceTable") for each in named]
    if isinstance(asked, Extract):
        return [named_table(asked.source_table, project, "sourceTable")]
    return [*found, named_table(asked.destination_table, project, "destinationTable")]


def moment(id_: TableId) -> tuple[TableId, int | None]:
    """Part a table's name from its `@` decorator, in milliseconds; nothing where there is none."""
    found = _MOMENT.fullmatch(id_.table)
    if found is None:
        return id_, None
    return TableId(id_.project, id_.dataset, found[1]), int(found[2])
