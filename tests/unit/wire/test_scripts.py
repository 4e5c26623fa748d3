from __future__ import annotations

import pytest
from google.cloud.bigquery.job.base import ScriptStatistics

from keystile.wire.scripts import frame_at, script_statistics


@pytest.mark.parametrize(
    ("start", "text", "end"),
    [
        ((1, 1), "SELECT 1", (1, 9)),
        ((3, 7), "SELECT\n  n", (4, 4)),
        ((2, 5), "SELECT\n", (3, 1)),
        ((2, 5), "", (2, 5)),
    ],
)
def test_a_text_ends_where_the_next_character_would_be(
    start: tuple[int, int], text: str, end: tuple[int, int]
) -> None:
    frame = frame_at(start, text)
    assert (frame.start, frame.end, frame.text) == (start, end, text)


def test_googles_client_reads_what_is_written() -> None:
    inner, outer = frame_at((1, 1), "SELECT 1"), frame_at((5, 2), "CALL p()")
    read = ScriptStatistics(script_statistics((inner, outer), expression=False))
    assert read.evaluation_kind == "STATEMENT"
    assert [(f.start_line, f.end_column, f.text) for f in read.stack_frames] == [
        (1, 9, "SELECT 1"),
        (5, 10, "CALL p()"),
    ]


def test_frames_that_are_not_known_are_left_out() -> None:
    assert script_statistics((), expression=True) == {"evaluationKind": "EXPRESSION"}
