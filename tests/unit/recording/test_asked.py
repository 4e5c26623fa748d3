from __future__ import annotations

from pathlib import Path

from keystile.recording.asked import AskedQueries, AskedQuery, Wanted
from keystile.recording.events import Event, EventKind
from keystile.recording.writer import canonical, claim

DAY = 24 * 60 * 60


def write(folder: Path, *events: Event) -> None:
    writer = claim(folder, segment_bytes=1 << 20)
    writer.append([canonical(event) for event in events])
    writer.close()


def asked(kind: EventKind, at: float, agent: str = "bot", sql: str = "SELECT 1") -> Event:
    return Event(kind, at, "run", agent, body={"sql": sql})


def schema(digest: str, at: float) -> Event:
    return Event(EventKind.SCHEMA, at, body={"digest": digest, "kind": "table", "object": {}})


def alter(folder: Path) -> None:
    [segment] = folder.glob("*/*.jsonl")
    segment.write_text(segment.read_text().replace("SELECT 1", "SELECT 2"))


async def every(folder: Path, wanted: Wanted) -> list[AskedQuery]:
    return [one async for batch in AskedQueries(folder).batches(wanted) for one in batch]


async def test_what_was_asked_comes_in_the_order_of_time_whatever_else_is_on_record(
    tmp_path: Path,
) -> None:
    write(
        tmp_path,
        asked(EventKind.REFUSED, 30.0, sql="third"),
        asked(EventKind.INTENT, 10.0, sql="first"),
        Event(EventKind.OUTCOME, 11.0, "run", "bot", "j"),
        asked(EventKind.INTENT, 20.0, sql="second"),
        asked(EventKind.INTENT, 40.0, sql="too late"),
        asked(EventKind.INTENT, 9.9, sql="too early"),
    )
    wanted = Wanted(10.0, 40.0)
    found = await every(tmp_path, wanted)
    assert [one.body and one.body.sql for one in found] == ["first", "second", "third"]
    assert await AskedQueries(tmp_path).count(wanted) == 3


async def test_only_those_of_an_agent_come_where_one_is_named(tmp_path: Path) -> None:
    write(tmp_path, asked(EventKind.INTENT, 1.0), asked(EventKind.INTENT, 2.0, "other"))
    wanted = Wanted(0.0, 9.0, "other")
    [found] = await every(tmp_path, wanted)
    assert found.at == 2.0
    assert await AskedQueries(tmp_path).count(wanted) == 1


async def test_more_than_fit_into_a_batch_come_once_each(tmp_path: Path) -> None:
    write(tmp_path, *(asked(EventKind.INTENT, 5.0, sql=f"SELECT {n}") for n in range(2500)))
    found = await every(tmp_path, Wanted(0.0, 9.0))
    assert [one.body and one.body.sql for one in found] == [f"SELECT {n}" for n in range(2500)]


async def test_a_record_that_was_altered_is_told_as_such(tmp_path: Path) -> None:
    write(tmp_path, asked(EventKind.INTENT, 1.0, sql="SELECT 1"))
    await every(tmp_path, Wanted(0.0, 9.0))  # it is in the index by now
    alter(tmp_path)
    assert await every(tmp_path, Wanted(0.0, 9.0)) == [AskedQuery(1.0, None, None)]


async def test_schemas_of_the_day_before_come_too(tmp_path: Path) -> None:
    at = 10.0 * DAY
    write(tmp_path, schema("old", at - 2 * DAY), schema("d1", at - 3600), schema("d2", at + 1))
    found = AskedQueries(tmp_path).schemas(Wanted(at, at + DAY))
    assert [one.digest async for one in found] == ["d1", "d2"]
