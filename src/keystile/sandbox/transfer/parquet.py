"""Parquet files: the schema that they bring, and their rows as the texts that the engine casts.

What loads Parquet imports this, and nothing else does: pyarrow takes half a second. Source of fact:
BigQuery's description of loading Parquet data, with its table of type conversions.
"""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from decimal import Decimal

import pyarrow as pa
from pyarrow import parquet, types

from keystile.model.errors import InvalidRequestError
from keystile.model.schema import Field, Mode
from keystile.sandbox.errors import unsupported
from keystile.sandbox.transfer.requests import Load
from keystile.sandbox.transfer.storage import Source
from keystile.sandbox.transfer.values import BadRowError, joined_path, null_refused

_BATCH_ROWS = 1000
_WHILE = "Error while reading data, error message: "

# What a type is in BigQuery; the first test that holds says it. Only nulls are an INTEGER there.
_KINDS = (
    (types.is_boolean, "BOOL"),
    (types.is_integer, "INT64"),
    (types.is_duration, "INT64"),
    (types.is_null, "INT64"),
    (types.is_floating, "FLOAT64"),
    (types.is_date, "DATE"),
    (types.is_time, "TIME"),
    (types.is_struct, "STRUCT"),
)
_TEXTS = (types.is_string, types.is_large_string, types.is_string_view)
_BYTES = (
    types.is_binary,
    types.is_large_binary,
    types.is_fixed_size_binary,
    types.is_binary_view,
)
_LISTS = (types.is_list, types.is_large_list, types.is_fixed_size_list)
# The types of columns that a type is taken into beside its own.
_ALSO: Mapping[str, Collection[str]] = {
    "STRING": ("BYTES", "GEOGRAPHY", "JSON"),
    "BYTES": ("STRING",),
    "DATETIME": ("TIMESTAMP",),
    "TIMESTAMP": ("DATETIME",),
    "NUMERIC": ("BIGNUMERIC", "STRING"),
    "BIGNUMERIC": ("NUMERIC", "STRING"),
}
# By type, how many digits a decimal may have before and behind the point.
_DIGITS = {"NUMERIC": (29, 9), "BIGNUMERIC": (38, 38)}


def columns(source: Source, asked: Load) -> tuple[Field, ...]:
    """Give the columns of a file.

    Raises `InvalidRequestError` for what is no Parquet file, `UnsupportedError` for a type.
    """
    with _opened(source) as file:
        return tuple(_field(each, each.name, asked) for each in _schema(file))


def rows(
    source: Source, fields: Sequence[Field], asked: Load, max_bytes: int
) -> Iterator[dict[str, object] | BadRowError]:
    """Give each row's values by the schema's names, or why it does not fit.

    Raises as `columns` does, and `InvalidRequestError` where the file's columns are not those of
    `fields`, `UnsupportedError` for more than `max_bytes`.
    """
    with _opened(source) as file:
        schema = _schema(file)
        _check(fields, schema, "", asked)
        by_name = {field.name.lower(): field for field in fields}
        kept = [each.name for each in schema if each.name.lower() in by_name]
        read = 0
        for batch in file.iter_batches(_BATCH_ROWS, columns=kept, use_threads=False):
            read += batch.nbytes
            if read > max_bytes:
                raise unsupported(f"a file that is larger than {max_bytes} bytes once unpacked")
            plain = pa.schema([(name, _plain(schema.field(name).type)) for name in kept])
            for row in batch.select(kept).cast(plain, safe=False).to_pylist():
                try:
                    yield _record(row, fields, "")
                except BadRowError as error:
                    yield error


@contextmanager
def _opened(source: Source) -> Iterator[parquet.ParquetFile]:
    """Open a file; what pyarrow raises over it says that the file is malformed."""
    try:
        with parquet.ParquetFile(source.file, coerce_int96_timestamp_unit="us") as file:
            yield file
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise InvalidRequestError(
            f"{_WHILE}Input file is not in Parquet format, or is damaged."
        ) from error


def _schema(file: parquet.ParquetFile) -> pa.Schema:
    """Give the file's schema with INT96 for what BigQuery takes it for: a moment in UTC.

    Raises `InvalidRequestError` for two columns of one name.
    """
    schema = file.schema_arrow
    counts = Counter(name.lower() for name in schema.names)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise InvalidRequestError(f"{_WHILE}Duplicate column name `{twice[0][:300]}`.")
    for at in range(len(file.schema)):
        column = file.schema.column(at)
        if column.physical_type == "INT96" and column.path in schema.names:
            index = schema.get_field_index(column.path)
            moment = schema.field(index).with_type(pa.timestamp("us", "UTC"))
            schema = schema.set(index, moment)
    return schema


def _field(found: pa.Field, where: str, asked: Load) -> Field:
    item, repeated = _item(found.type, where, asked)
    mode = Mode.NULLABLE if found.nullable else Mode.REQUIRED
    kind = _kind(item, where, asked)
    inner = list(item) if kind == "STRUCT" else []
    return Field(
        found.name,
        kind,
        Mode.REPEATED if repeated else mode,
        tuple(_field(each, joined_path(where, each.name), asked) for each in inner),
    )


