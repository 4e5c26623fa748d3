from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.analysis.places import (
    Translation,
    engine_place,
    engine_places,
    in_engine_words,
    line_and_column,
)
from keystile.analysis.text import Edit, splice, unspliced
from keystile.model.facts import Opaque

TEXTS = st.text(alphabet="ab\t\r\n ü😀", max_size=30)


@pytest.mark.parametrize(
    ("before", "place", "in_words"),
    [
        ("", (1, 1), "[1:1]"),
        ("SELECT ", (1, 8), "[1:8]"),
        ("SELECT\t1, ", (1, 11), "[1:12]"),
        ("SELECT\n\t", (2, 2), "[2:9]"),
        ("SELECT\r\n  ", (2, 3), "[2:3]"),
        ("SELECT\r", (2, 1), "[2:1]"),
        ("'😀ü' ", (1, 6), "[1:6]"),
    ],
)
def test_ours_count_characters_and_the_engines_widths(
    before: str, place: tuple[int, int], in_words: str
) -> None:
    sql = f"{before}x\n\ty"
    assert line_and_column(sql, len(before.encode())) == place
    assert in_engine_words(sql, len(before.encode())) == in_words


@given(TEXTS, st.lists(st.integers(0, 30)))
def test_many_places_are_those_of_each(sql: str, ends: list[int]) -> None:
    offsets = [len(sql[:end].encode()) for end in ends]
    assert engine_places(sql, offsets) == {at: engine_place(sql, at) for at in offsets}


@given(TEXTS, TEXTS, TEXTS)
def test_places_survive_what_was_spliced_in_before_them(before: str, gap: str, after: str) -> None:
    original = f"{before}`p.d.t`{gap}x{after}"
    start = len(before.encode())
    edits = [Edit(start, start + len("`p.d.t`"), "`p`.`d`.`t`")]
    sql = splice(original, edits)
    translation = Translation(sql, original, lambda offset: unspliced(offset, edits))
    there, here = (len(f"{before}{path}{gap}".encode()) for path in ("`p`.`d`.`t`", "`p.d.t`"))
    moved = translation.opaque([Opaque("x", *line_and_column(sql, there)), Opaque("nowhere")])
    assert [(one.line, one.column) for one in moved] == [
        line_and_column(original, here),
        (0, 0),
    ]
    words = f"Unrecognized name: x at {in_engine_words(sql, there)}"
    assert translation.words(words) == words.replace(
        in_engine_words(sql, there), in_engine_words(original, here)
    )


@given(st.integers(0, 40))
def test_what_was_put_in_comes_from_what_was_taken_out(offset: int) -> None:
    edits = [Edit(20, 25, "123"), Edit(5, 10, "1234567890")]
    moved = unspliced(offset, edits)
    if offset < 5:
        assert moved == offset
    elif offset < 15:
        assert moved == 5
    elif 25 <= offset < 28:
        assert moved == 20
    else:
        assert moved == offset - (5 if offset < 25 else 3)
