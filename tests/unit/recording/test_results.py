from __future__ import annotations

from pathlib import Path

from keystile.recording.events import Event, EventKind
from keystile.recording.results import JobResults
from keystile.recording.writer import canonical, claim


def event(kind: EventKind, at: float, job: str, **body: object) -> Event:
    return Event(kind, at, "s", "bot", job, body)


def row(text: str) -> dict[str, object]:
    return {"f": [{"v": text}]}


def written(folder: Path, *events: Event) -> JobResults:
    writer = claim(folder, segment_bytes=1 << 20)
    writer.append([canonical(one) for one in events])
    writer.close()
    return JobResults(folder)


def alter(folder: Path) -> None:
    [segment] = folder.rglob("*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b'"bytes_billed":7', b'"bytes_billed":8'))


async def test_how_jobs_ended_is_found_by_their_ids(tmp_path: Path) -> None:
    results = written(
        tmp_path,
        event(EventKind.INTENT, 1, "a"),
        event(EventKind.OUTCOME, 2, "a", state="done", bytes_billed=7, rows=[row("x")]),
        event(EventKind.OUTCOME, 3, "b", state="failed", error={"message": "no"}),
        event(EventKind.OUTCOME, 4, "other", state="done"),
    )
    ended = await results.ended([*"abc", *map(str, range(600))])
    assert {*ended} == {"a", "b"}
    assert (ended["a"].bytes_billed, ended["b"].error and ended["b"].error.message) == (7, "no")


async def test_rows_that_were_read_again_are_there_once(tmp_path: Path) -> None:
    results = written(
        tmp_path,
        event(EventKind.OUTCOME, 2, "a", state="done", rows=[row("0"), row("1")]),
        event(EventKind.PAGE, 3, "a", start=2, rows=[row("2")]),
        event(EventKind.PAGE, 4, "a", start=2, rows=[row("2")]),
        event(EventKind.PAGE, 5, "a", start=3, rows=[row("3")]),
    )
    found = await results.released("a")
    assert [(one.start, len(one.rows)) for one in found] == [(0, 2), (2, 1), (3, 1)]
    assert bytes(found[-1].rows[0]) == b'{"f":[{"v":"3"}]}'


async def test_what_was_altered_is_left_out(tmp_path: Path) -> None:
    results = written(tmp_path, event(EventKind.OUTCOME, 2, "a", state="done", bytes_billed=7))
    assert await results.ended(["a"])
    alter(tmp_path)
    assert await results.ended(["a"]) == {}
