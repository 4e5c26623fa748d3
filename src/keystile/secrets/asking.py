"""HTTP to the servers that keep secrets: small answers, short waits, no redirects, no cookies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import aiohttp
import msgspec

from keystile.model.errors import RefusedError
from keystile.secrets.kept import OutageError

_SECONDS = 5.0
_MAX_BYTES = 256 << 10
_OK = 200
# Too many requests; and Vault's: not yet replicated here, and standby nodes of two kinds.
_LATER = {412, 429, 472, 473}


class Answer(NamedTuple):
    """Status and body, whatever the status. A body that is no JSON object is an empty one."""

    status: int
    body: dict[str, Any]

    def __repr__(self) -> str:
        """Say the status alone: the body may hold a secret."""
        return f"Answer({self.status})"

    @property
    def ok(self) -> bool:
        """Whether it is what was asked for."""
        return self.status == _OK


class Way(Protocol):
    """How requests leave the gateway; the room `tls` knows."""

    async def options(self) -> dict[str, Any]:
        """Give what a request of aiohttp takes. Raises `RefusedError`."""

    async def close(self) -> None:
        """Give all resources back."""


class Asking:
    """Sends requests to one server, which is called `server` in errors."""

    def __init__(self, server: str, root: str, way: Way | None = None) -> None:
        """Connect lazily to `root`, where that is encrypted by `way`, else directly."""
        self._server = f"{server} at `{root}`"
        self._root = root.rstrip("/")
        self._way = way
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections."""
        if self._session:
            await self._session.close()
        if self._way:
            await self._way.close()

    async def get(self, path: str, headers: Mapping[str, str]) -> Answer:
        """Ask for a path below the root. Raises `OutageError` where an answer may come later."""
        return await self._ask("GET", path, headers, None)

    async def post(self, path: str, headers: Mapping[str, str], body: object) -> Answer:
        """Post JSON to a path below the root. Raises as `get` does."""
        return await self._ask("POST", path, headers, msgspec.json.encode(body))

    async def _ask(
        self, method: str, path: str, headers: Mapping[str, str], data: bytes | None
    ) -> Answer:
        try:
            way = await self._options()
            async with self._open().request(
                method, self._root + path, headers=headers, data=data, allow_redirects=False, **way
            ) as response:
                status, content = response.status, bytearray()
                async for chunk in response.content.iter_chunked(_MAX_BYTES):
                    content += chunk
                    if len(content) > _MAX_BYTES:
                        break
        except aiohttp.ClientConnectorCertificateError:
            message = f"{self._server} has no certificate that is trusted here"
            raise OutageError(message, hint="give the CA's certificate in `ca_file`") from None
        except aiohttp.ClientHttpProxyError as error:
            message = f"the proxy to {self._server} answered with status {error.status}"
            raise OutageError(message, hint="look at the proxy, and at its password") from None
        except RefusedError as error:
            raise OutageError(error.message, hint=error.hint) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # INVARIANT: `from None`, since aiohttp's errors hold the request and its headers.
            message = f"{self._server} cannot be reached ({type(error).__name__})"
            raise OutageError(message, hint="try again later") from None
        if 300 <= status < 400 or status >= 500 or status in _LATER:  # noqa: PLR2004  HTTP's classes
            message = f"{self._server} answered with status {status}"
            raise OutageError(message, hint="look at that server's own log")
        try:
            return Answer(status, msgspec.json.decode(content, type=dict[str, Any]))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return Answer(status, {})

    async def _options(self) -> dict[str, Any]:
        # INVARIANT: a proxy sees neither what signs in nor a secret.
        encrypted = self._root.startswith("https:")
        return await self._way.options() if self._way and encrypted else {}

    def _open(self) -> aiohttp.ClientSession:
        # Made lazily, since a session belongs to the running event loop.
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session
