from __future__ import annotations

import pytest

from keystile.model.schema import SqlType
from keystile.sandbox.errors import UnsupportedError
from keystile.sandbox.geography import check_calls, holds_geography, kept_as, point_text

_PLACE = SqlType("GEOGRAPHY")


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("POINT(-122.0838511 37.3860517)", "POINT(-122.0838511 37.3860517)"),
        ("point ( -135.0000  90.0000 )", "POINT(-135 90)"),
        ("POINT(-0.0 1e1)", "POINT(0 10)"),
    ],
)
def test_a_point_is_written_as_bigquery_writes_it(text: str, written: str) -> None:
    assert point_text(text) == written


@pytest.mark.parametrize("text", ["", "LINESTRING(1 1, 2 2)", "POINT(1)", "POINT(181 0)", "0101"])
def test_what_is_no_point_is_refused(text: str) -> None:
    with pytest.raises(UnsupportedError):
        point_text(text)


def test_geographies_are_kept_as_text_wherever_they_are() -> None:
    record = SqlType("STRUCT", fields=(("at", SqlType("ARRAY", _PLACE)), ("n", SqlType("INT64"))))
    assert holds_geography(record)
    assert not holds_geography(kept_as(record))
    assert str(kept_as(record)) == "STRUCT<at ARRAY<STRING>, n INT64>"


def test_no_function_looks_into_a_geography() -> None:
    check_calls([("COUNT",), ("if",)])
    for path in (("TO_JSON_STRING",), ("typeof",), ("d", "count")):
        with pytest.raises(UnsupportedError, match="beside a column of type GEOGRAPHY"):
            check_calls([path])
