"""A person's sign-in on another device: OAuth's device authorization grant (RFC 8628)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import aiohttp
import msgspec

from keystile.config.urls import require_safe_url
from keystile.http.bodies import short_body
from keystile.model.errors import RefusedError

_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
# What RFC 8628 says where the issuer says nothing (section 3.2), or to go slower (3.5).
_INTERVAL_SECONDS = 5.0
_SLOWER_SECONDS = 5.0
_MOST_SECONDS = 3600.0
_TIMEOUT_SECONDS = 20.0
_MAX_BYTES = 256 << 10
_SHOWN = 200


class Endpoints(NamedTuple):
    """Where an issuer takes requests (RFC 8414)."""

    device: str
    token: str


class Code(msgspec.Struct, frozen=True):
    """What the issuer answers (section 3.2). Times are in seconds."""

    device_code: str
    user_code: str
    verification_uri: str
    expires_in: float
    verification_uri_complete: str = ""
    interval: float = _INTERVAL_SECONDS

    def __repr__(self) -> str:
        """Never show the device's code."""
        return f"Code({self.user_code!r})"


class Tokens(msgspec.Struct, frozen=True):
    """What the token endpoint gives (RFC 6749 section 5.1, OpenID Connect Core 3.1.3.3)."""

    access_token: str
    id_token: str = ""
    refresh_token: str = ""

    def __repr__(self) -> str:
        """Never show a token."""
        return "Tokens()"


class OAuthError(RefusedError):
    """The issuer refused; `code` is OAuth's word for why."""

    def __init__(self, code: str, description: str) -> None:
        """Say it in the issuer's words, as far as they are plain text."""
        said = description if description.isprintable() else ""
        super().__init__(f"the issuer refuses: {(said or code)[:_SHOWN]}")
        self.code = code


