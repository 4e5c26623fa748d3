"""Tokens that servers of Google give: the metadata server, STS, and IAM for impersonation.

google-auth knows how each is asked. It runs in threads of its own and sends by the gateway's own
HTTP client, so that it never holds up the event loop.

INVARIANT: an error says which server answered what status, and never what was sent or received: it
is `from None`, since google-auth's errors quote answers.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from functools import partial
from pathlib import Path
from subprocess import SubprocessError
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from google.auth import compute_engine, exceptions, impersonated_credentials, pluggable, transport

from keystile.config.upstream import Connection
from keystile.config.urls import require_safe_url
from keystile.http.bodies import short_body
from keystile.model.errors import RefusedError, UnsafeConfigurationError
from keystile.secrets.file import SecretFile
from keystile.tls.outward import Outward
from keystile.upstream import credential_files
from keystile.upstream.application_default import VARIABLE, ApplicationDefault
from keystile.upstream.credential_files import LIFETIME_SECONDS, SCOPES, account_of
from keystile.upstream.errors import KeyRejectedError
from keystile.upstream.keys import SigningKey
from keystile.upstream.tokens import Token

_SECONDS = 10.0
_ERROR_CODE = re.compile(rb'"(?:error|status)"\s*:\s*"([A-Za-z_]{1,64})"')
_UNAUTHORIZED = 401
# What google-auth lets through of files that it does not understand, and of programs that it runs.
_FAULTS = (
    exceptions.GoogleAuthError,
    ValueError,
    TypeError,
    AttributeError,
    KeyError,
    OSError,
    SubprocessError,
)
_ASK = "ask the operator of the gateway"
_NOTHING_FOUND = (
    f"no other application default credentials are there: set `{VARIABLE}`, or run"
    " `gcloud auth application-default login` as the gateway's user"
)
_HINTS = {
    401: "check that the key or the token before it is still valid",
    403: "give it the role `roles/iam.serviceAccountTokenCreator` on the account to impersonate",
    404: "check the name of the account",
}


class GoogleTokens:
    """Fetches tokens. One per gateway."""

    def __init__(self, iam_endpoint: str, outward: Outward) -> None:
        """Accounts to impersonate are asked for at `iam_endpoint`, by the way `outward`.

        Raises `UnsafeConfigurationError` for one that would expose a token.
        """
        require_safe_url(iam_endpoint, "`upstream.iam_endpoint`")
        self._iam = iam_endpoint.rstrip("/")
        self._outward = outward
        # Not the threads that all else shares: a server that hangs may hold these up.
        self._threads = ThreadPoolExecutor(4, "credentials")
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._session:
            await self._session.close()
        await self._outward.close()

    async def fetch(
        self, name: str, settings: Connection, key: SigningKey | None, folder: Path
    ) -> Token:
        """Fetch a token for a connection; relative paths in `settings` count from `folder`.

        Raises `RefusedError` where nobody gives one: `KeyRejectedError` where that is for the key.
        """
        loop = asyncio.get_running_loop()
        asking = _Asking(loop, self._open(), self._outward)
        refreshed = partial(self._refreshed, settings, key, folder, asking)
        try:
            return await loop.run_in_executor(self._threads, refreshed)
        except _FAULTS:
            raise asking.problem(name) from None
        except UnsafeConfigurationError as error:
            raise RefusedError(error.message, hint=error.hint) from None

    def _refreshed(
        self, settings: Connection, key: SigningKey | None, folder: Path, asking: _Asking
    ) -> Token:
        """Ask for a token, in a thread."""
        source = _source(settings, key, folder)
        asking.runs = isinstance(source, pluggable.Credentials)
        if settings.application_default and isinstance(source, compute_engine.Credentials):
            asking.hint = _NOTHING_FOUND
        credentials = self._impersonating(source, settings.impersonate)
        credentials.refresh(asking)
        expires = credentials.expiry.replace(tzinfo=UTC).timestamp()
        return Token(credentials.token, settings.impersonate or account_of(source), expires)

    def _impersonating(self, source: Any, account: str) -> Any:
        if not account:
            return source
        return impersonated_credentials.Credentials(
            source,
            account,
            list(SCOPES),
            lifetime=LIFETIME_SECONDS,
            iam_endpoint_override=(
                f"{self._iam}/v1/projects/-/serviceAccounts/{account}:generateAccessToken"
            ),
        )

    def _open(self) -> aiohttp.ClientSession:
        # Made lazily, since a session belongs to the running event loop.
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        return self._session


def _source(settings: Connection, key: SigningKey | None, folder: Path) -> Any:
    """Give google-auth's credentials for what stands behind a connection."""
    if key is not None:
        return credential_files.of_key(key)
    if settings.application_default:
        found = ApplicationDefault().find()
        where, content = found.where, found.content
    elif settings.external_account_file:
        file = folder / Path(settings.external_account_file).expanduser()
        where, content = str(file), SecretFile(file).read()
    else:
        content = b""
    if not content:
        return compute_engine.Credentials(scopes=list(SCOPES))
    info = credential_files.read(content, where)
    if settings.external_account_file and info["type"] != credential_files.WORKLOAD_IDENTITY:
        raise UnsafeConfigurationError(
            f"`{where}` is no credential file of workload identity federation",
            hint="make one with `gcloud iam workload-identity-pools create-cred-config`",
        )
    return credential_files.credentials(info, where)


