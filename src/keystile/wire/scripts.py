"""What BigQuery tells of a job that is part of a script: `Job.statistics.scriptStatistics`."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

LineAndColumn = tuple[int, int]
"""A place in a text, both counted from 1."""


class StackFrame(msgspec.Struct, frozen=True):
    """Where a script was: `text` is what ran, from `start` up to `end`.

    `procedure` is the one that this was in; empty for the script itself.
    """

    start: LineAndColumn
    end: LineAndColumn
    text: str
    procedure: str = ""


def frame_at(start: LineAndColumn, text: str) -> StackFrame:
    """Say where a text is that begins at `start`."""
    line, column = start
    lines = text.split("\n")
    if len(lines) > 1:
        line, column = line + len(lines) - 1, 1
    return StackFrame(start, (line, column + len(lines[-1])), text)


def script_statistics(frames: Iterable[StackFrame], *, expression: bool) -> dict[str, object]:
    """Write `ScriptStatistics`. `frames` begin with the innermost."""
    written = [
        {
            "startLine": frame.start[0],
            "startColumn": frame.start[1],
            "endLine": frame.end[0],
            "endColumn": frame.end[1],
            "text": frame.text,
            **({"procedureId": frame.procedure} if frame.procedure else {}),
        }
        for frame in frames
    ]
    statistics: dict[str, object] = {
        "evaluationKind": "EXPRESSION" if expression else "STATEMENT",
    }
    return {**statistics, "stackFrames": written} if written else statistics
