from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from keystile.config.upstream import Connection
from keystile.model.errors import DuplicateError
from keystile.store.database import Database
from keystile.upstream.stored import (
    KeyState,
    StoredConnection,
    StoredConnections,
    StoredKey,
    of_connection,
)


@pytest.fixture
async def stored(tmp_path: Path) -> AsyncIterator[StoredConnections]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'keystile.db'}")
    await database.open()
    yield StoredConnections(database)
    await database.close()


async def states(stored: StoredConnections) -> dict[str, str]:
    return {key.id: key.state.value for key in await stored.keys()}


async def test_a_connection_is_added_once(stored: StoredConnections) -> None:
    one = StoredConnection("reports", Connection(metadata_server=True), 1.0, "me")
    await stored.add(one)
    assert await stored.connections() == (one,)
    with pytest.raises(DuplicateError, match="a connection `reports` already"):
        await stored.add(one)


async def test_a_rotation_has_three_states(stored: StoredConnections) -> None:
    await stored.adopt("default", "a", "x@y", 1.0)
    await stored.add_key("default", "b", "x@y", 2.0)
    assert await states(stored) == {"a": "active", "b": "next"}
    await stored.promote("default", "b", 3.0)
    assert await states(stored) == {"a": "retiring", "b": "active"}
    assert await stored.drop_retired(3.0) == ()
    dropped = await stored.drop_retired(3.1)
    assert [(key.id, key.since, key.added_at) for key in dropped] == [("a", 3.0, 1.0)]
    assert await states(stored) == {"b": "active"}


async def test_an_old_key_that_a_slow_replica_still_reads_is_not_taken_for_a_new_one(
    stored: StoredConnections,
) -> None:
    await stored.adopt("default", "a", "x@y", 1.0)
    await stored.adopt("default", "b", "x@y", 2.0)
    await stored.adopt("default", "a", "x@y", 3.0)
    assert await states(stored) == {"a": "retiring", "b": "active"}


async def test_a_second_promotion_changes_nothing(stored: StoredConnections) -> None:
    await stored.adopt("default", "a", "x@y", 1.0)
    await stored.promote("default", "a", 5.0)
    assert [key.since for key in await stored.keys()] == [1.0]


async def test_rotating_one_connection_leaves_the_others_alone(stored: StoredConnections) -> None:
    await stored.adopt("default", "a", "x@y", 1.0)
    await stored.adopt("reports", "a", "z@y", 1.0)
    await stored.adopt("reports", "b", "z@y", 2.0)
    keys = await stored.keys()
    assert [key.state for key in of_connection(keys, "default")] == [KeyState.ACTIVE]
    assert [key.id for key in of_connection(keys, "reports")] == ["b", "a"]


def test_keys_are_tried_active_first_and_the_newest_of_the_old_ones_before_older() -> None:
    def key(id_: str, state: KeyState, since: float) -> StoredKey:
        return StoredKey("c", id_, "x@y", state, 0.0, since)

    keys = [
        key("old", KeyState.RETIRING, 1.0),
        key("newer", KeyState.RETIRING, 2.0),
        key("next", KeyState.NEXT, 4.0),
        key("signs", KeyState.ACTIVE, 3.0),
    ]
    assert [one.id for one in of_connection(keys, "c")] == ["signs", "next", "newer", "old"]
