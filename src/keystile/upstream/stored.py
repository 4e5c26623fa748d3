"""What the control store knows of connections and keys. INVARIANT: never a key: those are files."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

import msgspec
from sqlalchemy import and_, delete, insert, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from keystile.config.upstream import Connection as ConnectionSettings
from keystile.model.errors import DuplicateError
from keystile.store.database import Database
from keystile.store.notes import note
from keystile.store.tables import connection_keys, connections

_CONNECTIONS = "SELECT name, settings, created_at, created_by FROM connections ORDER BY name"
_KEYS = (
    "SELECT connection, key, account, state, added_at, since FROM connection_keys"
    " ORDER BY connection, added_at DESC"
)


class KeyState(StrEnum):
    """Where a key stands: it will sign, it signs, or it did and may be fallen back on."""

    NEXT = "next"
    ACTIVE = "active"
    RETIRING = "retiring"


class StoredKey(NamedTuple):
    """A key as the store knows it. Times are UTC seconds; `since` is when its state began."""

    connection: str
    id: str
    account: str
    state: KeyState
    added_at: float
    since: float


class StoredConnection(NamedTuple):
    """A connection that a command added."""

    name: str
    settings: ConnectionSettings
    created_at: float
    created_by: str


class Change(NamedTuple):
    """What is done to a connection, for the record; `action` is a command's verb, or `replace`.

    `key` is the id that Google has for its key, and `source` where a replaced one stands.
    """

    action: str
    connection: str
    kind: str
    account: str
    person: str
    at: float
    key: str = ""
    source: str = ""
    via: str = "cli"


class StoredConnections:
    """The two tables of connections."""

    def __init__(self, database: Database) -> None:
        """Read from an open database."""
        self._database = database

    async def connections(self) -> tuple[StoredConnection, ...]:
        """Give those that commands added, by name."""
        return tuple(
            StoredConnection(name, msgspec.json.decode(settings, type=ConnectionSettings), at, by)
            for name, settings, at, by in self._database.look_up(_CONNECTIONS, ())
        )

    async def keys(self) -> tuple[StoredKey, ...]:
        """Give every key that is known, of each connection the newest first."""
        rows = self._database.look_up(_KEYS, ())
        return tuple(
            StoredKey(connection, key, account, KeyState(state), added_at, since)
            for connection, key, account, state, added_at, since in rows
        )

    async def add(self, added: StoredConnection, account: str = "", key: str = "") -> None:
        """Add a connection, of an account and with a key that may be known, and note it.

        Raises `DuplicateError` where there is one of that name.
        """
        row = {
            "name": added.name,
            "settings": msgspec.json.encode(added.settings).decode(),
            "created_at": added.created_at,
            "created_by": added.created_by,
        }
        try:
            async with self._database.begin() as connection:
                await connection.execute(insert(connections).values(**row))
                change = Change(
                    "add",
                    added.name,
                    added.settings.kind,
                    account,
                    added.created_by,
                    added.created_at,
                    key,
                )
                await _note(connection, change)
        except IntegrityError as error:
            message = f"there is a connection `{added.name}` already"
            raise DuplicateError(message, hint="choose another name, or rotate its key") from error

    async def add_key(self, name: str, id_: str, account: str, now: float) -> None:
        """Note a key that is to sign next, unless it is known."""
        await self._add_key(StoredKey(name, id_, account, KeyState.NEXT, now, now))

    async def adopt(
        self, name: str, id_: str, account: str, now: float, change: Change | None = None
    ) -> None:
        """Note a key that signs from now on. One that is known stays as it is.

        INVARIANT: replicas may see a new key at different times, so a key that was known before is
        never taken for a new one, and one `change` is on record, with the key or not at all.
        """
        key = StoredKey(name, id_, account, KeyState.NEXT, now, now)
        await self._add_key(key, promoted=True, change=change)

    async def remove(self, change: Change) -> tuple[StoredKey, ...]:
        """Forget a connection that a command added, and note it; gives the keys that it had."""
        name = change.connection
        gone = of_connection(await self.keys(), name)
        async with self._database.begin() as connection:
            await connection.execute(delete(connections).where(connections.c.name == name))
            keys = delete(connection_keys).where(connection_keys.c.connection == name)
            await connection.execute(keys)
            await _note(connection, change)
        return gone

    async def promote(self, name: str, id_: str, now: float, change: Change | None = None) -> None:
        """Let a key sign; the one before it retires. A command's `change` is noted."""
        async with self._database.begin() as connection:
            await _promote(connection, name, id_, now)
            if change is not None:
                await _note(connection, change)

    async def drop_retired(self, before: float) -> tuple[StoredKey, ...]:
        """Forget the keys that have been retiring since before then, and give them."""
        old = [
            key
            for key in await self.keys()
            if key.state is KeyState.RETIRING and key.since < before
        ]
        return tuple([key for key in old if await self._forget(key)])

    async def _add_key(
        self, key: StoredKey, *, promoted: bool = False, change: Change | None = None
    ) -> bool:
        row = {**key._asdict(), "key": key.id, "state": key.state.value}
        del row["id"]
        try:
            async with self._database.begin() as connection:
                await connection.execute(insert(connection_keys).values(**row))
                if promoted:
                    await _promote(connection, key.connection, key.id, key.added_at)
                if change is not None:
                    await _note(connection, change)
        except IntegrityError:
            return False
        return True

    async def _forget(self, key: StoredKey) -> bool:
        same = and_(
            connection_keys.c.connection == key.connection,
            connection_keys.c.key == key.id,
            connection_keys.c.state == KeyState.RETIRING.value,
        )
        async with self._database.begin() as connection:
            return bool((await connection.execute(delete(connection_keys).where(same))).rowcount)


async def _promote(connection: AsyncConnection, name: str, id_: str, now: float) -> None:
    mine = connection_keys.c.connection == name
    active = connection_keys.c.state == KeyState.ACTIVE.value
    await connection.execute(
        update(connection_keys)
        .where(mine, active, connection_keys.c.key != id_)
        .values(state=KeyState.RETIRING.value, since=now)
    )
    await connection.execute(
        update(connection_keys)
        .where(mine, connection_keys.c.key == id_, ~active)
        .values(state=KeyState.ACTIVE.value, since=now)
    )


async def _note(connection: AsyncConnection, change: Change) -> None:
    await note(connection, "connection_changed", change._asdict())


def of_connection(keys: Iterable[StoredKey], name: str) -> tuple[StoredKey, ...]:
    """Give one connection's keys in the order in which they are tried."""
    order = [KeyState.ACTIVE, KeyState.NEXT, KeyState.RETIRING]
    mine = [key for key in keys if key.connection == name]
    return tuple(sorted(mine, key=lambda key: (order.index(key.state), -key.since)))
