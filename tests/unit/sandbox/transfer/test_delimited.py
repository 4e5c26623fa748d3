from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.sandbox.transfer.delimited import Dialect, Line, Value, read, written

_OPEN = Dialect(quoted_newlines=True)
_DELIMITERS = st.sampled_from([",", ";", "\t", "|", "þ"])
# All but NUL, which BigQuery refuses, and lone surrogates, which no file can hold.
_TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
_MEAN_TEXTS = st.text(st.sampled_from('",;\t|þ\r\n \\aé'), max_size=6) | _TEXTS


def _lines(text: str, dialect: Dialect = _OPEN) -> list[Line]:
    return list(read(io.StringIO(text, newline=""), dialect))


def _values(text: str, dialect: Dialect = _OPEN) -> list[list[tuple[str, bool]]]:
    return [[(value.text, value.quoted) for value in line.values] for line in _lines(text, dialect)]


@given(st.lists(st.lists(st.none() | _MEAN_TEXTS, min_size=2, max_size=4)), _DELIMITERS)
def test_what_extract_writes_is_read_again(rows: list[list[str | None]], delimiter: str) -> None:
    text = "".join(written(row, delimiter) for row in rows)
    dialect = Dialect(delimiter, quoted_newlines=True)
    found = [
        [None if value.text == "" and not value.quoted else value.text for value in line.values]
        for line in _lines(text, dialect)
    ]
    assert found == rows


@given(
    st.lists(st.lists(_MEAN_TEXTS, min_size=1, max_size=4)),
    _DELIMITERS,
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_pythons_writer_quotes_is_read(
    rows: list[list[str]], delimiter: str, line_end: str
) -> None:
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=delimiter, lineterminator=line_end, quoting=csv.QUOTE_ALL)
    writer.writerows(rows)
    lines = _lines(file.getvalue(), Dialect(delimiter, quoted_newlines=True))
    assert [[value.text for value in line.values] for line in lines] == rows
    assert all(value.quoted for line in lines for value in line.values)


@given(_MEAN_TEXTS, st.booleans(), st.sampled_from(['"', "'", ""]))
def test_any_text_is_read_to_its_end(text: str, newlines: bool, quote: str) -> None:  # noqa: FBT001
    lines = _lines(text, Dialect(quote=quote, quoted_newlines=newlines))
    positions = [line.position for line in lines]
    assert positions == sorted(set(positions))
    assert all(position < len(text.encode()) for position in positions)
    assert all(bool(line.problem) is not bool(line.values) for line in lines)


def test_nothing_and_an_empty_text_differ() -> None:
    assert _values('a,,""\n') == [[("a", False), ("", False), ("", True)]]


def test_a_line_of_blanks_is_a_value_and_an_empty_one_is_none() -> None:
    assert _values("  \n\n\r\n") == [[("  ", False)]]


def test_positions_are_bytes_and_count_what_was_skipped() -> None:
    lines = _lines('é\n\n"x\ny",1\r\nlast')
    assert [(line.position, len(line.values)) for line in lines] == [(0, 1), (4, 2), (13, 1)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('"a\nb"\n', "Missing close double quote"),
        ('"a"b,c\n', "Data between close double quote"),
        ("a\0b\n", "ASCII 0"),
    ],
)
def test_a_broken_line_is_told_and_the_next_is_read(text: str, said: str) -> None:
    broken, *_, good = _lines(text + "x,y\n", Dialect())
    assert said in broken.problem
    assert good.values == (Value("x"), Value("y"))


def test_a_quote_that_never_closes_ends_with_the_file() -> None:
    (line,) = _lines('"a\nb\nc')
    assert "Missing close" in line.problem


def test_a_quote_inside_a_value_is_text() -> None:
    assert _values('a"b,c\n') == [[('a"b', False), ("c", False)]]
    assert _values('"a","b"\n', Dialect(quote="")) == [[('"a"', False), ('"b"', False)]]