class DeviceFlow:
    """One client of one issuer. Every method raises `RefusedError` for an outage."""

    def __init__(
        self,
        issuer: str,
        client_id: str,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Be the public client `client_id`. Raises `UnsafeConfigurationError` for plain http."""
        require_safe_url(issuer, "the issuer")
        self._issuer = issuer
        self._client_id = client_id
        self._sleep = sleep

    async def endpoints(self) -> Endpoints:
        """Find where the issuer takes requests, by its discovery document."""
        found = await self._described()
        device, token = found.get("device_authorization_endpoint"), found.get("token_endpoint")
        if not isinstance(device, str) or not isinstance(token, str):
            raise RefusedError(
                f"`{self._issuer}` has no device authorization endpoint",
                hint="enable the device flow there (RFC 8628)",
            )
        for url in (device, token):
            require_safe_url(url, "the issuer's endpoint", query_allowed=True)
        return Endpoints(device, token)

    async def begin(self, endpoints: Endpoints, scope: str, resource: str) -> Code:
        """Ask for a code. Raises `OAuthError`."""
        form = {"client_id": self._client_id, "scope": scope}
        answer = await self._posted(endpoints.device, form | _named(resource))
        try:
            code = msgspec.convert(answer, Code)
        except msgspec.ValidationError as error:
            raise RefusedError("the issuer's answer is no device code") from error
        for url in (code.verification_uri, code.verification_uri_complete or self._issuer):
            # It is printed for a person to open.
            require_safe_url(url, "the issuer's link", query_allowed=True)
        if not code.user_code.isprintable() or not 0 < code.expires_in <= _MOST_SECONDS:
            raise RefusedError("the issuer's answer is no device code")
        return code

    async def wait(self, endpoints: Endpoints, code: Code, resource: str) -> Tokens:
        """Poll until the person has agreed (section 3.5). Raises `OAuthError` where they do not."""
        deadline = time.monotonic() + code.expires_in
        interval = max(code.interval, 1.0)
        form = {"grant_type": _GRANT, "client_id": self._client_id, "device_code": code.device_code}
        while time.monotonic() < deadline:
            await self._sleep(interval)
            try:
                return _tokens(await self._posted(endpoints.token, form | _named(resource)))
            except OAuthError as error:
                if error.code == "slow_down":
                    interval += _SLOWER_SECONDS
                elif error.code != "authorization_pending":
                    raise _ended(error) from error
            except RefusedError:
                # Out of reach for a moment: less often, as the RFC asks.
                interval *= 2
        raise RefusedError("nobody signed in in time", hint="run the command again")

    async def refresh(self, token_endpoint: str, refresh_token: str, resource: str) -> Tokens:
        """Get fresh tokens. Raises `OAuthError`."""
        form = {
            "grant_type": "refresh_token",
            "client_id": self._client_id,
            "refresh_token": refresh_token,
        }
        return _tokens(await self._posted(token_endpoint, form | _named(resource)))

    async def revoke(self, tokens: Tokens) -> bool:
        """Have the issuer end what it gave (RFC 7009); False where it offers no address for that.

        Raises `OAuthError` where it does not, and `UnsafeConfigurationError` for plain http.
        """
        url = (await self._described()).get("revocation_endpoint")
        if not isinstance(url, str):
            return False
        require_safe_url(url, "the issuer's revocation endpoint", query_allowed=True)
        if tokens.refresh_token:
            await self._revoked(url, tokens.refresh_token, "refresh_token")
        try:
            await self._revoked(url, tokens.access_token, "access_token")
        except OAuthError as error:
            # An issuer may keep nothing of access tokens, such as JWTs (section 2.2.1).
            if error.code != "unsupported_token_type":
                raise
        return True

    async def _revoked(self, url: str, token: str, kind: str) -> None:
        form = {"client_id": self._client_id, "token": token, "token_type_hint": kind}
        await self._posted(url, form, ignored=True)

    async def _described(self) -> dict[str, Any]:
        status, found = await self._ask(
            f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
        )
        if status != 200 or found.get("issuer") != self._issuer:  # noqa: PLR2004 - OK
            raise RefusedError(
                f"`{self._issuer}` does not describe itself as an issuer",
                hint="give the `iss` of its tokens, to the character",
            )
        return found

    async def _posted(
        self, url: str, form: Mapping[str, str], *, ignored: bool = False
    ) -> dict[str, Any]:
        status, answer = await self._ask(url, form, ignored=ignored)
        if status == 200:  # noqa: PLR2004 - OK
            return answer
        code, said = answer.get("error"), answer.get("error_description")
        if not isinstance(code, str):
            raise RefusedError(f"the issuer answers with status {status}")
        raise OAuthError(code, said if isinstance(said, str) else "")

    async def _ask(
        self, url: str, form: Mapping[str, str] | None = None, *, ignored: bool = False
    ) -> tuple[int, dict[str, Any]]:
        """Send a request; the body of a success may be `ignored`, whatever it is."""
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(
                    "POST" if form else "GET", url, data=form, allow_redirects=False
                ) as answer,
            ):
                text = await short_body(answer, _MAX_BYTES)
                if ignored and answer.status == 200:  # noqa: PLR2004 - OK
                    return answer.status, {}
                return answer.status, msgspec.json.decode(text or b"{}", type=dict[str, Any])
        except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError) as error:
            message = f"`{self._issuer}` does not answer as an issuer does"
            raise RefusedError(message, hint="try again") from error


def _named(resource: str) -> dict[str, str]:
    """Ask for a token that is for someone (RFC 8707)."""
    return {"resource": resource} if resource else {}


def _tokens(answer: dict[str, Any]) -> Tokens:
    try:
        return msgspec.convert(answer, Tokens)
    except msgspec.ValidationError as error:
        raise RefusedError("the issuer's answer has no token") from error


def _ended(error: OAuthError) -> RefusedError:
    known = {
        "access_denied": RefusedError("the person did not agree", hint="run the command again"),
        "expired_token": RefusedError("nobody signed in in time", hint="run the command again"),
    }
    return known.get(error.code, error)
