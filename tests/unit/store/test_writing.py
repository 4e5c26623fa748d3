from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from keystile.model.errors import StoreUnavailableError
from keystile.store import database as room
from keystile.store.database import Database
from keystile.store.tables import people


def person(name: str) -> dict[str, Any]:
    return {"name": name, "groups": "[]", "created_at": 0.0}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'keystile.db'}")
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def other(tmp_path: Path, store: Database) -> sqlite3.Connection:
    """Give another process's connection, as far as SQLite can tell."""
    assert store
    return sqlite3.connect(tmp_path / "keystile.db", isolation_level=None, timeout=0)


async def write(store: Database, name: str) -> None:
    async with store.begin() as connection:
        await connection.execute(insert(people).values(person(name)))


async def names(store: Database) -> list[str]:
    async with store.read() as connection:
        return list((await connection.execute(select(people.c.name))).scalars())


async def test_the_lock_was_held_while_others_had_their_turn(store: Database) -> None:
    """On a busy machine each such turn took seconds, which all other processes waited for."""
    turns: list[float] = []

    async def others() -> None:
        while True:
            turns.append(time.monotonic())
            await asyncio.sleep(0)

    async with store.begin() as connection:
        task = asyncio.ensure_future(others())
        for name in ("ada", "bob", "eve"):
            await connection.execute(insert(people).values(person(name)))
            assert (await connection.execute(select(people.c.name))).scalars().all()
        assert not turns
    assert turns, "the disk was waited for on the loop's thread"
    task.cancel()


async def test_a_write_was_refused_while_another_process_wrote(
    store: Database, other: sqlite3.Connection
) -> None:
    with closing(other):
        other.execute("BEGIN IMMEDIATE")
        writing = asyncio.ensure_future(write(store, "ada"))
        await asyncio.sleep(0.3)
        assert not writing.done()
        other.execute("COMMIT")
        await asyncio.wait_for(writing, 5)
    assert await names(store) == ["ada"]


async def test_a_store_that_is_locked_for_too_long_refuses_and_serves_again_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_WAIT_SECONDS", 0.2)
    store = Database(f"sqlite+aiosqlite:///{tmp_path / 'keystile.db'}")
    await store.open()
    with closing(sqlite3.connect(tmp_path / "keystile.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        # One waits for the other process, and the other for its turn to do so.
        tried = await asyncio.gather(
            write(store, "ada"), write(store, "bob"), return_exceptions=True
        )
        assert [type(one) for one in tried] == [StoreUnavailableError] * 2
        other.execute("COMMIT")
    await write(store, "eve")
    assert await names(store) == ["eve"]
    await store.close()


async def test_writers_of_one_process_come_in_their_order(store: Database) -> None:
    written: list[int] = []

    async def one(number: int) -> None:
        async with store.begin() as connection:
            await connection.execute(insert(people).values(person(f"writer {number}")))
            written.append(number)

    await asyncio.gather(*(one(number) for number in range(20)))
    assert written == list(range(20))


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.003, 0.01])
async def test_a_writer_that_gives_up_left_the_store_locked(
    store: Database, other: sqlite3.Connection, seconds: float
) -> None:
    """Whenever its client goes away: while it waits, between its statements, or as it commits."""
    for number in range(5):
        writing = asyncio.ensure_future(write(store, f"gone-{number}"))
        await asyncio.sleep(seconds)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        async with asyncio.timeout(5):
            await write(store, f"next-{number}")
    with closing(other):
        other.execute("BEGIN IMMEDIATE")
        other.execute("COMMIT")
        waiting = asyncio.ensure_future(write(store, "waits"))
        other.execute("BEGIN IMMEDIATE")
        await asyncio.sleep(0.05)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        other.execute("COMMIT")
    await write(store, "last")
    assert {*names_of(5), "last"} <= set(await names(store))


def names_of(count: int) -> list[str]:
    return [f"next-{number}" for number in range(count)]


async def test_what_breaks_a_rule_leaves_the_store_open_to_the_next(store: Database) -> None:
    await write(store, "ada")
    with pytest.raises(IntegrityError):
        await write(store, "ada")
    await write(store, "bob")
    assert await names(store) == ["ada", "bob"]
