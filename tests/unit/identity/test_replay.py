from __future__ import annotations

import time

import pytest
from sqlalchemy import select

from keystile.identity import replay as module
from keystile.identity.replay import Uses
from keystile.store.database import Database
from keystile.store.tables import used_tokens


async def test_a_token_is_used_only_so_often_on_all_replicas_together(database: Database) -> None:
    replicas, end = (Uses(database), Uses(database)), time.time() + 60
    assert [await replica.count("d1", end, 2) for replica in replicas] == [True, True]
    assert [await replica.count("d1", end, 2) for replica in replicas] == [False, False]
    assert await replicas[0].count("d2", end, 1)


async def test_a_token_was_good_again_in_the_seconds_that_clocks_may_differ(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is taken until its end and `identity.clock_skew`, and by a clock that is behind."""
    uses, end = Uses(database), time.time() + 60
    assert await uses.count("publish d1", end, 1)
    for late in (1, 120, 240):
        monkeypatch.setattr(module.time, "time", lambda late=late: end + late)
        await uses.count(f"another {late}", end + 600, 1)
        assert not await uses.count("publish d1", end, 1)


async def test_what_has_ended_is_forgotten(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    uses = Uses(database)
    await uses.count("d1", time.time() + 60, 1)
    later = time.time() + 361
    monkeypatch.setattr(module.time, "time", lambda: later)
    await uses.count("d2", later + 60, 1)
    async with database.read() as connection:
        kept = (await connection.execute(select(used_tokens.c.digest))).scalars().all()
    assert kept == ["d2"]


async def test_an_end_that_no_float_holds_is_no_fault(database: Database) -> None:
    assert await Uses(database).count("d1", 10**400, 1)
    assert not await Uses(database).count("d1", 10**400, 1)
