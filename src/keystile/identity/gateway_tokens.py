"""The gateway's own access tokens: opaque, short-lived, worthless anywhere else.

A token lives for `identity.token_lifetime` from its issue, even if the subject token that it was
exchanged for ends sooner: Google's clients do not exchange again before a token's own end.
"""

from __future__ import annotations

import secrets
import time
from functools import partial
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Row, delete, func, insert, select

from keystile.identity.agents import Agents
from keystile.identity.bound import FREE, Binding
from keystile.identity.digests import digest_of
from keystile.identity.recent import Recent
from keystile.model.errors import NotFoundError, UnauthenticatedError
from keystile.model.principal import Principal
from keystile.store import tables
from keystile.store.database import Database

_PREFIX = "ks_"
_SECRET_BYTES = 32
_MAX_TOKEN_CHARACTERS = 128


class Known(NamedTuple):
    """Whose a token is, the keys that it is bound to, and when it ends (UTC s)."""

    principal: Principal
    binding: Binding
    expires_at: float


class GatewayTokens:
    """Issues and checks gateway tokens. The store holds only their SHA-256."""

    def __init__(self, database: Database, agents: Agents, builtin: str, lifetime: int) -> None:
        """Take the store, the registry of the issuer named `builtin`, and a lifetime in seconds."""
        self._database = database
        self._agents = agents
        self._builtin = builtin
        self._lifetime = lifetime
        self._seen: Recent[Known] = Recent()

    async def issue(self, principal: Principal, binding: Binding = FREE) -> tuple[str, int]:
        """Give a new token and its lifetime in seconds; expired ones are removed on the way."""
        token = _PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
        now = time.time()
        row = {
            "digest": digest_of(token),
            "issuer": principal.issuer,
            "subject": principal.subject,
            "principal": msgspec.json.encode(principal).decode(),
            "confirmation": msgspec.json.encode(binding).decode(),
            "expires_at": now + self._lifetime,
        }
        async with self._database.begin() as connection:
            await connection.execute(delete(tables.tokens).where(tables.tokens.c.expires_at < now))
            await connection.execute(insert(tables.tokens).values(row))
        await self.saw(principal)
        return token, self._lifetime

    async def binding(self, unverified_token: str) -> Binding:
        """Say what a token is bound to; one that is not known is not bound."""
        row = await self._row(digest_of(unverified_token))
        return msgspec.json.decode(row.confirmation, type=Binding) if row else FREE

    async def revoke(self, unverified_token: str) -> None:
        """End a token, here at once and elsewhere within seconds; an unknown one is no error."""
        digest = digest_of(unverified_token)
        await self._delete(tables.tokens.c.digest == digest)
        self._seen.forget(lambda key, _: key == digest)

    async def revoke_all(self, issuer: str, subject: str) -> int:
        """End every token of an agent, as `revoke` does, and give how many there were."""
        columns = tables.tokens.c
        ended = await self._delete(columns.issuer == issuer, columns.subject == subject)
        agent = (issuer, subject)
        self._seen.forget(
            lambda _, known: (known.principal.issuer, known.principal.subject) == agent
        )
        return ended

    async def count(self, issuer: str, subject: str) -> int:
        """Count the tokens of an agent that have not expired."""
        columns = tables.tokens.c
        theirs = (columns.issuer == issuer) & (columns.subject == subject)
        query = select(func.count()).where(theirs, columns.expires_at > time.time())
        async with self._database.read() as connection:
            return int((await connection.execute(query)).scalar_one())

    async def _delete(self, *where: ColumnElement[bool]) -> int:
        async with self._database.begin() as connection:
            return (await connection.execute(delete(tables.tokens).where(*where))).rowcount

    async def find(self, unverified_token: str) -> Known:
        """Say whose token it is. That its sender may use it is not looked at.

        An agent of the built-in issuer has the groups that the registry gives it now. Raises
        `UnauthenticatedError` for an unknown or expired token, `RefusedError` for a disabled agent
        (a client would answer a 401 by exchanging again, in vain).
        """
        if len(unverified_token) > _MAX_TOKEN_CHARACTERS:
            raise _unknown()
        digest = digest_of(unverified_token)
        known = await self._seen.get(digest, partial(self._load, digest))
        if known.expires_at <= time.time():
            raise _unknown()
        return known

    async def _load(self, digest: str) -> Known:
        row = await self._row(digest)
        if row is None:
            raise _unknown()
        principal = await self.current(msgspec.json.decode(row.principal, type=Principal))
        await self.saw(principal)
        binding = msgspec.json.decode(row.confirmation, type=Binding)
        return Known(principal, binding, row.expires_at)

    async def _row(self, digest: str) -> Row[Any] | None:
        query = select(tables.tokens).where(tables.tokens.c.digest == digest)
        async with self._database.read() as connection:
            return (await connection.execute(query)).one_or_none()

    async def saw(self, principal: Principal) -> None:
        """Note in the registry that an agent has come."""
        await self._agents.saw(principal, own=principal.issuer == self._builtin)

    async def admitted(self, principal: Principal, behind: Principal | None) -> Principal:
        """Give an agent as it is now, with whoever it acts for, if anybody, looked at as well.

        Raises what `current` does. INVARIANT: who was disabled lends nobody a name either.
        """
        if behind is not None:
            await self.current(behind)
        return await self.current(principal)

    async def current(self, principal: Principal) -> Principal:
        """Give an agent of the built-in issuer the groups and attributes that it has now.

        Raises `RefusedError` for an agent that is disabled or has expired, of whatever issuer, and
        `UnauthenticatedError` for one that is gone.
        """
        if principal.issuer != self._builtin:
            await self._agents.admit(principal)
            return principal
        try:
            agent = await self._agents.active(principal.subject)
        except NotFoundError as error:
            raise UnauthenticatedError(error.message) from error
        return msgspec.structs.replace(principal, groups=agent.groups, attributes=agent.attributes)


def _unknown() -> UnauthenticatedError:
    return UnauthenticatedError(
        "the gateway token is unknown, has expired or was revoked",
        hint="exchange the agent's OIDC token again at `/v1/token`",
    )
