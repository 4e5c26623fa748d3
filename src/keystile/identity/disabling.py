"""Agents that are kept out for good, and what each disabling still has to see to.

One row keeps out one agent, by issuer and subject, or all that are called by a name: an issuer may
know one agent by many subjects. INVARIANT: a row goes by `enable` alone, which is on record, so
that nothing that is disabled comes back by a new registration.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Row, and_, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from keystile.model.errors import InUseError, InvalidRequestError, NotFoundError
from keystile.store.database import Database
from keystile.store.notes import note
from keystile.store.tables import disabled_agents

_MOST_REASON = 500
_ANY_OPEN = "SELECT 1 FROM disabled_agents WHERE due_at IS NOT NULL LIMIT 1"


class Disabled(msgspec.Struct, frozen=True):
    """Who disabled what, when (UTC seconds) and through which door (`console` or `cli`).

    `jobs` are those that were found running or waiting, by our own id, each with whether its end is
    sure; None before anybody looked. `due_at` is when to look again, None once nothing is left.
    """

    issuer: str
    subject: str
    name: str
    at: float
    by: str
    via: str
    due_at: float | None = None
    jobs: dict[str, bool] | None = None

    def covers(self, issuer: str, subject: str, name: str) -> bool:
        """Tell whether it keeps this agent out."""
        return self.name == name if self.name else (self.issuer, self.subject) == (issuer, subject)


class Target(NamedTuple):
    """What is to be disabled: all agents of a `name`, or the one of an issuer and a subject.

    Without both a name and an issuer it is the subject of the gateway's own issuer.
    """

    name: str = ""
    issuer: str = ""
    subject: str = ""


class Disablings:
    """Queries on the disabled agents of the control store."""

    def __init__(self, database: Database) -> None:
        """Take an open control store."""
        self._database = database

    async def disable(self, target: Target, by: str, via: str) -> Disabled:
        """Keep an agent out from now on, and have what it left running be stopped.

        A second time changes nothing; what counts is given.
        """
        now = time.time()
        row = {**target._asdict(), "at": now, "by": by, "via": via, "due_at": now}
        try:
            async with self._database.begin() as connection:
                await connection.execute(insert(disabled_agents).values(row))
        except IntegrityError:
            pass
        return await self.get(target)

    async def enable(self, target: Target, by: str, reason: str, via: str) -> Disabled:
        """End a disabling, for a reason that goes on record, and give it.

        Raises `NotFoundError` where nobody has disabled exactly this, `InUseError` while what the
        agent left is still being stopped, and `InvalidRequestError` without a reason.
        """
        if not 0 < len(reason.strip()) <= _MOST_REASON:
            message = f"a reason has 1 to {_MOST_REASON} characters, not {len(reason.strip())}"
            raise InvalidRequestError(message, hint="say in a sentence why it may come back")
        now = time.time()
        async with self._database.begin() as connection:
            found = await disabled_of(connection, _is(target))
            if not found:
                raise NotFoundError(
                    f"nobody has disabled `{target.name or target.subject}` by exactly these words",
                    hint="see `keystile agent show`; what was disabled by name is enabled by name",
                )
            if found[0].due_at is not None:
                message = f"what `{target.name or target.subject}` left is still being stopped"
                raise InUseError(message, hint="try again in a few minutes")
            await connection.execute(delete(disabled_agents).where(_is(target)))
            told = {"person": by, "reason": reason.strip(), "via": via, "at": now}
            await note(connection, "agent_enabled", {**target._asdict(), **told})
        return found[0]

    async def get(self, target: Target) -> Disabled:
        """Give a disabling that there is."""
        async with self._database.read() as connection:
            (found,) = await disabled_of(connection, _is(target))
        return found

    async def open(self) -> tuple[Disabled, ...]:
        """Give those that have something to see to still."""
        if not self._database.look_up(_ANY_OPEN, ()):
            return ()
        async with self._database.read() as connection:
            return await disabled_of(connection, disabled_agents.c.due_at.is_not(None))

    async def of(self, issuer: str, subject: str, name: str) -> tuple[Disabled, ...]:
        """Give those that keep this agent out, that of its name first."""
        async with self._database.read() as connection:
            found = await disabled_of(connection, covering(issuer, subject, name))
        return tuple(sorted(found, key=lambda one: not one.name))

    async def take(self, one: Disabled, until: float) -> bool:
        """Take a disabling to see to it, for others not to before `until`; only one process can."""
        due = disabled_agents.c.due_at == one.due_at
        return await self._change(one, due, due_at=until)

    async def note(self, one: Disabled, jobs: Mapping[str, bool]) -> None:
        """Keep what is known of the jobs that were found."""
        await self._change(one, jobs=msgspec.json.encode(dict(jobs)).decode())

    async def close(self, one: Disabled) -> None:
        """Say that nothing is left to see to."""
        await self._change(one, due_at=None)

    async def _change(self, one: Disabled, *where: ColumnElement[bool], **values: object) -> bool:
        target = Target(one.name, one.issuer, one.subject)
        change = update(disabled_agents).where(_is(target), *where).values(values)
        async with self._database.begin() as connection:
            return bool((await connection.execute(change)).rowcount)


def covering(issuer: str, subject: str, name: str) -> ColumnElement[bool]:
    """Give the condition on rows that keep an agent out."""
    one, columns = Target(issuer=issuer, subject=subject), disabled_agents.c
    return or_(and_(columns.name == name, columns.name != ""), _is(one))


async def disabled_of(
    connection: AsyncConnection, *where: ColumnElement[bool]
) -> tuple[Disabled, ...]:
    """Read rows, all of them without a condition."""
    rows = (await connection.execute(select(disabled_agents).where(*where))).all()
    return tuple(map(_disabled, rows))


def _is(target: Target) -> ColumnElement[bool]:
    columns = disabled_agents.c
    return and_(
        columns.issuer == target.issuer,
        columns.subject == target.subject,
        columns.name == target.name,
    )


def _disabled(row: Row[Any]) -> Disabled:
    jobs = msgspec.json.decode(row.jobs, type=dict[str, bool]) if row.jobs else None
    return Disabled(row.issuer, row.subject, row.name, row.at, row.by, row.via, row.due_at, jobs)
