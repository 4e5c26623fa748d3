"""Rows of BigQuery's JSON as Arrow, in the types of the Storage Read API.

Source of fact: the Storage Read API's documentation ("Arrow schema details"), and what Google's
Python client makes of the same rows when it reads them as JSON, which is equal. Only what serves
this API imports it: pyarrow takes half a second.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

import msgspec
import pyarrow as pa

from keystile.model.errors import RefusedError
from keystile.model.schema import Field, Mode
from keystile.wire.responses import Row

_BATCH_BYTES = 1 << 20
"""How much JSON goes into one batch: little enough for every client's limit on a message."""

_BIGNUMERIC_BYTES, _BIGNUMERIC_SCALE = 32, 38

_TYPES: Mapping[str, pa.DataType] = {
    "BIGNUMERIC": pa.decimal256(76, _BIGNUMERIC_SCALE),
    "BOOL": pa.bool_(),
    "BYTES": pa.binary(),
    "DATE": pa.date32(),
    "DATETIME": pa.timestamp("us"),
    "FLOAT64": pa.float64(),
    "GEOGRAPHY": pa.string(),
    "INT64": pa.int64(),
    "INTERVAL": pa.string(),
    "JSON": pa.string(),
    "NUMERIC": pa.decimal128(38, 9),
    "STRING": pa.string(),
    "TIME": pa.time64("us"),
    "TIMESTAMP": pa.timestamp("us", tz="UTC"),
}
_EXTENSIONS = {
    "DATETIME": {"ARROW:extension:name": "google:sqlType:datetime"},
    "GEOGRAPHY": {
        "ARROW:extension:name": "google:sqlType:geography",
        "ARROW:extension:metadata": '{"encoding": "WKT"}',
    },
    "INTERVAL": {"ARROW:extension:name": "google:sqlType:interval"},
    "JSON": {"ARROW:extension:name": "google:sqlType:json"},
}
_OPEN = frozenset(("NULL", "UNBOUNDED"))


class ArrowRows:
    """Writes rows of one schema, as the API sends them: the schema once, then bare batches."""

    def __init__(self, fields: Sequence[Field]) -> None:
        """Take the columns of the rows."""
        self._fields = tuple(fields)
        self._schema = pa.schema([_field(field) for field in fields])

    @property
    def schema(self) -> bytes:
        """The schema, as a message of Arrow's IPC format."""
        return bytes(self._schema.serialize())

    def batch(self, rows: Sequence[Row]) -> bytes:
        """Write rows, whose times are whole microseconds, as a message of Arrow's IPC format.

        Raises `RefusedError` for a value that is none of its column's type.
        """
        decoded = [_cells(row) for row in rows]
        columns = []
        for at, field in enumerate(self._fields):
            try:
                columns.append(_array([cells[at]["v"] for cells in decoded], field))
            except (pa.ArrowException, LookupError, TypeError, ValueError):
                # INVARIANT: the value itself stands in no message and no log.
                message = f"column `{field.name}` holds a value that is no {field.type}"
                raise RefusedError(message, hint="read it with a query") from None
        return bytes(pa.record_batch(columns, schema=self._schema).serialize())


