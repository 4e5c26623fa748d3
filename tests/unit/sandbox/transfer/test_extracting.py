from __future__ import annotations

import json
from typing import Any

import pytest

from keystile.model.schema import Field, Mode
from keystile.sandbox.transfer.extracting import json_record, plain_text


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        ("0", "1970-01-01 00:00:00 UTC"),
        ("-1", "1969-12-31 23:59:59.999999 UTC"),
        ("1704067200500000", "2024-01-01 00:00:00.500000 UTC"),
        ("-62135596800000000", "0001-01-01 00:00:00 UTC"),
        ("-30610224000000001", "0999-12-31 23:59:59.999999 UTC"),
        ("253402300799999999", "9999-12-31 23:59:59.999999 UTC"),
    ],
)
def test_a_moment_is_written_to_the_microsecond(micros: str, text: str) -> None:
    assert plain_text(micros, Field("t", "TIMESTAMP")) == text


def test_a_row_is_written_as_json() -> None:
    inner = (Field("x", "FLOAT64"), Field("y", "STRING"))
    fields = (
        Field("i", "INT64"),
        Field("b", "BOOL"),
        Field("f", "FLOAT64"),
        Field("j", "JSON"),
        Field("none", "STRING"),
        Field("r", "STRUCT", Mode.REPEATED, inner),
        Field("t", "TIMESTAMP", Mode.REPEATED),
    )
    record: dict[str, Any] = {"f": [{"v": "1.5"}, {"v": None}]}
    values = ["9", "true", "NaN", '{"a":[1]}', None, [{"v": record}], [{"v": "0"}]]
    written = json_record({"f": [{"v": value} for value in values]}, fields)
    assert json.loads(written) == {
        "i": "9",
        "b": True,
        "f": "NaN",
        "j": {"a": [1]},
        "r": [{"x": 1.5}],
        "t": ["1970-01-01 00:00:00 UTC"],
    }
