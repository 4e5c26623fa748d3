from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet as pq

from keystile.model.errors import InvalidRequestError
from keystile.model.schema import Field, Mode
from keystile.sandbox.errors import UnsupportedError
from keystile.sandbox.transfer.parquet import columns, rows
from keystile.sandbox.transfer.requests import Load
from keystile.sandbox.transfer.storage import Source
from keystile.sandbox.transfer.values import BadRowError

_MAX = 1 << 20


def _asked(*, lists: bool = True, **options: Any) -> Load:
    options["parquetOptions"] = {"enableListInference": lists}
    return msgspec.convert(options, Load)


def _file(tmp_path: Path, table: pa.Table, **options: Any) -> Source:
    file = tmp_path / "t.parquet"
    pq.write_table(table, file, **options)
    return Source(file)


def _column(tmp_path: Path, values: list[Any], type_: pa.DataType, **options: Any) -> Source:
    return _file(tmp_path, pa.table({"c": pa.array(values, type_)}), **options)


_MOMENT = datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=UTC)
_PLAIN = _MOMENT.replace(tzinfo=None)
_TEXT = "2024-02-29 23:59:59.123456"


@pytest.mark.parametrize(
    ("type_", "value", "kind", "text"),
    [
        (pa.int32(), -7, "INT64", "-7"),
        (pa.uint8(), 7, "INT64", "7"),
        (pa.int64(), 1 << 62, "INT64", str(1 << 62)),
        (pa.float32(), 1.5, "FLOAT64", "1.5"),
        (pa.float64(), float("-inf"), "FLOAT64", "-inf"),
        (pa.bool_(), True, "BOOL", "true"),
        (pa.string(), "ü", "STRING", "ü"),
        (pa.large_string(), "ü", "STRING", "ü"),
        (pa.dictionary(pa.int8(), pa.string()), "ü", "STRING", "ü"),
        (pa.binary(), b"\0\xff", "BYTES", "AP8="),
        (pa.binary(2), b"\0\xff", "BYTES", "AP8="),
        (pa.uuid(), b"0123456789abcdef", "BYTES", "MDEyMzQ1Njc4OWFiY2RlZg=="),
        (pa.date32(), date(2024, 2, 29), "DATE", "2024-02-29"),
        (pa.timestamp("ms", "UTC"), _MOMENT.replace(microsecond=0), "TIMESTAMP", None),
        (pa.timestamp("us", "UTC"), _MOMENT, "TIMESTAMP", f"{_TEXT}+00:00"),
        (pa.timestamp("us", "Europe/Paris"), _MOMENT, "TIMESTAMP", f"{_TEXT}+00:00"),
        (pa.timestamp("us"), _PLAIN, "DATETIME", _TEXT),
        (pa.timestamp("ns"), 1_709_251_199_123_456_789, "DATETIME", _TEXT),
        (pa.time32("ms"), time(1, 2, 3), "TIME", "01:02:03"),
        (pa.time64("ns"), 3_723_000_000_999, "TIME", "01:02:03"),
        (pa.duration("us"), 5, "INT64", "5"),
        (pa.decimal128(38, 9), Decimal("1.10"), "NUMERIC", "1.100000000"),
        (pa.null(), None, "INT64", None),
    ],
)
def test_each_type_is_the_one_that_bigquery_makes_of_it(
    tmp_path: Path, type_: pa.DataType, value: Any, kind: str, text: str | None
) -> None:
    source = _column(tmp_path, [value, None], type_)
    (field,) = columns(source, _asked())
    assert field == Field("c", kind)
    first, second = rows(source, [field], _asked(), _MAX)
    text = "2024-02-29 23:59:59+00:00" if kind == "TIMESTAMP" and text is None else text
    assert (first, second) == ({"c": text}, {"c": None})


def test_a_moment_as_int96_is_in_utc(tmp_path: Path) -> None:
    source = _column(tmp_path, [_PLAIN], pa.timestamp("us"), use_deprecated_int96_timestamps=True)
    (field,) = columns(source, _asked())
    assert field.type == "TIMESTAMP"
    assert list(rows(source, [field], _asked(), _MAX)) == [{"c": f"{_TEXT}+00:00"}]


@pytest.mark.parametrize(
    ("precision", "scale", "wanted", "kind"),
    [
        (38, 9, None, "NUMERIC"),
        (38, 20, None, "NUMERIC"),
        (38, 20, ["BIGNUMERIC", "NUMERIC"], "BIGNUMERIC"),
        (10, 2, ["BIGNUMERIC", "NUMERIC"], "NUMERIC"),
        (76, 38, ["BIGNUMERIC"], "BIGNUMERIC"),
        (76, 2, ["NUMERIC", "STRING"], "STRING"),
    ],
)
def test_a_decimal_is_of_the_first_type_that_holds_its_digits(
    tmp_path: Path, precision: int, scale: int, wanted: list[str] | None, kind: str
) -> None:
    source = _column(tmp_path, [Decimal(1)], pa.decimal256(precision, scale))
    asked = _asked(**({"decimalTargetTypes": wanted} if wanted else {}))
    assert columns(source, asked)[0].type == kind


_NESTED = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("tags", pa.list_(pa.string())),
        pa.field("people", pa.list_(pa.struct([("name", pa.string()), ("at", pa.time64("ns"))]))),
    ]
)
_NESTED_FIELDS = (
    Field("id", "INT64", Mode.REQUIRED),
    Field("tags", "STRING", Mode.REPEATED),
    Field("people", "STRUCT", Mode.REPEATED, (Field("name", "STRING"), Field("at", "TIME"))),
)


