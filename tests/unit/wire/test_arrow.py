"""Rows written as Arrow and read back: every type at its edges, wherever a value can stand."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.model.errors import RefusedError
from keystile.model.schema import Field, Mode
from keystile.wire.arrow import ArrowRows, parts
from keystile.wire.responses import Row

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LARGEST = 2**255


class Typed(NamedTuple):
    """What the values of a type are, and how BigQuery's JSON writes one."""

    values: st.SearchStrategy[Any]
    text: Callable[[Any], str]


def _clock(value: time | datetime) -> str:
    return value.strftime("%H:%M:%S") + (f".{value.microsecond:06d}" if value.microsecond else "")


def _micros(value: datetime) -> str:
    return str((value - _EPOCH) // timedelta(microseconds=1))


def _moment(value: datetime) -> str:
    return f"{value.date().isoformat()}T{_clock(value)}"


def _float(value: float) -> str:
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(value)


def _decimal(scale: int) -> Callable[[int], str]:
    def text(scaled: int) -> str:
        whole, fraction = divmod(abs(scaled), 10**scale)
        digits = str(fraction).rjust(scale, "0").rstrip("0")
        return f"{'-' if scaled < 0 else ''}{whole}{'.' + digits if digits else ''}"

    return text


_words = st.text(st.characters(exclude_categories=["Cs"]))
_times = st.datetimes()
TYPES = {
    "BIGNUMERIC": Typed(st.integers(-_LARGEST, _LARGEST - 1), _decimal(38)),
    "BOOL": Typed(st.booleans(), lambda value: "true" if value else "false"),
    "BYTES": Typed(st.binary(), lambda value: base64.b64encode(value).decode()),
    "DATE": Typed(st.dates(), date.isoformat),
    "DATETIME": Typed(_times, _moment),
    "FLOAT64": Typed(st.floats(allow_nan=False), _float),
    "GEOGRAPHY": Typed(_words, str),
    "INT64": Typed(st.integers(-(2**63), 2**63 - 1), str),
    "INTERVAL": Typed(_words, str),
    "JSON": Typed(_words, str),
    "NUMERIC": Typed(st.integers(-(10**38) + 1, 10**38 - 1), _decimal(9)),
    "STRING": Typed(_words, str),
    "TIME": Typed(st.times(), _clock),
    "TIMESTAMP": Typed(_times.map(lambda value: value.replace(tzinfo=UTC)), _micros),
}
_scalars = st.sampled_from(sorted(TYPES))


def _read(value: Any, kind: str) -> Any:
    """Give what Arrow is to give for a value: decimals as such, all else as it is."""
    if value is not None and kind in {"BIGNUMERIC", "NUMERIC"}:
        return Decimal(TYPES[kind].text(value))
    return value


@st.composite
def columns(draw: st.DrawFn, depth: int = 0) -> Field:
    kind = draw(st.one_of(_scalars, st.sampled_from(["RANGE"] + ["STRUCT"] * (depth < 2))))
    inner: tuple[Field, ...] = ()
    if kind == "STRUCT":
        found = draw(st.lists(columns(depth + 1), min_size=1, max_size=3))
        inner = tuple(msgspec.structs.replace(one, name=f"f{at}") for at, one in enumerate(found))
    element = draw(st.sampled_from(["DATE", "DATETIME", "TIMESTAMP"])) if kind == "RANGE" else ""
    return Field("c", kind, draw(st.sampled_from(Mode)), inner, range_element=element)


@st.composite
def cells(draw: st.DrawFn, field: Field, *, single: bool = False) -> tuple[Any, Any]:
    """Draw a value: as the `v` of a cell, and as Arrow is to give it."""
    if field.mode is Mode.REPEATED and not single:
        found = draw(st.lists(cells(field, single=True), max_size=3))
        return [{"v": cell} for cell, _ in found], [value for _, value in found]
    if not draw(st.booleans()) and not draw(st.booleans()):
        return None, None
    if field.type == "STRUCT":
        parts_ = [draw(cells(inner)) for inner in field.fields]
        names = [inner.name for inner in field.fields]
        made = {"f": [{"v": cell} for cell, _ in parts_]}
        return made, dict(zip(names, (value for _, value in parts_), strict=True))
    if field.type == "RANGE":
        typed = TYPES[field.range_element]
        ends = [draw(st.one_of(st.none(), typed.values)) for _ in range(2)]
        texts = ["UNBOUNDED" if end is None else typed.text(end) for end in ends]
        return f"[{', '.join(texts)})", {"start": ends[0], "end": ends[1]}
    value = draw(TYPES[field.type].values)
    return TYPES[field.type].text(value), _read(value, field.type)


def read_back(fields: list[Field], rows: list[Row]) -> list[list[Any]]:
    """Read rows as clients do: the schema from its own message, then the batch with it."""
    written = ArrowRows(fields)
    schema = pa.ipc.read_schema(pa.py_buffer(written.schema))
    batch = pa.ipc.read_record_batch(pa.py_buffer(written.batch(rows)), schema)
    batch.validate()
    return [column.to_pylist() for column in batch.columns]


@given(st.data())
def test_every_value_comes_back_as_it_was(data: st.DataObject) -> None:
    field = data.draw(columns())
    drawn = data.draw(st.lists(cells(field), max_size=4))
    rows = [msgspec.Raw(msgspec.json.encode({"f": [{"v": cell}]})) for cell, _ in drawn]
    assert read_back([field], rows) == [[value for _, value in drawn]]  # type: ignore[arg-type]


def test_a_float_that_is_no_number_stays_one() -> None:
    [[value, none]] = read_back([Field("f", "FLOAT64")], [_row("NaN"), _row(None)])
    assert math.isnan(value)
    assert none is None


def test_types_are_those_of_the_storage_read_api() -> None:
    expected = {
        "BIGNUMERIC": pa.decimal256(76, 38),
        "BOOL": pa.bool_(),
        "BYTES": pa.binary(),
        "DATE": pa.date32(),
        "DATETIME": pa.timestamp("us"),
        "FLOAT64": pa.float64(),
        "INT64": pa.int64(),
        "NUMERIC": pa.decimal128(38, 9),
        "TIME": pa.time64("us"),
        "TIMESTAMP": pa.timestamp("us", tz="UTC"),
    } | dict.fromkeys(("GEOGRAPHY", "INTERVAL", "JSON", "STRING"), pa.string())
    written = ArrowRows([Field(kind, kind) for kind in TYPES])
    schema = pa.ipc.read_schema(pa.py_buffer(written.schema))
    assert {field.name: field.type for field in schema} == expected


def test_clients_can_tell_geographies_json_and_datetimes_from_texts_and_timestamps() -> None:
    written = ArrowRows([Field(kind, kind) for kind in TYPES])
    schema = pa.ipc.read_schema(pa.py_buffer(written.schema))
    noted = {field.name: field.metadata for field in schema if field.metadata}
    name = b"ARROW:extension:name"
    assert noted["GEOGRAPHY"] == {
        name: b"google:sqlType:geography",
        b"ARROW:extension:metadata": b'{"encoding": "WKT"}',
    }
    assert noted["JSON"] == {name: b"google:sqlType:json"}
    assert noted["DATETIME"] == {name: b"google:sqlType:datetime"}
    assert noted.keys() == {"GEOGRAPHY", "JSON", "DATETIME", "INTERVAL"}


@pytest.mark.parametrize("kind", sorted(TYPES.keys() - {"GEOGRAPHY", "INTERVAL", "JSON", "STRING"}))
def test_a_value_that_is_none_of_its_type_is_named_by_its_column_alone(kind: str) -> None:
    with pytest.raises(RefusedError) as caught:
        ArrowRows([Field("c", kind)]).batch([_row("s3cret!")])
    assert f"`c` holds a value that is no {kind}" in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@given(st.lists(st.integers(0, 700_000), max_size=8))
def test_parts_are_all_rows_in_their_order_and_none_is_much_too_large(sizes: list[int]) -> None:
    rows = [msgspec.Raw(b'{"f":[{"v":"%s"}]}' % (b"x" * size)) for size in sizes]
    made = list(parts(rows))
    assert [row for part in made for row in part] == rows
    assert all(part for part in made)
    assert all(sum(map(len, part[:-1])) < 1 << 20 for part in made)


def _row(value: object) -> Row:
    return {"f": [{"v": value}]}