def parts(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Cut rows into what goes into one batch each: about a megabyte of JSON."""
    start = size = 0
    for at, row in enumerate(rows):
        size += len(row) if isinstance(row, msgspec.Raw) else len(msgspec.json.encode(row))
        if size >= _BATCH_BYTES:
            yield rows[start : at + 1]
            start, size = at + 1, 0
    if start < len(rows):
        yield rows[start:]


def _cells(row: Row) -> list[Any]:
    decoded: Any = msgspec.json.decode(row) if isinstance(row, msgspec.Raw) else row
    cells: list[Any] = decoded["f"]
    return cells


def _field(field: Field) -> pa.Field:
    repeated = field.mode is Mode.REPEATED
    inner = _type(field)
    # As Google's client has it: what is REQUIRED may be NULL in Arrow all the same.
    return pa.field(
        field.name,
        pa.list_(inner) if repeated else inner,
        nullable=not repeated,
        metadata=_EXTENSIONS.get(field.type),
    )


def _type(field: Field) -> pa.DataType:
    """Give the type of one value, leaving it open whether there are several."""
    if field.type == "STRUCT":
        return pa.struct([_field(inner) for inner in field.fields])
    if field.type == "RANGE":
        element = _TYPES[field.range_element]
        return pa.struct([pa.field("start", element), pa.field("end", element)])
    return _TYPES[field.type]


def _array(values: list[Any], field: Field) -> pa.Array:
    if field.mode is not Mode.REPEATED:
        return _plain(values, field)
    lists = [[item["v"] for item in value or ()] for value in values]
    offsets = pa.array([0, *accumulate(map(len, lists))], pa.int32())
    items = _plain([item for one in lists for item in one], field)
    return pa.ListArray.from_arrays(offsets, items, type=pa.list_(_type(field)))


def _plain(values: list[Any], field: Field) -> pa.Array:
    if field.type == "STRUCT":
        return _struct(values, field)
    if field.type == "RANGE":
        return _range(values, field)
    return _SCALARS[field.type](values, _TYPES[field.type])


def _struct(values: list[Any], field: Field) -> pa.Array:
    columns = [
        _array([None if value is None else value["f"][at]["v"] for value in values], inner)
        for at, inner in enumerate(field.fields)
    ]
    return _structs(columns, [_field(inner) for inner in field.fields], values)


def _range(values: list[Any], field: Field) -> pa.Array:
    ends = [(None, None) if value is None else _ends(value) for value in values]
    type_, read = _TYPES[field.range_element], _SCALARS[field.range_element]
    columns = [read([pair[at] for pair in ends], type_) for at in (0, 1)]
    return _structs(columns, [pa.field("start", type_), pa.field("end", type_)], values)


def _ends(text: str) -> tuple[str | None, str | None]:
    start, _, end = text.removeprefix("[").removesuffix(")").partition(", ")
    return (None if start in _OPEN else start), (None if end in _OPEN else end)


def _structs(columns: list[pa.Array], fields: list[pa.Field], values: list[Any]) -> pa.Array:
    missing = pa.array([value is None for value in values], pa.bool_())
    return pa.StructArray.from_arrays(columns, fields=fields, mask=missing)


def _texts(values: list[Any], type_: pa.DataType) -> pa.Array:
    return pa.array(values, pa.string()).cast(type_)


def _booleans(values: list[Any], type_: pa.DataType) -> pa.Array:
    return pa.array([None if value is None else _TRUTH[value] for value in values], type_)


_TRUTH = {"true": True, "false": False}


def _bytes(values: list[Any], type_: pa.DataType) -> pa.Array:
    return pa.array([None if value is None else base64.b64decode(value) for value in values], type_)


def _microseconds(values: list[Any], type_: pa.DataType) -> pa.Array:
    return _texts(values, pa.int64()).cast(type_)


def _times(values: list[Any], type_: pa.DataType) -> pa.Array:
    """Read them as times of the first day there is: Arrow reads no times alone from text."""
    moments = [None if value is None else f"1970-01-01T{value}" for value in values]
    return _texts(moments, pa.timestamp("us")).cast(pa.int64()).cast(type_)


def _bignumerics(values: list[Any], type_: pa.DataType) -> pa.Array:
    """Pack them by hand: BigQuery's largest have 77 digits, one more than Arrow reads from text."""
    data = bytearray()
    for value in values:
        data += _scaled(value or "0").to_bytes(_BIGNUMERIC_BYTES, "little", signed=True)
    valid = pa.array([value is not None for value in values], pa.bool_()).buffers()[1]
    return pa.Array.from_buffers(type_, len(values), [valid, pa.py_buffer(bytes(data))])


def _scaled(text: str) -> int:
    whole, _, fraction = text.partition(".")
    return int(whole + fraction.ljust(_BIGNUMERIC_SCALE, "0"))


_SCALARS: Mapping[str, Callable[[list[Any], pa.DataType], pa.Array]] = {
    **dict.fromkeys(_TYPES, _texts),
    "BIGNUMERIC": _bignumerics,
    "BOOL": _booleans,
    "BYTES": _bytes,
    "TIME": _times,
    "TIMESTAMP": _microseconds,
}
