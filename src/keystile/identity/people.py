"""People who decide: their registry, one-time sign-in links and console sessions."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence

import msgspec
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from keystile.identity.agents import require_names
from keystile.identity.digests import digest_of
from keystile.model.errors import DuplicateError, NotFoundError, UnauthenticatedError
from keystile.store import tables
from keystile.store.database import Database

LINK_SECONDS = 600
"""How long a sign-in link works, if it is not used before."""

SESSION_SECONDS = 8 * 3600
"""How long a console session lasts."""

_SECRET_BYTES = 32
_MAX_TOKEN_CHARACTERS = 128


class Person(msgspec.Struct, frozen=True):
    """A registered person. `created_at` is in UTC seconds since the epoch."""

    name: str
    groups: tuple[str, ...]
    created_at: float


class People:
    """Queries on people, their links and their sessions. Secrets are kept as SHA-256 only."""

    def __init__(self, database: Database) -> None:
        """Take an open control store."""
        self._database = database

    async def create(self, name: str, groups: Sequence[str]) -> Person:
        """Register a person.

        Raises `InvalidRequestError` for a name that is none, `DuplicateError` if it exists.
        """
        require_names(name, *groups)
        person = Person(name, tuple(groups), time.time())
        row = {
            "name": name,
            "groups": msgspec.json.encode(person.groups).decode(),
            "created_at": person.created_at,
        }
        try:
            async with self._database.begin() as connection:
                await connection.execute(insert(tables.people).values(row))
        except IntegrityError as error:
            raise DuplicateError(f"there is a person `{name}` already") from error
        return person

    async def list(self) -> tuple[Person, ...]:
        """Give all people by name."""
        query = select(tables.people).order_by(tables.people.c.name)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        return tuple(_person(row.name, row.groups, row.created_at) for row in rows)

    async def get(self, name: str) -> Person:
        """Give one person. Raises `NotFoundError`."""
        query = select(tables.people).where(tables.people.c.name == name)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise NotFoundError(
                f"there is no person `{name}`", hint="make one with `keystile person create`"
            )
        return _person(row.name, row.groups, row.created_at)

    async def new_link(self, name: str) -> str:
        """Give a secret that signs this person in once, within ten minutes.

        Raises `NotFoundError`.
        """
        await self.get(name)
        secret, now = secrets.token_urlsafe(_SECRET_BYTES), time.time()
        links = tables.sign_in_links
        row = {"digest": digest_of(secret), "person": name, "expires_at": now + LINK_SECONDS}
        async with self._database.begin() as connection:
            await connection.execute(delete(links).where(links.c.expires_at < now))
            await connection.execute(insert(links).values(row))
        return secret

    async def sign_in(self, unverified_link: str) -> str:
        """Use a link up and open a console session; gives the session's secret.

        INVARIANT: of several uses at once, one succeeds. Raises `UnauthenticatedError`.
        """
        now, links = time.time(), tables.sign_in_links
        usable = (
            (links.c.digest == _digest(unverified_link))
            & links.c.used_at.is_(None)
            & (links.c.expires_at > now)
        )
        sessions = tables.console_sessions
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        async with self._database.begin() as connection:
            use = update(links).where(usable).values(used_at=now).returning(links.c.person)
            name = (await connection.execute(use)).scalar_one_or_none()
            if name is None:
                raise UnauthenticatedError(
                    "the sign-in link is unknown, used or older than ten minutes",
                    hint="get a new one with `keystile console link`",
                )
            expires = now + SESSION_SECONDS
            row = {"digest": digest_of(secret), "person": name, "expires_at": expires}
            await connection.execute(delete(sessions).where(sessions.c.expires_at < now))
            await connection.execute(insert(sessions).values(row))
        return secret

    async def signed_in(self, unverified_session: str) -> Person:
        """Say whose console session it is. Raises `UnauthenticatedError`."""
        sessions, people = tables.console_sessions, tables.people
        query = (
            select(people)
            .join(sessions, sessions.c.person == people.c.name)
            .where(sessions.c.digest == _digest(unverified_session))
            .where(sessions.c.expires_at > time.time())
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise UnauthenticatedError(
                "you are not signed in", hint="get a link with `keystile console link`"
            )
        return _person(row.name, row.groups, row.created_at)

    async def sign_out(self, unverified_session: str) -> None:
        """End a console session; one that is unknown is ended already."""
        sessions = tables.console_sessions
        end = delete(sessions).where(sessions.c.digest == _digest(unverified_session))
        async with self._database.begin() as connection:
            await connection.execute(end)


def _person(name: str, groups: str, created_at: float) -> Person:
    return Person(name, msgspec.json.decode(groups, type=tuple[str, ...]), created_at)


def _digest(unverified_secret: str) -> str:
    if len(unverified_secret) > _MAX_TOKEN_CHARACTERS:
        return ""
    return digest_of(unverified_secret)
