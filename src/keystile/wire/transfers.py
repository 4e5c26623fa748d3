"""Load, copy and extract jobs that a client asks for, as typed data. Only fields on a list pass.

What reads or writes somewhere that the request does not name, or gives rights, is refused with its
reason; what is not known at all raises `InvalidRequestError` with its name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import msgspec

from keystile.model.errors import InvalidRequestError, RefusedError
from keystile.model.schema import TableId
from keystile.wire.strict import Int64, Strict, converted, int64, without_refused
from keystile.wire.targets import (
    Clustering,
    Create,
    FieldUpdate,
    RangePartitioning,
    Reference,
    TimePartitioning,
    Write,
    configuration_of,
    named_table,
    reference,
)

Kind = Literal["load", "copy", "extract"]

_URI = re.compile(r"gs://[^/\x00-\x1f]+/[^\x00-\x1f]+")
_MOST_NAMED = (
    1200  # BigQuery's own bound on the source tables of a copy; files are named by far less
)
_MOST_URIS = 10_000  # BigQuery's own bound

_NO_RIGHTS = "an agent changes no rights here"
_NO_KEYS = "a key of your own is not served"
_NO_SESSIONS = "a load job runs in no session here"
_OTHER_FILES = "it reads files that the request does not name"

_REFUSED: Mapping[Kind, Mapping[str, str]] = MappingProxyType(
    {
        "load": {
            "connectionProperties": _NO_SESSIONS,
            "createSession": _NO_SESSIONS,
            "destinationEncryptionConfiguration": _NO_KEYS,
            "fileSetSpecType": _OTHER_FILES,
            "hivePartitioningOptions": _OTHER_FILES,
            "referenceFileSchemaUri": _OTHER_FILES,
            "schemaInline": "write the schema as `schema`",
            "schemaInlineFormat": "write the schema as `schema`",
        },
        "copy": {"destinationEncryptionConfiguration": _NO_KEYS},
        "extract": {
            "sourceModel": "models are not exported",
            "modelExtractOptions": "models are not exported",
        },
    }
)
_BY_STATEMENT = "make the table with a statement first"
_REFUSED_IN_FIELD = {
    "policyTags": _NO_RIGHTS,
    "dataPolicies": _NO_RIGHTS,
    "defaultValueExpression": _BY_STATEMENT,
    "generatedColumn": _BY_STATEMENT,
    "collation": _BY_STATEMENT,
    "roundingMode": _BY_STATEMENT,
    "timestampPrecision": _BY_STATEMENT,
    "foreignTypeDefinition": _BY_STATEMENT,
}
_FIELD = frozenset(("name", "type", "mode", "description", "fields", "rangeElementType")) | {
    "maxLength",
    "precision",
    "scale",
}


class _Properties(Strict, frozen=True):
    description: str | None = None
    friendly_name: str | None = None
    labels: dict[str, str] | None = None
    expiration_time: Int64 | str | None = None


class _ParquetOptions(Strict, frozen=True):
    enum_as_string: bool | None = None
    enable_list_inference: bool | None = None
    map_target_type: str | None = None


class _Load(Strict, frozen=True):
    destination_table: Reference
    source_uris: tuple[str, ...] | None = None
    source_format: Literal["CSV", "NEWLINE_DELIMITED_JSON", "AVRO", "PARQUET", "ORC"] | None = None
    schema: dict[str, object] | None = None
    autodetect: bool | None = None
    create_disposition: Create | None = None
    write_disposition: Write | None = None
    schema_update_options: tuple[FieldUpdate, ...] | None = None
    ignore_unknown_values: bool | None = None
    max_bad_records: Int64 | None = None
    time_partitioning: TimePartitioning | None = None
    range_partitioning: RangePartitioning | None = None
    clustering: Clustering | None = None
    destination_table_properties: _Properties | None = None
    # How files are read: none of it says which, or where to.
    field_delimiter: str | None = None
    quote: str | None = None
    skip_leading_rows: Int64 | None = None
    allow_quoted_newlines: bool | None = None
    allow_jagged_rows: bool | None = None
    null_marker: str | None = None
    null_markers: tuple[str, ...] | None = None
    encoding: str | None = None
    preserve_ascii_control_characters: bool | None = None
    source_column_match: str | None = None
    json_extension: str | None = None
    decimal_target_types: tuple[str, ...] | None = None
    column_name_character_map: str | None = None
    projection_fields: tuple[str, ...] | None = None
    parquet_options: _ParquetOptions | None = None
    use_avro_logical_types: bool | None = None
    time_zone: str | None = None
    date_format: str | None = None
    datetime_format: str | None = None
    time_format: str | None = None
    timestamp_format: str | None = None
    timestamp_target_precision: tuple[int, ...] | None = None


class _Copy(Strict, frozen=True):
    destination_table: Reference
    source_table: Reference | None = None
    source_tables: tuple[Reference, ...] | None = None
    create_disposition: Create | None = None
    write_disposition: Write | None = None
    operation_type: (
        Literal["OPERATION_TYPE_UNSPECIFIED", "COPY", "SNAPSHOT", "RESTORE", "CLONE"] | None
    ) = None
    destination_expiration_time: str | None = None


class _Extract(Strict, frozen=True):
    source_table: Reference
    destination_uri: str | None = None
    destination_uris: tuple[str, ...] | None = None
    destination_format: Literal["CSV", "NEWLINE_DELIMITED_JSON", "AVRO", "PARQUET"] | None = None
    compression: Literal["NONE", "GZIP", "DEFLATE", "SNAPPY", "ZSTD"] | None = None
    print_header: bool | None = None
    field_delimiter: str | None = None
    use_avro_logical_types: bool | None = None


_BODIES: Mapping[Kind, type[_Load | _Copy | _Extract]] = MappingProxyType(
    {"load": _Load, "copy": _Copy, "extract": _Extract}
)


_FIRST = re.compile(r"-- (load|copy|extract) job( with uploaded data)?")


class Transfer(msgspec.Struct, frozen=True):
    """A load, copy or extract job.

    `configuration` is what was asked, of the fields on the list alone, with every table in full.
    `uris` are the files that it reads or writes: none for an `upload`, whose bytes come with the
    request. `reshapes` tells whether it may give a table that there is other columns.
    """

    kind: Kind
    configuration: dict[str, object]
    sources: tuple[TableId, ...] = ()
    destination: TableId | None = None
    uris: tuple[str, ...] = ()
    creates: bool = False
    replaces: bool = False
    reshapes: bool = False
    upload: bool = False

    @property
    def text(self) -> str:
        """Say exactly what was asked, for people and for the digest of an approval."""
        asked = msgspec.json.format(
            msgspec.json.encode(self.configuration, order="deterministic"), indent=2
        )
        return f"-- {self.kind} job{' with uploaded data' * self.upload}\n{asked.decode()}"


def kind_of(configuration: Mapping[str, object]) -> Kind | None:
    """Tell which kind of transfer a job configuration is of; nothing for a query.

    Raises `InvalidRequestError` for one of several kinds.
    """
    kinds = [kind for kind in _BODIES if configuration.get(kind) is not None]
    if len(kinds) + (configuration.get("query") is not None) > 1:
        raise InvalidRequestError("a job has one of `query`, `load`, `copy` and `extract`")
    return kinds[0] if kinds else None


def transfer_of(project: str, kind: Kind, given: object, *, upload: bool = False) -> Transfer:
    """Read a configuration.

    Raises `InvalidRequestError` for what is malformed or unknown, `RefusedError` for what is
    understood and not served.
    """
    if not isinstance(given, dict):
        raise InvalidRequestError(f"`{kind}` is not an object")
    body = converted(without_refused(given, _REFUSED[kind]), _BODIES[kind])
    if isinstance(body, _Load):
        return _load(project, body, upload=upload)
    return _copy(project, body) if isinstance(body, _Copy) else _extract(project, body)


def transfer_of_text(project: str, text: str) -> Transfer:
    """Read `Transfer.text` again. Raises as `transfer_of`, and `ValueError` for another text."""
    first, _, configuration = text.partition("\n")
    found = _FIRST.fullmatch(first)
    if found is None:
        raise ValueError("it is no load, copy or extract job")
    kind = msgspec.convert(found[1], Kind)
    given = msgspec.json.decode(configuration, type=dict[str, object])
    return transfer_of(project, kind, given, upload=bool(found[2]))


def _load(project: str, body: _Load, *, upload: bool) -> Transfer:
    uris = _uris(body.source_uris or ())
    if upload and uris:
        raise InvalidRequestError("`sourceUris` and an upload exclude each other")
    if not upload and not uris:
        raise InvalidRequestError(
            "Load configuration must specify at least one source URI", hint="name it in sourceUris"
        )
    # Python's client writes them as texts; in jobs they are numbers, and Go's reads no other.
    counts = {
        "maxBadRecords": int64(body.max_bad_records, "maxBadRecords"),
        "skipLeadingRows": int64(body.skip_leading_rows, "skipLeadingRows"),
    }
    _check_schema(body.schema or {})
    destination = named_table(project, body.destination_table, "destinationTable")
    replaces = body.write_disposition == "WRITE_TRUNCATE"
    return Transfer(
        "load",
        configuration_of(
            body,
            destinationTable=reference(destination),
            **{name: count for name, count in counts.items() if count is not None},
        ),
        destination=destination,
        uris=uris,
        creates=body.create_disposition != "CREATE_NEVER",
        replaces=replaces or body.write_disposition == "WRITE_TRUNCATE_DATA",
        reshapes=replaces or bool(body.schema_update_options),
        upload=upload,
    )


def _copy(project: str, body: _Copy) -> Transfer:
    if (body.source_table is None) == (not body.source_tables):
        raise InvalidRequestError("a copy job has one of `sourceTable` and `sourceTables`")
    named = body.source_tables or (body.source_table,)
    if len(named) > _MOST_NAMED:
        raise InvalidRequestError(f"there are more than {_MOST_NAMED} source tables")
    sources = tuple(named_table(project, each, "sourceTable") for each in named if each)
    destination = named_table(project, body.destination_table, "destinationTable")
    asked = configuration_of(body, destinationTable=reference(destination))
    if body.source_table:
        asked["sourceTable"] = reference(sources[0])
    else:
        asked["sourceTables"] = [reference(source) for source in sources]
    replaces = body.write_disposition == "WRITE_TRUNCATE"
    return Transfer(
        "copy",
        asked,
        sources,
        destination,
        creates=body.create_disposition != "CREATE_NEVER",
        replaces=replaces or body.write_disposition == "WRITE_TRUNCATE_DATA",
        reshapes=replaces,
    )


def _extract(project: str, body: _Extract) -> Transfer:
    uris = _uris(body.destination_uris or ((body.destination_uri,) if body.destination_uri else ()))
    if not uris:
        raise InvalidRequestError(
            "Required parameter is missing: destinationUri", hint="name a file to write"
        )
    source = named_table(project, body.source_table, "sourceTable")
    return Transfer(
        "extract", configuration_of(body, sourceTable=reference(source)), (source,), uris=uris
    )


def _uris(given: tuple[str, ...]) -> tuple[str, ...]:
    if len(given) > _MOST_URIS:
        raise InvalidRequestError(f"there are more than {_MOST_URIS} addresses")
    for uri in given:
        if not _URI.fullmatch(uri):
            raise RefusedError(
                f"the address `{uri[:200]}` is not served", hint="use `gs://bucket/file`"
            )
    return given


def _check_schema(schema: Mapping[str, object]) -> None:
    """Refuse columns that would bring rights or expressions with them, at any depth."""
    if unknown := schema.keys() - {"fields"}:
        raise InvalidRequestError(f"the schema has an unknown field `{min(unknown)[:100]}`")
    _check_fields(schema.get("fields"))


def _check_fields(fields: object) -> None:
    for field in fields if isinstance(fields, list) else ():
        if isinstance(field, dict):
            left = without_refused(field, _REFUSED_IN_FIELD).keys() - _FIELD
            if left:
                raise InvalidRequestError(f"a column has an unknown field `{min(left)[:100]}`")
            _check_fields(field.get("fields"))