def test_lists_and_structs_are_repeated_and_records(tmp_path: Path) -> None:
    row = {"id": 1, "tags": ["a", ""], "people": [{"name": "Ada", "at": 1000}]}
    table = pa.Table.from_pylist([row, {"id": 2}], _NESTED)
    source = _file(tmp_path, table)
    assert columns(source, _asked()) == _NESTED_FIELDS
    people = [{"name": "Ada", "at": "00:00:00.000001"}]
    assert list(rows(source, _NESTED_FIELDS, _asked(), _MAX)) == [
        {"id": "1", "tags": ["a", ""], "people": people},
        {"id": "2", "tags": [], "people": []},
    ]


def test_columns_go_by_name_and_those_that_miss_are_null(tmp_path: Path) -> None:
    source = _file(tmp_path, pa.table({"B": ["x"], "a": [1]}))
    fields = (Field("a", "INT64"), Field("b", "STRING"), Field("c", "DATE"))
    assert list(rows(source, fields, _asked(), _MAX)) == [{"a": "1", "b": "x", "c": None}]


@pytest.mark.parametrize(
    ("field", "said"),
    [
        (Field("d", "INT64"), "No such field: c"),
        (Field("c", "STRING"), "Parquet column 'c' has type INT64 .* target cpp_type STRING"),
        (Field("c", "INT64", Mode.REPEATED), "specified as REPEATED .* does not match NULLABLE"),
    ],
)
def test_a_column_that_is_not_what_is_wanted_is_told(
    tmp_path: Path, field: Field, said: str
) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        list(rows(_column(tmp_path, [], pa.int64()), [field], _asked(), _MAX))


@pytest.mark.parametrize("names", [["c", "c"], ["c", "C"]])
def test_two_columns_of_one_name_broke_the_sandbox(tmp_path: Path, names: list[str]) -> None:
    source = _file(tmp_path, pa.table([[1], [2]], names=names))
    with pytest.raises(InvalidRequestError, match="Duplicate column name `c`"):
        list(rows(source, [Field("c", "INT64")], _asked(), _MAX))


def test_unknown_columns_are_passed_over_where_asked(tmp_path: Path) -> None:
    source = _file(tmp_path, pa.table({"a": [1], "b": [2]}))
    asked = _asked(ignoreUnknownValues=True)
    assert list(rows(source, [Field("a", "INT64")], asked, _MAX)) == [{"a": "1"}]


def test_a_null_where_none_may_be_spoils_its_row_only(tmp_path: Path) -> None:
    table = pa.table({"a": [1, None, 3], "l": pa.array([[1], [1], [None]], pa.list_(pa.int64()))})
    fields = (Field("a", "INT64", Mode.REQUIRED), Field("l", "INT64", Mode.REPEATED))
    good, no_value, no_item = rows(_file(tmp_path, table), fields, _asked(), _MAX)
    assert good == {"a": "1", "l": ["1"]}
    assert isinstance(no_value, BadRowError)
    assert isinstance(no_item, BadRowError)
    assert "Field: a;" in str(no_value)
    assert "Field: l;" in str(no_item)


@pytest.mark.parametrize(
    ("type_", "said"),
    [
        (pa.map_(pa.string(), pa.string()), "the type `map<.*` in Parquet, of `c`"),
        (pa.list_(pa.list_(pa.string())), "the type `list<.*` in Parquet, of `c`"),
    ],
)
def test_types_that_have_no_column_are_refused(
    tmp_path: Path, type_: pa.DataType, said: str
) -> None:
    with pytest.raises(UnsupportedError, match=said):
        columns(_column(tmp_path, [], type_), _asked())


def test_a_list_without_inference_is_refused_with_what_to_set(tmp_path: Path) -> None:
    source = _column(tmp_path, [["a"]], pa.list_(pa.string()))
    with pytest.raises(UnsupportedError, match='"enableListInference": true'):
        columns(source, _asked(lists=False))


def test_more_than_is_allowed_once_unpacked_is_refused(tmp_path: Path) -> None:
    source = _column(tmp_path, ["x" * 100] * 5000, pa.string())
    with pytest.raises(UnsupportedError, match="larger than 1000 bytes"):
        list(rows(source, [Field("c", "STRING")], _asked(), 1000))


def test_bytes_that_are_no_text_spoil_a_row_of_texts(tmp_path: Path) -> None:
    source = _column(tmp_path, [b"a", b"\xff"], pa.binary())
    good, bad = rows(source, [Field("c", "STRING")], _asked(), _MAX)
    assert good == {"c": "a"}
    assert isinstance(bad, BadRowError)


def test_a_day_that_no_calendar_here_has_is_told(tmp_path: Path) -> None:
    source = _column(tmp_path, [1 << 60], pa.timestamp("us"))
    with pytest.raises(InvalidRequestError, match="Parquet"):
        list(rows(source, [Field("c", "DATETIME")], _asked(), _MAX))


def _whole(tmp_path: Path) -> bytes:
    table = pa.table({"c": ["x", "y"] * 50, "n": list(range(100))})
    return _file(tmp_path, table, compression="NONE").file.read_bytes()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(data=st.data())
def test_a_damaged_file_is_read_or_told_and_nothing_else(tmp_path: Path, data: Any) -> None:
    whole = bytearray(_whole(tmp_path))
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=4)):
        whole[at] ^= data.draw(st.integers(1, 255))
    end = data.draw(st.one_of(st.just(len(whole)), st.integers(0, len(whole))))
    file = tmp_path / "damaged"
    file.write_bytes(whole[:end])
    try:
        fields = columns(Source(file), _asked())
        list(rows(Source(file), fields, _asked(), _MAX))
    except (InvalidRequestError, UnsupportedError):
        pass
