from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from keystile.model.errors import InvalidRequestError, NotFoundError, RefusedError
from keystile.recording import chain as chains
from keystile.recording.events import Event, EventKind
from keystile.recording.index import INDEX_FILE
from keystile.recording.log import RecordingLog
from keystile.recording.reader import RecordingReader, SessionFilter
from keystile.recording.writer import canonical, claim

ALL = SessionFilter()


def intent(session: str, at: float, sql: str = "SELECT 1", **change: str) -> Event:
    body = {
        "sql": sql,
        "decision": {"effect": change.get("effect", "allow")},
        "tables": ["p.d.customers"],
        "masked": ["p.d.customers.ssn"],
    }
    return Event(EventKind.INTENT, at, session, change.get("agent", "demo-agent"), "j", body)


def write(folder: Path, *events: Event, segment_bytes: int = 1 << 20) -> None:
    writer = claim(folder, segment_bytes=segment_bytes)
    for event in events:
        writer.append([canonical(event)])
    writer.close()


async def ids(folder: Path, wanted: SessionFilter = ALL) -> list[str]:
    return [one.id for one in (await RecordingReader(folder).sessions(wanted)).sessions]


async def test_sessions_newest_first_with_counts(tmp_path: Path) -> None:
    refused = Event(EventKind.REFUSED, 12.0, "s1", "demo-agent", "j9", {"sql": "DROP TABLE t"})
    asked = Event(EventKind.APPROVAL_REQUESTED, 13.0, "s1", "demo-agent", "j", {"request": "r"})
    write(tmp_path, intent("s1", 10.0), intent("s2", 11.0), refused, asked)
    write(tmp_path, Event(EventKind.SIGNED_IN, 99.0, body={"person": "operator"}))
    page = await RecordingReader(tmp_path).sessions(ALL)
    assert [(one.id, one.started_at, one.last_at) for one in page.sessions] == [
        ("s1", 10.0, 13.0),
        ("s2", 11.0, 11.0),
    ]
    first = page.sessions[0]
    assert (first.queries, first.refused, first.approvals) == (1, 1, 1)
    assert page.cursor == ""


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (SessionFilter(agent="other"), ["s2"]),
        (SessionFilter(since=25.0), ["s3"]),
        (SessionFilter(until=15.0), ["s1"]),
        (SessionFilter(since=15.0, until=25.0), ["s2"]),
        (SessionFilter(effect="deny"), ["s3"]),
        (SessionFilter(kind=EventKind.INTENT, effect="allow"), ["s2", "s1"]),
        (SessionFilter(kind=EventKind.PAGE), []),
        (SessionFilter(text="100%"), ["s2"]),
        (SessionFilter(text="from ORDERS"), ["s1"]),
        (SessionFilter(text="customers.ssn"), ["s3", "s2", "s1"]),
        (SessionFilter(text="_' OR 1=1 --"), []),
        (SessionFilter(text="o_ders"), []),
    ],
)
async def test_filters(tmp_path: Path, wanted: SessionFilter, expected: list[str]) -> None:
    write(
        tmp_path,
        intent("s1", 10.0, "SELECT 1000 FROM orders"),
        intent("s2", 20.0, "SELECT '100%'", agent="other"),
        intent("s3", 30.0, effect="deny"),
    )
    assert await ids(tmp_path, wanted) == expected


