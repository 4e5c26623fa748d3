"""A forward proxy on the way out: spoken to in the clear or by TLS, perhaps with a password."""

from __future__ import annotations

import ssl
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp import hdrs

from keystile.model.errors import RefusedError, UnsafeConfigurationError
from keystile.secrets.source import SecretSource
from keystile.secrets.sources import Secrets
from keystile.tls.end import End, client


class Proxy:
    """Asked to CONNECT to encrypted addresses only, so that it sees names and nothing else.

    INVARIANT: its password goes to it alone, and appears in no repr, log or error.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what a proxy may have
        self,
        address: str,
        tls: End | None = None,
        user: str = "",
        password: SecretSource | None = None,
        secrets: Secrets | None = None,
        ends: tuple[End, ...] = (),
    ) -> None:
        """`tls` is the way to a proxy that speaks it; `secrets` has opened the `password`.

        `ends` are to be renewed, for the proxy and for what its password is read by.
        """
        self.address = address
        self.tls = tls
        self.ends = ends
        self._user = user
        self._password = password
        self._secrets = secrets
        self._both: _Both | None = None

    def __repr__(self) -> str:
        """Name it, never its password."""
        return f"Proxy({self.address!r})"

    async def close(self) -> None:
        """Give back what its password is read by."""
        if self._secrets:
            await self._secrets.close()

    async def options(self, beyond: ssl.SSLContext | None) -> dict[str, Any]:
        """Give what a request of aiohttp takes; `beyond` is for whom the request is for.

        Without it the system's authorities are trusted there.

        Raises `RefusedError` where the password cannot be read.
        """
        headers = {}
        if self._password:
            try:
                password = (await self._password.read()).decode().rstrip("\r\n")
            except (UnsafeConfigurationError, UnicodeDecodeError):
                message = f"the password of the proxy `{self.address}` cannot be read"
                hint = f"look at `{self._password.name}`"
                raise RefusedError(message, hint=hint) from None
            basic = aiohttp.encode_basic_auth(self._user, password)
            headers[hdrs.PROXY_AUTHORIZATION] = basic
        trusted = self._through(self.tls, beyond or _system()) if self.tls else beyond or True
        return {"ssl": trusted, "proxy": self.address, "proxy_headers": headers}

    def _through(self, tls: End, beyond: ssl.SSLContext) -> ssl.SSLContext:
        before, both = tls.context, self._both
        if both is None or (both.before, both.beyond) != (before, beyond):
            self._both = both = _Both(ssl.PROTOCOL_TLS_CLIENT)
            both.host = str(urlsplit(self.address).hostname)
            both.before, both.beyond = before, beyond
        return both


@cache
def _system() -> ssl.SSLContext:
    """Give the context that trusts the system's authorities, read once."""
    return client("system", None, None).context


class _Both(ssl.SSLContext):
    """Two contexts where aiohttp takes one: it uses it for the proxy and for what is beyond it.

    INVARIANT: no authority that is trusted for the one is trusted for the other, and the proxy is
    shown no certificate.
    """

    host: str
    before: ssl.SSLContext
    beyond: ssl.SSLContext

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,  # noqa: FBT001, FBT002 - as the standard library has it
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Begin one side of a connection, by the context that is for its other side."""
        chosen = self.before if server_hostname == self.host else self.beyond
        return chosen.wrap_bio(incoming, outgoing, server_side, server_hostname, session)
