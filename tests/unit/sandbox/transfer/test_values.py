from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.model.schema import Field, Mode
from keystile.sandbox.transfer.delimited import Value
from keystile.sandbox.transfer.values import (
    BadRowError,
    json_text,
    line_texts,
    parse_json,
    record_texts,
)

_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(_JSON)
def test_json_is_written_as_it_was_read(value: object) -> None:
    assert json.loads(json_text(parse_json(json.dumps(value)))) == value


def test_no_digit_of_a_number_is_lost() -> None:
    text = "12345678901234567890.12345678901234567890"
    row = record_texts(
        parse_json(f'{{"n": {text}, "j": [{text}]}}'),
        (Field("n", "BIGNUMERIC"), Field("j", "JSON")),
        "",
        ignore_unknown=False,
    )
    assert row == {"n": text, "j": f"[{text}]"}


def test_names_are_found_whatever_their_case() -> None:
    row = record_texts({"A": "x"}, (Field("a", "STRING"),), "", ignore_unknown=False)
    assert row == {"a": "x"}


@pytest.mark.parametrize(
    ("value", "field", "said"),
    [
        ("3", Field("s", "STRING"), "Could not convert value to string. Field: s; Value: 3"),
        ("true", Field("i", "INT64"), "Could not convert value to integer. Field: i; Value: true"),
        ("true", Field("d", "DATE"), "Could not convert value to date"),
        ("{}", Field("s", "STRING"), "JSON object specified for non-record field: s"),
        ("1", Field("r", "STRUCT"), "Non-record value specified for record field: r."),
        ("1", Field("l", "INT64", Mode.REPEATED), "must be imported as a JSON array. Field: l."),
        ("[1, null]", Field("l", "INT64", Mode.REPEATED), "Only optional fields can be set to"),
    ],
)
def test_a_value_of_another_shape_is_told(value: str, field: Field, said: str) -> None:
    line = f'{{"{field.name}": {value}}}'
    with pytest.raises(BadRowError) as raised:
        record_texts(parse_json(line), (field,), "", ignore_unknown=False)
    assert said in str(raised.value)


def test_unknown_fields_are_let_pass_at_any_depth_where_that_is_asked() -> None:
    fields = (Field("r", "STRUCT", fields=(Field("a", "STRING"),)),)
    given_row = {"r": {"a": "x", "b": 1}, "c": 2}
    assert record_texts(given_row, fields, "", ignore_unknown=True) == {"r": {"a": "x"}}
    with pytest.raises(BadRowError, match="No such field: c"):
        record_texts(given_row, fields, "", ignore_unknown=False)
    with pytest.raises(BadRowError, match=r"No such field: r\.b"):
        record_texts({"r": {"b": 1}}, fields, "", ignore_unknown=False)


@pytest.mark.parametrize(
    ("text", "kind", "found"),
    [
        ("0", "TIMESTAMP", "1970-01-01 00:00:00+00:00"),
        ("-1.5", "TIMESTAMP", "1969-12-31 23:59:58.500000+00:00"),
        ("1408452095.22", "TIMESTAMP", "2014-08-19 12:41:35.220000+00:00"),
        ("2024-01-01 00:00:00", "TIMESTAMP", "2024-01-01 00:00:00"),
        (" Y ", "BOOL", "true"),
        ("0", "BOOL", "false"),
        ("+7", "INT64", "+7"),
        ("-.5e3", "FLOAT64", "-.5e3"),
    ],
)
def test_a_scalar_of_a_line_is_made_ready_to_cast(text: str, kind: str, found: str) -> None:
    assert line_texts([Value(text)], (Field("c", kind),), [""]) == {"c": found}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("0x10", "INT64"),
        ("1.0", "INT64"),
        ("maybe", "BOOL"),
        ("0x1p3", "FLOAT64"),
        ("-99999999999", "TIMESTAMP"),
        ("٣", "INT64"),
    ],
)
def test_what_only_a_cast_would_take_is_refused(text: str, kind: str) -> None:
    with pytest.raises(BadRowError, match=f"as {kind} for field c"):
        line_texts([Value(text)], (Field("c", kind),), [""])


def test_quotes_keep_an_empty_text_where_texts_go() -> None:
    fields = (Field("s", "STRING"), Field("i", "INT64"))
    quoted = [Value("", quoted=True)] * 2
    assert line_texts(quoted, fields, [""]) == {"s": "", "i": None}
    assert line_texts([Value("")] * 2, fields, [""]) == {"s": None, "i": None}
    with pytest.raises(BadRowError):
        line_texts([Value("")] * 2, fields, ["NULL"])
