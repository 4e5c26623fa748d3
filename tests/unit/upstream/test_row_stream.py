from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.upstream import row_stream
from keystile.upstream.row_stream import RowSplitter

# Texts that look like what stands between rows, or like their beginning, and nested values.
TEXTS = st.one_of(
    st.sampled_from(['},{"f":', '"rows":[', "]}", '{"f":[{"v":"x"}]},{"f":', "\\", '"', "\n"]),
    st.text(max_size=8),
    st.none(),
)


def cells(values: list[Any]) -> list[Any]:
    return [{"v": value} for value in values]


def row(values: list[Any]) -> dict[str, Any]:
    return {"f": cells(values)}


VALUES = st.recursive(
    TEXTS,
    lambda inner: (
        st.builds(row, st.lists(inner, max_size=3)) | st.builds(cells, st.lists(inner, max_size=3))
    ),
    max_leaves=6,
)
ROWS = st.lists(st.builds(row, st.lists(VALUES, max_size=3)), max_size=12)


def taken(body: bytes, size: int) -> tuple[list[Any], Any, int]:
    """Feed a body in chunks; gives its rows, what the end says, and the number of pieces."""
    splitter, rows, pieces = RowSplitter(), list[msgspec.Raw](), 0
    for at in range(0, len(body), size):
        piece = splitter.feed(body[at : at + size])
        rows += piece
        pieces += bool(piece)
    end = splitter.end()
    return [msgspec.json.decode(row) for row in (*rows, *end.rows)], end, pieces


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_stream, "_FIRST_PIECE", 40)
    monkeypatch.setattr(row_stream, "_PIECE", 80)


def page(rows: list[Any], *, first: bool, **layout: Any) -> bytes:
    said = {"jobComplete": True, "totalRows": "12345", "pageToken": "t"}
    schema = {"schema": {"fields": [{"name": "rows", "type": "STRING"}]}}
    body = schema | {"rows": rows} | said if first else said | schema | {"rows": rows}
    return json.dumps(body, **layout).encode()


@given(rows=ROWS, size=st.integers(1, 200), first=st.booleans())
def test_rows_are_the_same_wherever_they_are_cut(
    rows: list[Any], size: int, *, first: bool
) -> None:
    body = page(rows, first=first, separators=(",", ":"))
    found, end, _ = taken(body, size)
    assert found == rows
    assert (end.job_complete, end.total_rows, end.page_token) == (True, 12345, "t")


@given(ROWS, st.integers(1, 200))
def test_another_layout_comes_as_one_piece(rows: list[Any], size: int) -> None:
    found, _, pieces = taken(page(rows, first=True, indent=1), size)
    assert (found, pieces) == (rows, 0)


def test_rows_come_before_their_end_is_there() -> None:
    rows = [{"f": [{"v": "x" * 20}]}] * 50
    splitter = RowSplitter()
    body = page(rows, first=True, separators=(",", ":"))
    assert splitter.feed(body[: len(body) // 2])


@pytest.mark.parametrize(
    "body",
    [
        b'{"rows":[{"f":[]},{"f":[]}',
        b'{"jobComplete":true,"rows":[{"f":[]},{"f":[]}]}]}',
        b'{"jobComplete":true,"rows":[{"f":[1},{"f":[]}]}',
        b'{"jobComplete":true,"rows":[{"f":[]}}},{"f":[]}]}',
    ],
)
def test_what_is_no_answer_has_no_end(body: bytes) -> None:
    for size in (1, 7, 1000):
        with pytest.raises(msgspec.MsgspecError):
            taken(body * 3 if size == 1000 else body, size)


def test_rows_of_something_inside_are_not_the_answers_rows() -> None:
    body = b'{"jobComplete":true,"errors":[{"rows":[{"f":[{"v":"inner"}]},{"f":[{"v":"inner"}]}]}]}'
    found, _, pieces = taken(body, 5)
    assert (found, pieces) == ([], 0)
