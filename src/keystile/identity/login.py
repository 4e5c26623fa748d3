"""A person's sign-in, kept on their machine for the agents that act for them there."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from joserfc.util import urlsafe_b64decode

from keystile.identity.connection import replace_private
from keystile.identity.device_flow import DeviceFlow, OAuthError, Tokens
from keystile.model.errors import NotFoundError, RefusedError

# How long before its end a token is replaced.
_EARLY_SECONDS = 60.0
_LOCK_SECONDS = 0.05
_AGAIN = "sign in again with `keystile login`"


class Login(msgspec.Struct, frozen=True):
    """Who signed in where, and the tokens that it gave.

    `token` is the one that is for `audience`: `id` or `access`. `resource` was asked for.
    """

    gateway: str
    issuer: str
    client_id: str
    token_endpoint: str
    audience: str
    resource: str
    token: str
    tokens: Tokens

    @property
    def subject_token(self) -> str:
        """The person's token for the gateway."""
        return self.tokens.id_token if self.token == "id" else self.tokens.access_token  # noqa: S105

    @property
    def person(self) -> str:
        """What the token calls the person; only the gateway verifies it."""
        claims = unverified_claims(self.subject_token)
        named = claims.get("email") or claims.get("preferred_username") or claims.get("sub")
        return str(named)

    def is_fresh(self, now: float) -> bool:
        """Tell whether the token lives for a while yet; `now` is in seconds since the epoch."""
        end = unverified_claims(self.subject_token).get("exp")
        return isinstance(end, int | float) and end - now > _EARLY_SECONDS


def token_for(tokens: Tokens, audience: str) -> str:
    """Tell which token is for `audience`: `id` or `access`.

    INVARIANT: one that is for somebody else is never kept, nor sent to the gateway. Raises
    `RefusedError`.
    """
    named = []
    for kind, token in (("access", tokens.access_token), ("id", tokens.id_token)):
        aud = unverified_claims(token).get("aud")
        found = aud if isinstance(aud, list) else [aud] if aud else []
        if audience in found:
            return kind
        named += [f"`{one}`" for one in found if str(one).isprintable()]
    raise RefusedError(
        f"no token of the issuer is for `{audience}`"
        + (f", only for {', '.join(named)}" if named else ""),
        hint="give with --audience what `audiences` of the issuer has at the gateway",
    )


class Logins:
    """The sign-ins of one person on one machine, one for each gateway, open to them alone."""

    def __init__(self, folder: Path) -> None:
        """Keep them in `folder`, which is made when there is one to keep."""
        self._folder = folder

    def keep(self, login: Login) -> None:
        """Write a sign-in. Raises `OSError`."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_private(self._file(login.gateway), msgspec.json.encode(login))

    def find(self, gateway: str) -> Login | None:
        """Give the sign-in for a gateway, if there is one."""
        try:
            return msgspec.json.decode(self._file(gateway).read_bytes(), type=Login)
        except (OSError, msgspec.MsgspecError):
            return None

    async def forget(self, gateway: str) -> Login | None:
        """Remove a sign-in and give it, if there was one."""
        async with self._locked():  # else one that is being refreshed would come back
            login = self.find(gateway)
            self._file(gateway).unlink(missing_ok=True)
            return login

    async def fresh(self, gateway: str) -> Login:
        """Give the sign-in with a token that lives for a while yet.

        INVARIANT: one process at a time refreshes: an issuer that rotates refresh tokens takes the
        second use of one for theft. Raises `NotFoundError`, and `RefusedError` where the issuer
        gives no more.
        """
        async with self._locked():
            login = self.find(gateway)
            if login is None:
                raise NotFoundError(f"nobody is signed in for `{gateway}`", hint=_AGAIN)
            if login.is_fresh(time.time()):
                return login
            if not login.tokens.refresh_token:
                raise RefusedError("the sign-in has ended", hint=_AGAIN)
            flow = DeviceFlow(login.issuer, login.client_id)
            try:
                got = await flow.refresh(
                    login.token_endpoint, login.tokens.refresh_token, login.resource
                )
            except OAuthError as error:
                raise RefusedError(
                    f"the sign-in has ended: {error.message}", hint=_AGAIN
                ) from error
            kept = Tokens(
                got.access_token, got.id_token, got.refresh_token or login.tokens.refresh_token
            )
            renewed = msgspec.structs.replace(
                login, tokens=kept, token=token_for(kept, login.audience)
            )
            self.keep(renewed)
            return renewed

    @asynccontextmanager
    async def _locked(self) -> AsyncIterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(self._folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            while not _taken(handle):  # noqa: ASYNC110 - another process has it
                await asyncio.sleep(_LOCK_SECONDS)
            yield
        finally:
            os.close(handle)

    def _file(self, gateway: str) -> Path:
        return self._folder / f"{hashlib.sha256(gateway.encode()).hexdigest()[:24]}.json"


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unverified_claims(token: str) -> dict[str, Any]:
    """Read a JWT's claims without verifying anything; none where it is no JWT."""
    try:
        return msgspec.json.decode(
            urlsafe_b64decode(token.split(".")[1].encode("ascii")), type=dict[str, Any]
        )
    except (ValueError, IndexError, msgspec.MsgspecError):
        return {}
