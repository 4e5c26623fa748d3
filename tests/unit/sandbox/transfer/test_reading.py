from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from pyarrow import parquet

from keystile.model.errors import InvalidRequestError
from keystile.model.schema import Field, Mode
from keystile.sandbox.errors import UnsupportedError
from keystile.sandbox.transfer import reading
from keystile.sandbox.transfer.reading import Reader
from keystile.sandbox.transfer.requests import Load
from keystile.sandbox.transfer.storage import Source

_TEXTS = (Field("a", "STRING"), Field("b", "STRING"))


def _reader(tmp_path: Path, *contents: bytes, **options: Any) -> Reader:
    sources = []
    for at, content in enumerate(contents):
        file = tmp_path / str(at)
        file.write_bytes(content)
        sources.append(Source(file, f"gs://b/{at}"))
    return Reader(Load(**options), sources)


def _rows(reader: Reader, fields: tuple[Field, ...] = _TEXTS) -> list[list[object]]:
    reads = list(reader.rows(fields))
    assert [read.problem for read in reads if read.problem] == []
    return [list(read.values.values()) for read in reads]


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("UTF-8", "utf-8"),
        ("UTF-8", "utf-8-sig"),
        ("iso-8859-1", "latin-1"),
        ("UTF-16LE", "utf-16-le"),
        ("UTF-32BE", "utf-32-be"),
    ],
)
def test_a_file_is_read_in_its_encoding(tmp_path: Path, name: str, codec: str) -> None:
    assert _rows(_reader(tmp_path, "é,b\n".encode(codec), encoding=name)) == [["é", "b"]]


def test_other_encodings_formats_and_delimiters_are_refused(tmp_path: Path) -> None:
    for options in ({"encoding": "EBCDIC"}, {"field_delimiter": ",,"}, {"quote": "ab"}):
        with pytest.raises(InvalidRequestError):
            _reader(tmp_path, **options)
    with pytest.raises(UnsupportedError, match="AVRO"):
        _reader(tmp_path, source_format="AVRO")
    with pytest.raises(UnsupportedError, match="decimalTargetTypes"):
        _reader(tmp_path, decimal_target_types=("BIGNUMERIC",))


def test_options_of_parquet_that_are_not_followed_are_refused() -> None:
    options = {"sourceFormat": "PARQUET", "parquetOptions": {"enumAsString": True}}
    with pytest.raises(UnsupportedError, match="enumAsString"):
        Reader(msgspec.convert(options, Load), [])


def test_each_file_has_its_header(tmp_path: Path) -> None:
    reader = _reader(tmp_path, b"h,h\n1,2\n", b"h,h\n3,4\n", skip_leading_rows=1)
    assert _rows(reader) == [["1", "2"], ["3", "4"]]


def test_a_header_that_is_detected_is_left_out(tmp_path: Path) -> None:
    reader = _reader(tmp_path, b"\n".join([b"id|name", b"1|x", b"2|y"]), autodetect=True)
    fields = reader.detect(())
    assert [(field.name, field.type) for field in fields] == [("id", "INT64"), ("name", "STRING")]
    assert _rows(reader, fields) == [["1", "x"], ["2", "y"]]


def test_no_header_is_looked_for_where_none_is_to_be_skipped(tmp_path: Path) -> None:
    reader = _reader(tmp_path, b"id,name\n1,x\n", autodetect=True, skip_leading_rows=0)
    assert [field.type for field in reader.detect(())] == ["STRING", "STRING"]
    assert len(_rows(reader)) == 2


def test_rows_above_the_header_are_passed_over(tmp_path: Path) -> None:
    text = b"made by us\nid,name\n1,x\n"
    reader = _reader(tmp_path, text, autodetect=True, skip_leading_rows=2)
    assert [field.name for field in reader.detect(())] == ["id", "name"]
    assert _rows(reader) == [["1", "x"]]


def test_a_column_that_the_table_has_keeps_its_type(tmp_path: Path) -> None:
    known = (Field("ID", "STRING"),)
    reader = _reader(tmp_path, b'{"id": 1, "x": 2}', source_format="NEWLINE_DELIMITED_JSON")
    assert reader.detect(known) == (known[0], Field("x", "INT64"))


def test_a_file_without_rows_has_no_columns(tmp_path: Path) -> None:
    for name in ("CSV", "NEWLINE_DELIMITED_JSON"):
        with pytest.raises(InvalidRequestError, match="Schema has no fields"):
            _reader(tmp_path, b"\n\n", source_format=name).detect(())


def test_the_position_of_a_bad_row_of_json_is_in_bytes(tmp_path: Path) -> None:
    text = '\ufeff{"a": "é"}\n\n{"c": 1}\n'.encode()
    reader = _reader(tmp_path, text, source_format="NEWLINE_DELIMITED_JSON")
    good, bad = reader.rows(_TEXTS)
    assert good.values == {"a": "é", "b": None}
    at = text.index(b'{"c"')
    assert bad.problem == f"JSON parsing error in row starting at position {at}: No such field: c."


def test_what_unpacks_to_more_than_allowed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_BYTES", 1000)
    assert _rows(_reader(tmp_path, gzip.compress(b"a,b\n" * 250))) == [["a", "b"]] * 250
    with pytest.raises(UnsupportedError, match="larger than 1000 bytes"):
        _rows(_reader(tmp_path, gzip.compress(b"a,b\n" * 251)))


def test_a_broken_gzip_is_told(tmp_path: Path) -> None:
    packed = gzip.compress(b"a,b\n" * 1000)
    for broken in (packed[:-10], packed[:20] + b"\0\0\0" + packed[23:]):
        with pytest.raises(InvalidRequestError, match="cannot unpack gzip"):
            _rows(_reader(tmp_path, broken))


def _parquet(**columns: list[Any]) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pa.table(columns), file)
    return file.getvalue()


def test_the_last_parquet_file_by_name_says_what_the_columns_are(tmp_path: Path) -> None:
    reader = _reader(tmp_path, _parquet(a=["x"]), _parquet(a=["y"], b=[1]), source_format="PARQUET")
    fields = reader.detect(())
    assert fields == (Field("a", "STRING"), Field("b", "INT64"))
    assert _rows(reader, fields) == [["x", None], ["y", "1"]]


def test_columns_of_parquet_that_the_table_has_not_are_passed_over_where_asked(
    tmp_path: Path,
) -> None:
    options: dict[str, Any] = {"source_format": "PARQUET", "ignore_unknown_values": True}
    known, content = (Field("A", "STRING"),), _parquet(a=["x"], b=[1])
    assert _reader(tmp_path, content, **options).detect(known) == (Field("a", "STRING"),)
    options["schema_update_options"] = ("ALLOW_FIELD_ADDITION",)
    assert len(_reader(tmp_path, content, **options).detect(known)) == 2


def test_a_bad_row_of_parquet_is_told_by_its_number(tmp_path: Path) -> None:
    reader = _reader(tmp_path, _parquet(a=["x", None]), source_format="PARQUET")
    good, bad = reader.rows([Field("a", "STRING", Mode.REQUIRED)])
    assert (good.values, good.problem) == ({"a": "x"}, "")
    assert (bad.position, bad.problem) == (
        1,
        "Only optional fields can be set to NULL. Field: a; Value: NULL",
    )
