from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.model.errors import InvalidRequestError, RefusedError
from keystile.model.schema import TableId
from keystile.wire.streaming import (
    MAX_BYTES,
    MAX_ROWS,
    BadRow,
    NewRow,
    NewRows,
    RowFault,
    insert_all_resource,
    parse_rows,
    rows_body,
)

TABLE = TableId("acme-shop", "shop", "notes")


def parsed(*rows: Any, **more: Any) -> NewRows:
    return parse_rows(TABLE, json.dumps({"rows": rows, **more}).encode())


def sent(rows: NewRows) -> Any:
    return json.loads(rows_body(rows))


def test_rows_as_the_clients_send_them() -> None:
    python = parsed(
        {"json": {"id": 1, "note": None}, "insertId": "a"}, {"json": {"ID": 2}, "insertId": None}
    )
    assert python.rows == (NewRow('{"id":1,"note":null}', "a"), NewRow('{"ID":2}'))
    assert python.names == ("id", "note")
    assert not python.repeatable
    node = parsed({"json": {}, "insertId": "x"}, kind="k", traceId="t", skipInvalidRows=True)
    assert (node.skip_invalid, node.ignore_unknown, node.repeatable) == (True, False, True)
    go = parsed({"json": {"a": 1}}, templateSuffix="", ignoreUnknownValues=True)
    assert (go.skip_invalid, go.ignore_unknown) == (False, True)


def test_rows_that_python_numbers_keep_their_ids() -> None:
    rows = parsed({"json": {}, "insertId": 0}, {"json": {}, "insertId": 1})
    assert [row.insert_id for row in rows.rows] == ["0", "1"]
    assert rows.repeatable
    assert [row["insertId"] for row in sent(rows)["rows"]] == ["0", "1"]


def test_bigquery_gets_the_rows_and_no_word_besides() -> None:
    rows = parsed({"json": {"id": 1}, "insertId": "a"}, {"json": {}}, traceId="t", kind="k")
    assert sent(rows) == {
        "rows": [{"insertId": "a", "json": {"id": 1}}, {"json": {}}],
        "skipInvalidRows": False,
        "ignoreUnknownValues": False,
    }


@pytest.mark.parametrize(
    "number",
    ["1.10", "123456789012345678901234567890.123456789", "9223372036854775808", "-0.0", "1"],
)
def test_no_digit_of_a_number_is_lost(number: str) -> None:
    body = b'{"rows":[{"json":{"a":[{"b":' + number.encode() + b"}]}}]}"
    rows = parse_rows(TABLE, body)
    assert rows.rows[0].json == '{"a":[{"b":' + number + "}]}"
    assert rows.rows[0].json.encode() in rows_body(rows)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "rows"),
        ({"rows": []}, "No rows present"),
        ({"rows": {}}, "rows"),
        ({"rows": [{}]}, "json"),
        ({"rows": [{"json": None}]}, "json"),
        ({"rows": [{"json": []}]}, "json"),
        ({"rows": [{"json": {}, "insertId": []}]}, "insertId"),
        ({"rows": [{"json": {}, "insertId": True}]}, "insertId"),
        ({"rows": [{"json": {}, "rowOfTomorrow": 7}]}, "rowOfTomorrow"),
        ({"rows": [{"json": {}}], "fieldOfTomorrow": 7}, "fieldOfTomorrow"),
        ({"rows": [{"json": {}}], "skipInvalidRows": "yes"}, "skipInvalidRows"),
        ({"rows": [{"json": {}}] * (MAX_ROWS + 1)}, "more than 50000"),
    ],
)
def test_what_is_malformed_is_named(body: Any, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        parse_rows(TABLE, json.dumps(body).encode())


def test_a_request_is_as_large_as_bigquery_takes_it() -> None:
    body = json.dumps({"rows": [{"json": {"a": "x" * (2 << 20)}}]}).encode()
    assert len(parse_rows(TABLE, body).rows) == 1
    with pytest.raises(InvalidRequestError, match="larger than"):
        parse_rows(TABLE, body + b" " * MAX_BYTES)


@pytest.mark.parametrize(
    "row", [b'{"a":1,"a":2}', b'{"a":{"b":1,"\\u0062":2}}', b'{"a":NaN}', b'{"a":1e999}', b"\xff"]
)
def test_a_row_has_one_meaning(row: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        parse_rows(TABLE, b'{"rows":[{"json":' + row + b"}]}")


def test_a_template_makes_no_table() -> None:
    with pytest.raises(RefusedError, match="`templateSuffix` is refused"):
        parsed({"json": {}}, templateSuffix="_2024")


def test_the_answer_names_what_is_wrong_with_which_row() -> None:
    assert insert_all_resource(()) == {"kind": "bigquery#tableDataInsertAllResponse"}
    bad = (BadRow(1, (RowFault("invalid", "id", "no number"),)), BadRow(0, (RowFault("stopped"),)))
    assert insert_all_resource(bad)["insertErrors"] == [
        {
            "index": 1,
            "errors": [
                {"reason": "invalid", "location": "id", "message": "no number", "debugInfo": ""}
            ],
        },
        {
            "index": 0,
            "errors": [{"reason": "stopped", "location": "", "message": "", "debugInfo": ""}],
        },
    ]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.lists(st.dictionaries(st.text(), _JSON, max_size=4), min_size=1, max_size=4))
def test_what_is_sent_is_what_came(rows: list[dict[str, Any]]) -> None:
    with contextlib.suppress(InvalidRequestError):  # a number that no computer knows
        given_ = parsed(*({"json": row} for row in rows))
        assert [row["json"] for row in sent(given_)["rows"]] == rows


@given(st.binary(max_size=200))
def test_any_bytes_give_rows_or_an_error_of_ours(body: bytes) -> None:
    with contextlib.suppress(InvalidRequestError, RefusedError):
        parse_rows(TABLE, body)
