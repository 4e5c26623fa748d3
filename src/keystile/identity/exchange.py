"""The token endpoint's logic: RFC 8693, as Google's `external_account` credentials use it.

What it has given may be given back by RFC 7009.
"""

from __future__ import annotations

import msgspec

from keystile.identity.binding import Senders
from keystile.identity.form import Form
from keystile.identity.gateway_tokens import GatewayTokens
from keystile.identity.limits import Limits
from keystile.identity.replay import Uses
from keystile.identity.subjects import Subjects, Verified
from keystile.model.errors import (
    RefusedError,
    StoreUnavailableError,
    TokenFault,
    TokenRefusedError,
    UnauthenticatedError,
)
from keystile.model.sender import UNKNOWN, Sender

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

    def __init__(  # noqa: PLR0913 - what an exchange stands on
        self,
        *,
        subjects: Subjects,
        senders: Senders,
        tokens: GatewayTokens,
        uses: Uses,
        limits: Limits,
        audience: str,
    ) -> None:
        """Take who says whose a token is, and the audience that agents ask for."""
        self._senders = senders
        self._subjects = subjects
        self._tokens = tokens
        self._uses = uses
        self._limits = limits
        self._audience = audience

    async def exchange(
        self, body: bytes, content_type: str, sender: Sender = UNKNOWN
    ) -> TokenResponse:
        """Answer one request. Raises `TokenRefusedError` with RFC 6749's error code."""
        self._limits.ask(sender.address)
        try:
            return await self._exchange(Form(body, content_type), sender)
        except TokenRefusedError as error:
            if error.fault is not TokenFault.RATE:
                self._limits.fail(sender.address)
            raise

    async def _exchange(self, form: Form, sender: Sender) -> TokenResponse:
        form.require("grant_type", (_GRANT,), "unsupported_grant_type")
        form.require("subject_token_type", _SUBJECT_TYPES)
        if "requested_token_type" in form:
            form.require("requested_token_type", (_ACCESS_TOKEN,))
        if "actor_token" in form or "actor_token_type" in form:
            form.require("actor_token_type", _SUBJECT_TYPES)
        form.require("audience", (self._audience,), "invalid_target")
        actor = form.given("actor_token").rstrip("\r\n") if "actor_token_type" in form else ""
        # Whatever writes a token into a file ends the line, and clients send the file as it is.
        subject = form.given("subject_token").rstrip("\r\n")
        identified = await self._subjects.identify(subject, actor)
        self._limits.identify(identified.principal)
        try:
            # An agent of the built-in issuer has what the registry says of it now.
            principal = await self._tokens.admitted(identified.principal, identified.behind)
        except StoreUnavailableError:
            raise
        except (UnauthenticatedError, RefusedError) as error:
            raise TokenRefusedError(
                error.message, hint=error.hint, fault=TokenFault.AGENT
            ) from error
        binding = await self._senders.bind(sender, identified.tokens)
        for token in identified.tokens:
            await self._count(token)
        issued, lifetime = await self._tokens.issue(principal, binding)
        return TokenResponse(issued, lifetime, token_type="DPoP" if binding.jkt else "Bearer")

    async def _count(self, token: Verified) -> None:
        most = token.source.trust.exchanges_per_token
        if not await self._uses.count(token.digest, token.claims["exp"], most):
            raise TokenRefusedError(
                f"the token was exchanged {most} times, and no more are allowed",
                hint="get a new one from its issuer",
                fault=TokenFault.REPLAY,
            )

    async def revoke(self, body: bytes, content_type: str, sender: Sender = UNKNOWN) -> None:
        """End a gateway token at the word of whoever holds it (RFC 7009 section 2.1).

        An unknown one is no error (section 2.2): it has no effect any more. Raises
        `TokenRefusedError`.
        """
        self._limits.ask(sender.address)
        token = Form(body, content_type).given("token")
        await self._senders.require(await self._tokens.binding(token), sender)
        await self._tokens.revoke(token)
