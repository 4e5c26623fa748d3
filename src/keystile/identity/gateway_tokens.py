"""The gateway's own access tokens: opaque, short-lived, worthless anywhere else.

A token lives for `identity.token_lifetime` from its issue, even if the subject token that it was
exchanged for ends sooner: Google's clients do not exchange again before a token's own end.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import OrderedDict

import msgspec
from sqlalchemy import ColumnElement, delete, insert, select

from keystile.identity.agents import Agents
from keystile.model.errors import NotFoundError, UnauthenticatedError
from keystile.model.principal import Principal
from keystile.store import tables
from keystile.store.database import Database

_PREFIX = "ks_"
_SECRET_BYTES = 32
_MAX_TOKEN_CHARACTERS = 128
# How long a change of the store may go unseen: a disabled agent is out after this.
_CACHE_SECONDS = 3.0
_CACHED = 10_000


class GatewayTokens:
    """Issues and checks gateway tokens. The store holds only their SHA-256."""

    def __init__(self, database: Database, agents: Agents, builtin: str, lifetime: int) -> None:
        """Take the store, the registry of the issuer named `builtin`, and a lifetime in seconds."""
        self._database = database
        self._agents = agents
        self._builtin = builtin
        self._lifetime = lifetime
        self._seen: OrderedDict[str, tuple[float, float, Principal]] = OrderedDict()

    async def issue(self, principal: Principal) -> tuple[str, int]:
        """Give a new token and its lifetime in seconds; expired ones are removed on the way."""
        token = _PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
        now = time.time()
        row = {
            "digest": digest_of(token),
            "issuer": principal.issuer,
            "subject": principal.subject,
            "principal": msgspec.json.encode(principal).decode(),
            "expires_at": now + self._lifetime,
        }
        async with self._database.begin() as connection:
            await connection.execute(delete(tables.tokens).where(tables.tokens.c.expires_at < now))
            await connection.execute(insert(tables.tokens).values(row))
        await self._agents.saw(principal, own=principal.issuer == self._builtin)
        return token, self._lifetime

    async def revoke(self, unverified_token: str) -> None:
        """End a token, here at once and elsewhere within seconds; an unknown one is no error."""
        digest = digest_of(unverified_token)
        await self._delete(tables.tokens.c.digest == digest)
        self._seen.pop(digest, None)

    async def revoke_all(self, issuer: str, subject: str) -> int:
        """End every token of an agent, as `revoke` does, and give how many there were."""
        columns = tables.tokens.c
        ended = await self._delete(columns.issuer == issuer, columns.subject == subject)
        for digest, (_, _, principal) in list(self._seen.items()):
            if (principal.issuer, principal.subject) == (issuer, subject):
                del self._seen[digest]
        return ended

    async def _delete(self, *where: ColumnElement[bool]) -> int:
        async with self._database.begin() as connection:
            return (await connection.execute(delete(tables.tokens).where(*where))).rowcount

    async def principal(self, unverified_token: str) -> Principal:
        """Say whose token it is.

        An agent of the built-in issuer has the groups that the registry gives it now. Raises
        `UnauthenticatedError` for an unknown or expired token, `RefusedError` for a disabled agent
        (a client would answer a 401 by exchanging again, in vain).
        """
        if len(unverified_token) > _MAX_TOKEN_CHARACTERS:
            raise _unknown()
        digest = digest_of(unverified_token)
        checked, expires, principal = self._seen.get(digest) or (0.0, 0.0, None)
        if principal is None or time.monotonic() - checked > _CACHE_SECONDS:
            self._seen.pop(digest, None)
            expires, principal = await self._load(digest)
            self._seen[digest] = (time.monotonic(), expires, principal)
            if len(self._seen) > _CACHED:
                self._seen.popitem(last=False)
        if expires <= time.time():
            raise _unknown()
        return principal

    async def _load(self, digest: str) -> tuple[float, Principal]:
        query = select(tables.tokens).where(tables.tokens.c.digest == digest)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise _unknown()
        principal = await self.current(msgspec.json.decode(row.principal, type=Principal))
        await self._agents.saw(principal, own=principal.issuer == self._builtin)
        return row.expires_at, principal

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


def digest_of(token: str) -> str:
    """Give what the store keeps of a random token: its SHA-256 in hex.

    The tokens are 256 random bits, so that a slow or salted hash would add nothing, and looking up
    a digest leaks nothing of a token through timing.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _unknown() -> UnauthenticatedError:
    return UnauthenticatedError(
        "the gateway token is unknown, has expired or was revoked",
        hint="exchange the agent's OIDC token again at `/v1/token`",
    )
