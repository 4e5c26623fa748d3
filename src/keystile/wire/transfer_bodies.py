"""What a client may say of a load, copy or extract job. Only fields on a list pass."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from keystile.model.errors import InvalidRequestError
from keystile.wire.strict import Int64, Strict, without_refused
from keystile.wire.targets import (
    Clustering,
    Create,
    FieldUpdate,
    RangePartitioning,
    Reference,
    TimePartitioning,
    Write,
)

Kind = Literal["load", "copy", "extract"]

_NO_RIGHTS = "an agent changes no rights here"
_NO_KEYS = "a key of your own is not served"
_NO_SESSIONS = "a load job runs in no session here"
_OTHER_FILES = "it reads files that the request does not name"

REFUSED: Mapping[Kind, Mapping[str, str]] = MappingProxyType(
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


class LoadBody(Strict, frozen=True):
    """`JobConfigurationLoad`."""

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


class CopyBody(Strict, frozen=True):
    """`JobConfigurationTableCopy`."""

    destination_table: Reference
    source_table: Reference | None = None
    source_tables: tuple[Reference, ...] | None = None
    create_disposition: Create | None = None
    write_disposition: Write | None = None
    operation_type: (
        Literal["OPERATION_TYPE_UNSPECIFIED", "COPY", "SNAPSHOT", "RESTORE", "CLONE"] | None
    ) = None
    destination_expiration_time: str | None = None


class ExtractBody(Strict, frozen=True):
    """`JobConfigurationExtract`."""

    source_table: Reference
    destination_uri: str | None = None
    destination_uris: tuple[str, ...] | None = None
    destination_format: Literal["CSV", "NEWLINE_DELIMITED_JSON", "AVRO", "PARQUET"] | None = None
    compression: Literal["NONE", "GZIP", "DEFLATE", "SNAPPY", "ZSTD"] | None = None
    print_header: bool | None = None
    field_delimiter: str | None = None
    use_avro_logical_types: bool | None = None


BODIES: Mapping[Kind, type[LoadBody | CopyBody | ExtractBody]] = MappingProxyType(
    {"load": LoadBody, "copy": CopyBody, "extract": ExtractBody}
)


def check_schema(schema: Mapping[str, object]) -> None:
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