def _texts(headers: Mapping[str, str | bytes]) -> dict[str, str]:
    """Give headers as texts: google-auth sends AWS's session token as it came, as bytes."""
    return {
        name: value.decode("latin-1") if isinstance(value, bytes) else value
        for name, value in headers.items()
    }


class _Answer(transport.Response):
    """An answer as google-auth wants it."""

    def __init__(self, status: int, headers: Mapping[str, str], data: bytes) -> None:
        self._status, self._headers, self._data = status, headers, data

    @property
    def status(self) -> int:
        return self._status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._headers

    @property
    def data(self) -> bytes:
        return self._data


class _Asking(transport.Request):
    """Sends google-auth's requests from its thread by the event loop, and keeps what went wrong.

    INVARIANT: a redirect is never followed, so that a token goes to the named server alone.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, session: aiohttp.ClientSession, outward: Outward
    ) -> None:
        self._outward = outward
        self._loop = loop
        self._session = session
        self._host, self._status, self._code = "", 0, ""
        self.runs, self.hint = False, _ASK

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_: object,
    ) -> _Answer:
        self._host, self._status, self._code = str(urlsplit(url).hostname), 0, ""
        seconds = min(timeout or _SECONDS, _SECONDS)
        asked = self._sent(url, method, body, headers or {}, seconds)
        try:
            answered = asyncio.run_coroutine_threadsafe(asked, self._loop)
            # Bounded, for the event loop may have ended meanwhile.
            return answered.result(seconds + 1)
        except (aiohttp.ClientError, TimeoutError, OSError, RefusedError):
            raise exceptions.TransportError("no answer") from None

    async def _sent(
        self,
        url: str,
        method: str,
        body: bytes | str | None,
        headers: Mapping[str, str],
        seconds: float,
    ) -> _Answer:
        timeout = aiohttp.ClientTimeout(total=seconds)
        # INVARIANT: a proxy sees neither a token nor what it is made of.
        way = await self._outward.options() if url.startswith("https:") else {}
        async with self._session.request(
            method,
            url,
            data=body,
            headers=_texts(headers),
            timeout=timeout,
            allow_redirects=False,
            **way,
        ) as response:
            data = await short_body(response)
            self._status = response.status
            found = _ERROR_CODE.search(data)
            self._code = found[1].decode() if found else ""
            return _Answer(response.status, response.headers, data)

    def problem(self, name: str) -> RefusedError:
        """Say in a sentence what the last server asked has made of it."""
        what = f"the gateway got no token for its connection `{name}`"
        if not self._host and self.runs:
            said = "the program that its credential file names gives none"
            return RefusedError(f"{what}: {said}", hint="run that program as the gateway's user")
        if not self._host:
            return RefusedError(f"{what}: its own files are not as they should be", hint=_ASK)
        if not self._status:
            return RefusedError(f"{what}: `{self._host}` cannot be reached", hint=self.hint)
        said = f"{self._status} {self._code}".strip()
        hint = _HINTS.get(self._status, self.hint)
        kind = KeyRejectedError if self._status == _UNAUTHORIZED else RefusedError
        return kind(f"{what}: `{self._host}` answered {said}", hint=hint)
