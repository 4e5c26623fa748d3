"""The token endpoint's logic: RFC 8693, as Google's `external_account` credentials use it.

What it has given may be given back by RFC 7009.
"""

from __future__ import annotations

import msgspec

from keystile.identity.form import Form
from keystile.identity.gateway_tokens import GatewayTokens
from keystile.identity.subjects import Subjects
from keystile.model.errors import (
    RefusedError,
    TokenFault,
    TokenRefusedError,
    UnauthenticatedError,
)

_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  a type's name
_SUBJECT_TYPES = (
    "urn:ietf:params:oauth:token-type:jwt",
    "urn:ietf:params:oauth:token-type:id_token",
)


class TokenResponse(msgspec.Struct, frozen=True):
    """A successful answer (RFC 8693 section 2.2.1). `expires_in` is in seconds."""

    access_token: str
    expires_in: int
    issued_token_type: str = _ACCESS_TOKEN
    token_type: str = "Bearer"  # noqa: S105  a type's name

    def __repr__(self) -> str:
        """Never show the token."""
        return f"TokenResponse(expires_in={self.expires_in})"


class Exchange:
    """Turns an agent's own OIDC token into a gateway token, and ends gateway tokens."""

    def __init__(self, subjects: Subjects, tokens: GatewayTokens, audience: str) -> None:
        """Take who says whose a token is, and the audience that agents ask for."""
        self._subjects = subjects
        self._tokens = tokens
        self._audience = audience

    async def exchange(self, body: bytes, content_type: str) -> TokenResponse:
        """Answer one request. Raises `TokenRefusedError` with RFC 6749's error code."""
        form = Form(body, content_type)
        form.require("grant_type", (_GRANT,), "unsupported_grant_type")
        form.require("subject_token_type", _SUBJECT_TYPES)
        if "requested_token_type" in form:
            form.require("requested_token_type", (_ACCESS_TOKEN,))
        if "actor_token" in form or "actor_token_type" in form:
            form.require("actor_token_type", _SUBJECT_TYPES)
        form.require("audience", (self._audience,), "invalid_target")
        actor = form.given("actor_token") if "actor_token_type" in form else ""
        # Whatever writes a token into a file ends the line, and clients send the file as it is.
        subject = form.given("subject_token").rstrip("\r\n")
        principal = await self._subjects.principal(subject, actor)
        try:
            # An agent of the built-in issuer has what the registry says of it now.
            token, lifetime = await self._tokens.issue(await self._tokens.current(principal))
        except (UnauthenticatedError, RefusedError) as error:
            raise TokenRefusedError(
                error.message, hint=error.hint, fault=TokenFault.AGENT
            ) from error
        return TokenResponse(token, lifetime)

    async def revoke(self, body: bytes, content_type: str) -> None:
        """End a gateway token at the word of whoever holds it (RFC 7009 section 2.1).

        An unknown one is no error (section 2.2): it has no effect any more. Raises
        `TokenRefusedError`.
        """
        await self._tokens.revoke(Form(body, content_type).given("token"))
