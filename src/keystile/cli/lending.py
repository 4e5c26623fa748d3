"""A token endpoint for one run, which adds the person who has signed in to what its clients ask.

Google's clients send one token. Here they send a secret of this run, and the gateway gets the
person's token, with the agent's own beside it (RFC 8693 section 2.1).
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from keystile.cli.connecting import Way
from keystile.identity.login import Logins
from keystile.model.errors import KeystileError, RefusedError

_JWT = "urn:ietf:params:oauth:token-type:jwt"
_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
_SECONDS = 30.0


class Lending:
    """Exchanges the person's token at the gateway, for this run's clients alone."""

    def __init__(
        self, way: Way, logins: Logins, actor: Callable[[], Awaitable[str]] | None
    ) -> None:
        """`actor` gives the agent's own token; None where the person's token names the agent."""
        self.secret = secrets.token_urlsafe(32)
        self._way = way
        self._logins = logins
        self._actor = actor

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve on this machine alone, and give the endpoint's address."""
        app = web.Application()
        app.router.add_post("/token", self._answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/token"
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        form = await request.post()
        # INVARIANT: only who can read this run's private folder gets the person's rights.
        given = str(form.get("subject_token", "")).encode("utf-8", "replace")
        if not hmac.compare_digest(given, self.secret.encode()):
            return _refusal("this is the token endpoint of another run")
        try:
            return await self._exchanged()
        except KeystileError as error:
            # Clients show what is not understood as an error of theirs; a 5xx they would repeat.
            return _refusal(str(error))

    async def _exchanged(self) -> web.Response:
        login = await self._logins.fresh(self._way.gateway)
        form = {
            "grant_type": _GRANT,
            "audience": self._way.audience,
            "subject_token": login.subject_token,
            "subject_token_type": _JWT,
        }
        if self._actor:
            form |= {"actor_token": await self._actor(), "actor_token_type": _JWT}
        url, timeout = f"{self._way.gateway}/v1/token", aiohttp.ClientTimeout(total=_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(url, data=form, allow_redirects=False) as answer,
            ):
                text = await answer.read()
                return web.Response(
                    status=answer.status, body=text, content_type="application/json"
                )
        except (aiohttp.ClientError, TimeoutError) as error:
            raise RefusedError(f"`{self._way.gateway}` cannot be reached") from error


def _refusal(message: str) -> web.Response:
    body = {"error": "invalid_request", "error_description": message}
    return web.json_response(body, status=400)
