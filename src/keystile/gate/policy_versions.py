"""Published versions of the policy, and which gateway has which.

INVARIANT: the newest version holds; there is no other mark of it that could say something else. A
version comes in one transaction, with the note that puts it on record, and is never changed: a
process that dies leaves the one before.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Select, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from keystile.model.errors import NotFoundError, PreconditionError
from keystile.recording.events import EventKind
from keystile.recording.people_events import PolicyPublishedBody
from keystile.store.database import Database
from keystile.store.notes import note
from keystile.store.tables import policy_replicas, policy_versions

_GONE_SECONDS = 30.0

_NEWEST = "SELECT coalesce(max(version), 0) FROM policy_versions"
_SUMMARY = [column for column in policy_versions.c if column.name != "files"]


class Draft(NamedTuple):
    """A policy that somebody wants to hold: its files, what they say, who wants it and why.

    `via` is the door, `cli` or `gateway`. `restores` is the version whose files these are.
    """

    files: Mapping[str, str]
    digest: str
    author: str
    message: str
    via: str
    restores: int | None = None


class Version(msgspec.Struct, frozen=True):
    """A published version without its files. `at` is in UTC seconds since the epoch."""

    version: int
    digest: str
    author: str
    message: str
    via: str
    at: float
    restores: int | None = None


class Replica(msgspec.Struct, frozen=True):
    """What a gateway decides by: a version, or its own folder as 0.

    `problem` says why it refuses everything; `since` is when it took it, `seen_at` when it last
    said so, in UTC seconds since the epoch.
    """

    replica: str
    name: str
    version: int
    digest: str
    problem: str
    since: float
    seen_at: float


class PolicyVersions:
    """Queries on the published versions of the control store."""

    def __init__(self, database: Database) -> None:
        """Take an open control store."""
        self._database = database

    async def newest(self) -> int:
        """Give the number of the version that holds, 0 where nothing was ever published."""
        ((newest,),) = self._database.look_up(_NEWEST, ())
        return int(newest)

    async def history(self) -> tuple[Version, ...]:
        """Give every version, the one that holds first."""
        query = select(*_SUMMARY).order_by(policy_versions.c.version.desc())
        async with self._database.read() as connection:
            return await _versions(connection, query)

    async def get(self, version: int) -> Version:
        """Give one version. Raises `NotFoundError`."""
        query = select(*_SUMMARY).where(policy_versions.c.version == version)
        async with self._database.read() as connection:
            found = await _versions(connection, query)
        if not found:
            raise _unknown(version)
        return found[0]

    async def files(self, version: int) -> dict[str, str]:
        """Give the files of a version by name. Raises `NotFoundError`."""
        query = select(policy_versions.c.files).where(policy_versions.c.version == version)
        async with self._database.read() as connection:
            found = (await connection.execute(query)).scalar_one_or_none()
        if found is None:
            raise _unknown(version)
        return msgspec.json.decode(found, type=dict[str, str])

    async def publish(self, draft: Draft, *, expect: int | None, first: Draft | None) -> int:
        """Make a draft the version that holds, and give its number.

        `expect` is the version that holds until then as its author knows it, 0 for none. `first` is
        what held before anything was published; it becomes version 1 where there is none yet.
        Raises `PreconditionError` where another version holds than was expected.
        """
        now = time.time()
        async with self._database.begin() as connection:
            newest = await _newest(connection)
            if expect is not None and newest != expect:
                raise PreconditionError(
                    f"version {newest} holds, not {expect}",
                    hint="see what it changed, put your change on it and publish again",
                )
            if not newest and first is not None:
                await _add(connection, 1, first, now)
                newest = 1
            await _add(connection, newest + 1, draft, now)
        return newest + 1

    async def note(self, replica: Replica) -> None:
        """Say what a gateway decides by; those that have said nothing for long are forgotten."""
        columns = policy_replicas.c
        gone = columns.seen_at < replica.seen_at - _GONE_SECONDS
        before = delete(policy_replicas).where((columns.replica == replica.replica) | gone)
        async with self._database.begin() as connection:
            await connection.execute(before)
            row = msgspec.structs.asdict(replica)
            await connection.execute(insert(policy_replicas).values(row))

    async def leave(self, replica: str) -> None:
        """Forget a gateway that stops."""
        gone = policy_replicas.c.replica == replica
        async with self._database.begin() as connection:
            await connection.execute(delete(policy_replicas).where(gone))

    async def replicas(self) -> tuple[Replica, ...]:
        """Give every gateway that serves, by name."""
        query = select(policy_replicas).order_by("name", "replica")
        fresh = policy_replicas.c.seen_at > time.time() - _GONE_SECONDS
        async with self._database.read() as connection:
            rows = (await connection.execute(query.where(fresh))).mappings().all()
        return tuple(Replica(**row) for row in rows)


async def _newest(connection: AsyncConnection) -> int:
    return int((await connection.exec_driver_sql(_NEWEST)).scalar_one())


async def _add(connection: AsyncConnection, version: int, draft: Draft, now: float) -> None:
    files = msgspec.json.encode(draft.files, order="deterministic").decode()
    row = draft._asdict() | {"version": version, "files": files, "at": now}
    await connection.execute(insert(policy_versions).values(row))
    body = PolicyPublishedBody(
        version=version,
        digest=draft.digest,
        author=draft.author,
        message=draft.message,
        via=draft.via,
        at=now,
        restores=draft.restores,
    )
    await note(connection, EventKind.POLICY_PUBLISHED, msgspec.to_builtins(body))


async def _versions(connection: AsyncConnection, query: Select[Any]) -> tuple[Version, ...]:
    rows = (await connection.execute(query)).mappings().all()
    return tuple(Version(**row) for row in rows)


def _unknown(version: int) -> NotFoundError:
    return NotFoundError(
        f"there is no version {version} of the policy", hint="see `keystile policy history`"
    )