async def test_paging_by_cursor_meets_every_session_once(tmp_path: Path) -> None:
    # Same times, so that the cursor must tell sessions apart by more than that.
    write(tmp_path, *(intent(f"s{n}", float(n // 4)) for n in range(23)))
    reader, cursor, met = RecordingReader(tmp_path), "", list[str]()
    while True:
        page = await reader.sessions(ALL, cursor=cursor, limit=5)
        met += [one.id for one in page.sessions]
        cursor = page.cursor
        if not cursor:
            break
    assert sorted(met) == sorted(f"s{n}" for n in range(23))


@pytest.mark.parametrize("cursor", ["x", "!", "e30=", "WzEsMiwzXQ==", "ü", "\x00"])
async def test_a_made_up_cursor_is_an_invalid_request(tmp_path: Path, cursor: str) -> None:
    with pytest.raises(InvalidRequestError, match="cursor"):
        await RecordingReader(tmp_path).sessions(ALL, cursor=cursor)


async def test_one_session_id_of_two_agents_is_two_sessions(tmp_path: Path) -> None:
    write(tmp_path, intent("s", 1.0), intent("s", 2.0, agent="other"))
    reader = RecordingReader(tmp_path)
    assert [one.agent for one in (await reader.sessions(ALL)).sessions] == ["other", "demo-agent"]
    assert [one.event.agent for one in await reader.session("s")] == ["demo-agent", "other"]
    assert [one.event.agent for one in await reader.session("s", agent="other")] == ["other"]


async def test_events_of_several_chains_in_the_order_of_time(tmp_path: Path) -> None:
    first, second = (claim(tmp_path, segment_bytes=1 << 20) for _ in range(2))
    first.append([canonical(intent("s", 1.0)), canonical(intent("s", 3.0))])
    second.append([canonical(intent("s", 2.0))])
    events = await RecordingReader(tmp_path).session("s")
    assert [one.event.at for one in events] == [1.0, 2.0, 3.0]
    assert {one.chain for one in events} == {first.chain, second.chain}
    first.close()
    second.close()


async def test_unknown_and_empty_sessions_are_not_found(tmp_path: Path) -> None:
    write(tmp_path, Event(EventKind.SIGNED_IN, 1.0))
    for unknown in ("nope", ""):
        with pytest.raises(NotFoundError):
            await RecordingReader(tmp_path).session(unknown)
    assert await ids(tmp_path / "no-such-folder") == []
    assert not (tmp_path / "no-such-folder").exists()


async def test_reading_while_writing_shows_what_was_acknowledged(tmp_path: Path) -> None:
    log = RecordingLog(tmp_path, 3000)
    await log.open()
    reader = RecordingReader(tmp_path)

    async def write_some(worker: int) -> None:
        for number in range(40):
            await log.append(intent(f"s{worker}", float(number)))
            if number % 8 == worker:
                assert len(await reader.session(f"s{worker}")) == number + 1

    await asyncio.gather(*(write_some(worker) for worker in range(4)))
    await log.close()
    page = await reader.sessions(ALL)
    assert [one.queries for one in page.sessions] == [40] * 4


async def test_what_is_not_acknowledged_is_not_shown(tmp_path: Path) -> None:
    write(tmp_path, intent("s", 1.0))
    (chain,) = chains.chains(tmp_path)
    head = (chain / "head").read_bytes()
    write(tmp_path, intent("s", 2.0))
    (chain / "head").write_bytes(head)
    assert len(await RecordingReader(tmp_path).session("s")) == 1


async def test_the_index_may_be_deleted_or_be_of_another_version(tmp_path: Path) -> None:
    write(tmp_path, intent("s1", 1.0))
    assert await ids(tmp_path) == ["s1"]
    with sqlite3.connect(tmp_path / INDEX_FILE) as connection:
        connection.execute("PRAGMA user_version=99")
        connection.execute("DELETE FROM sessions")
    connection.close()
    assert await ids(tmp_path) == ["s1"]
    (tmp_path / INDEX_FILE).unlink()
    assert await ids(tmp_path) == ["s1"]


async def test_an_index_that_cannot_be_used_is_done_without(tmp_path: Path) -> None:
    write(tmp_path, intent("s1", 1.0))
    (tmp_path / INDEX_FILE).write_bytes(b"no database at all" * 100)
    assert await ids(tmp_path) == ["s1"]
    (tmp_path / INDEX_FILE).unlink()
    (tmp_path / INDEX_FILE).mkdir()
    assert await ids(tmp_path) == ["s1"]


def edit(segment: Path) -> None:
    segment.write_bytes(segment.read_bytes().replace(b"SELECT 1", b"SELECT 2"))


def cut(segment: Path) -> None:
    os.truncate(segment, 10)


@pytest.mark.parametrize("harm", [edit, cut, Path.unlink])
async def test_an_altered_record_is_not_shown(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    write(tmp_path, intent("s", 1.0))
    assert await ids(tmp_path) == ["s"]
    (chain,) = chains.chains(tmp_path)
    harm(chains.segments(chain)[0])
    with pytest.raises(RefusedError, match="gone or was altered; run `keystile audit verify`"):
        await RecordingReader(tmp_path).session("s")


async def test_a_body_with_other_fields_under_the_same_names_is_still_found(tmp_path: Path) -> None:
    write(tmp_path, Event(EventKind.VIEWED, 1.0, "s", "a", body={"sql": 7, "tables": "many"}))
    assert await ids(tmp_path) == ["s"]