def _item(type_: pa.DataType, where: str, asked: Load) -> tuple[pa.DataType, bool]:
    """Give the type of a list's items, or the type itself, and whether it was a list."""
    if not any(test(type_) for test in _LISTS):
        return type_, False
    options = asked.parquet_options
    if not (options and options.enable_list_inference):
        raise unsupported(
            f"the list `{where}` in Parquet without `enableListInference`; "
            'set `"parquetOptions": {"enableListInference": true}`'
        )
    return type_.value_type, True


def _bare(type_: pa.DataType) -> pa.DataType:
    """Give the type that is written where Arrow's own notes name one around it."""
    if isinstance(type_, pa.BaseExtensionType):
        return _bare(type_.storage_type)
    return _bare(type_.value_type) if types.is_dictionary(type_) else type_


def _kind(found: pa.DataType, where: str, asked: Load) -> str:
    type_ = _bare(found)
    if types.is_timestamp(type_):
        return "TIMESTAMP" if type_.tz else "DATETIME"
    if types.is_decimal(type_):
        return _decimal(type_.precision, type_.scale, asked.decimal_target_types)
    if any(test(type_) for test in _TEXTS):
        return "STRING"
    if any(test(type_) for test in _BYTES):
        return "BYTES"
    for test, kind in _KINDS:
        if test(type_):
            return kind
    raise unsupported(f"the type `{str(type_)[:100]}` in Parquet, of `{where}`")


def _decimal(precision: int, scale: int, wanted: Sequence[str]) -> str:
    """Choose as `decimalTargetTypes` says: the first type with the digits, else the widest."""
    among = [kind for kind in ("NUMERIC", "BIGNUMERIC", "STRING") if kind in wanted]
    for kind in among:
        before, behind = _DIGITS.get(kind, (precision, scale))
        if precision - scale <= before and scale <= behind:
            return kind
    return among[-1]


def _plain(found: pa.DataType) -> pa.DataType:
    """Name the type whose values Python has without a loss that BigQuery would not have too."""
    type_ = _bare(found)
    if any(test(type_) for test in _LISTS):
        return pa.list_(_plain(type_.value_type))
    if types.is_struct(type_):
        return pa.struct([(each.name, _plain(each.type)) for each in type_])
    if types.is_timestamp(type_):
        return pa.timestamp("us", "UTC" if type_.tz else None)
    if types.is_time(type_):
        return pa.time64("us")
    return pa.int64() if types.is_duration(type_) else type_


def _check(
    fields: Sequence[Field], found: Sequence[pa.Field] | pa.Schema, path: str, asked: Load
) -> None:
    """Hold a file's columns to those wanted. Raises `InvalidRequestError`."""
    by_name = {field.name.lower(): field for field in fields}
    for each in found:
        where = joined_path(path, each.name)
        field = by_name.get(each.name.lower())
        if field is None:
            if asked.ignore_unknown_values:
                continue
            raise InvalidRequestError(f"{_WHILE}No such field: {where}.")
        item, repeated = _item(each.type, where, asked)
        if types.is_null(item):
            continue
        if repeated != (field.mode is Mode.REPEATED):
            mode = "REPEATED" if repeated else "NULLABLE"
            raise InvalidRequestError(
                f"{_WHILE}Provided schema is not compatible with the file. Field '{where}' is "
                f"specified as {field.mode.value} in provided schema which does not match {mode} "
                "as specified in the file."
            )
        kind = _kind(item, where, asked)
        if field.type not in (kind, *_ALSO.get(kind, ())):
            raise InvalidRequestError(
                f"{_WHILE}Parquet column '{where}' has type {kind} which does not match the "
                f"target cpp_type {field.type}."
            )
        if kind == "STRUCT":
            _check(field.fields, list(item), where, asked)


def _record(row: Mapping[str, object], fields: Sequence[Field], path: str) -> dict[str, object]:
    by_name = {name.lower(): value for name, value in row.items()}
    found: dict[str, object] = {}
    for field in fields:
        where = joined_path(path, field.name)
        value = by_name.get(field.name.lower())
        if field.mode is Mode.REPEATED:
            items = value if isinstance(value, list) else []
            if None in items:
                raise BadRowError(null_refused(where))
            found[field.name] = [_value(item, field, where) for item in items]
        elif value is None and field.mode is Mode.REQUIRED:
            raise BadRowError(null_refused(where))
        else:
            found[field.name] = _value(value, field, where)
    return found


def _value(value: object, field: Field, where: str) -> object:
    if value is None:
        return None
    return _record(value, field.fields, where) if isinstance(value, dict) else _text(value, field)


def _text(value: object, field: Field) -> str:
    if field.type == "BYTES":
        return b64encode(value if isinstance(value, bytes) else str(value).encode()).decode()
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise BadRowError(f"Field {field.name} has bytes that are not UTF-8.") from error
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        zone = UTC if field.type == "TIMESTAMP" else None
        return value.replace(tzinfo=zone).isoformat(sep=" ")
    return value.isoformat() if isinstance(value, date | time) else str(value)
