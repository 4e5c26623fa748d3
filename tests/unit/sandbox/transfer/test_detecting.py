from __future__ import annotations

import pytest

from keystile.model.schema import Field, Mode
from keystile.sandbox.transfer.delimited import Value
from keystile.sandbox.transfer.detecting import csv_columns, joined, json_fields, text_type
from keystile.sandbox.transfer.values import parse_json


def _row(*texts: str) -> tuple[Value, ...]:
    return tuple(map(Value, texts))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("1", "INT64"),
        ("-12", "INT64"),
        ("9223372036854775807", "INT64"),
        ("9223372036854775809", "FLOAT64"),
        ("1.", "FLOAT64"),
        ("1e3", "FLOAT64"),
        ("true", "BOOL"),
        ("No", "BOOL"),
        ("2024-01-31", "DATE"),
        ("10:00:00", "TIME"),
        ("2024-01-31 10:00:00", "TIMESTAMP"),
        ("2024-01-31T10:00:00.5Z", "TIMESTAMP"),
        ("2024-01-31 10:00:00 UTC", "TIMESTAMP"),
        ("2024-01-31 10:00:00+05:30", "TIMESTAMP"),
        ("31.01.2024", "STRING"),
        ("", "STRING"),
        ("nan", "STRING"),
    ],
)
def test_a_text_looks_like_its_type(text: str, kind: str) -> None:
    assert text_type(text) == kind


def test_types_meet_in_one_that_holds_all() -> None:
    assert joined(["INT64", "FLOAT64"]) == "FLOAT64"
    assert joined(["INT64", "DATE"]) == "STRING"
    assert joined([]) == "STRING"


def test_a_first_row_of_texts_above_other_types_is_a_header() -> None:
    found = csv_columns([_row("my id", "a", "a", "2x"), _row("1", "x", "", "2.5")], [""])
    assert found.header
    names = [(field.name, field.type) for field in found.fields]
    assert names == [("my_id", "INT64"), ("a", "STRING"), ("a_1", "STRING"), ("_2x", "FLOAT64")]


def test_texts_above_texts_are_rows() -> None:
    found = csv_columns([_row("a", "b"), _row("c", "d")], [""])
    assert not found.header
    assert [field.name for field in found.fields] == ["string_field_0", "string_field_1"]


def test_records_and_lists_are_joined_over_all_rows() -> None:
    lines = ('{"a": {"x": 1}}', '{"a": {"x": 1.5, "y": [true]}}', '{"b": null, "c": []}')
    rows = [row for line in lines if isinstance(row := parse_json(line), dict)]
    inner = (Field("x", "FLOAT64"), Field("y", "BOOL", Mode.REPEATED))
    assert json_fields(rows) == (
        Field("a", "STRUCT", fields=inner),
        Field("b", "STRING"),
        Field("c", "STRING", Mode.REPEATED),
    )
