"""The messages of BigQuery's Storage Read API, as far as they are read or written here.

Source of fact: `google/cloud/bigquery/storage/v1/{storage,stream,arrow}.proto`. They are declared
here and not imported: Google's package for them brings four others and half a second with it.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import message_factory, timestamp_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool

PACKAGE = "google.cloud.bigquery.storage.v1"

_SCALARS = {
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "bytes": FieldDescriptorProto.TYPE_BYTES,
    "double": FieldDescriptorProto.TYPE_DOUBLE,
    "enum": FieldDescriptorProto.TYPE_INT32,  # the same on the wire, and any number can be read
    "int32": FieldDescriptorProto.TYPE_INT32,
    "int64": FieldDescriptorProto.TYPE_INT64,
    "string": FieldDescriptorProto.TYPE_STRING,
}
_TIMESTAMP = "google.protobuf.Timestamp"

# Each field as `number name type`; `*` is repeated, `?` tells absence from a default.
_MESSAGES = {
    "CreateReadSessionRequest": (
        "1 parent string",
        "2 read_session ReadSession",
        "3 max_stream_count int32",
        "4 preferred_min_stream_count int32",
    ),
    "ReadSession": (
        "1 name string",
        "2 expire_time Timestamp",
        "3 data_format enum",
        "5 arrow_schema ArrowSchema",
        "6 table string",
        "7 table_modifiers TableModifiers",
        "8 read_options TableReadOptions",
        "10 streams ReadStream*",
        "12 estimated_total_bytes_scanned int64",
        "13 trace_id string",
        "14 estimated_row_count int64",
        "15 estimated_total_physical_file_size int64",
    ),
    "TableModifiers": ("1 snapshot_time Timestamp",),
    "TableReadOptions": (
        "1 selected_fields string*",
        "2 row_restriction string",
        "3 arrow_serialization_options ArrowSerializationOptions",
        "4 avro_serialization_options AvroSerializationOptions",
        "5 sample_percentage double?",
        "6 response_compression_codec enum?",
    ),
    "ArrowSerializationOptions": (
        "2 buffer_compression enum",
        "3 picos_timestamp_precision enum",
    ),
    "AvroSerializationOptions": (
        "1 enable_display_name_attribute bool",
        "2 picos_timestamp_precision enum",
    ),
    "ReadStream": ("1 name string",),
    "ArrowSchema": ("1 serialized_schema bytes",),
    "ArrowRecordBatch": ("1 serialized_record_batch bytes", "2 row_count int64"),
    "Progress": ("1 at_response_start double", "2 at_response_end double"),
    "StreamStats": ("2 progress Progress",),
    "ReadRowsRequest": (
        "1 read_stream string",
        "2 offset int64",
        "5 arrow_serialization_options ArrowSerializationOptions",
    ),
    "ReadRowsResponse": (
        "2 stats StreamStats",
        "4 arrow_record_batch ArrowRecordBatch",
        "6 row_count int64",
        "8 arrow_schema ArrowSchema",
    ),
    "SplitReadStreamRequest": ("1 name string", "2 fraction double"),
    "SplitReadStreamResponse": (
        "1 primary_stream ReadStream",
        "2 remainder_stream ReadStream",
    ),
}


def _message(name: str, fields: tuple[str, ...]) -> DescriptorProto:
    message = DescriptorProto(name=name)
    for written in fields:
        number, field_name, type_ = written.split()
        field = message.field.add(number=int(number), name=field_name)
        field.label = field.LABEL_REPEATED if type_.endswith("*") else field.LABEL_OPTIONAL
        kind = type_.rstrip("*?")
        if kind in _SCALARS:
            field.type = _SCALARS[kind]
        else:
            field.type = field.TYPE_MESSAGE
            field.type_name = f".{_TIMESTAMP}" if kind == "Timestamp" else f".{PACKAGE}.{kind}"
        if type_.endswith("?"):
            field.proto3_optional = True
            field.oneof_index = len(message.oneof_decl)
            message.oneof_decl.add(name=f"_{field_name}")
    return message


def _pool() -> DescriptorPool:
    # A pool of its own, so that Google's package may be there beside it.
    pool = DescriptorPool()
    needed = FileDescriptorProto()
    timestamp_pb2.DESCRIPTOR.CopyToProto(needed)
    pool.Add(needed)
    file = FileDescriptorProto(name="keystile/read.proto", package=PACKAGE, syntax="proto3")
    file.dependency.append(needed.name)
    file.message_type.extend(_message(name, fields) for name, fields in _MESSAGES.items())
    pool.Add(file)
    return pool


_known = _pool()


def _class(name: str) -> Any:
    return message_factory.GetMessageClass(_known.FindMessageTypeByName(f"{PACKAGE}.{name}"))


# What they hold shows only at run time, so their type is Any.
CreateReadSessionRequest: Any = _class("CreateReadSessionRequest")
ReadSession: Any = _class("ReadSession")
ReadRowsRequest: Any = _class("ReadRowsRequest")
ReadRowsResponse: Any = _class("ReadRowsResponse")
SplitReadStreamRequest: Any = _class("SplitReadStreamRequest")
SplitReadStreamResponse: Any = _class("SplitReadStreamResponse")
