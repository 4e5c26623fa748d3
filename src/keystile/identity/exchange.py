"""The token endpoint's logic: RFC 8693, as Google's `external_account` credentials use it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from urllib.parse import parse_qsl

import msgspec

from keystile.identity.claims import ClaimMapping
from keystile.identity.gateway_tokens import GatewayTokens
from keystile.identity.tokens import TokenVerifier
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
_FORM = "application/x-www-form-urlencoded"
_MAX_BODY_BYTES = 64 << 10
_MAX_PARAMETERS = 32


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
    """Turns an agent's own OIDC token into a gateway token."""

    def __init__(
        self,
        verifier: TokenVerifier,
        mappings: Mapping[str, ClaimMapping],
        tokens: GatewayTokens,
        audience: str,
    ) -> None:
        """Take what each issuer's claims mean, and the audience that agents ask for."""
        self._verifier = verifier
        self._mappings = mappings
        self._tokens = tokens
        self._audience = audience

    async def exchange(self, body: bytes, content_type: str) -> TokenResponse:
        """Answer one request. Raises `TokenRefusedError` with RFC 6749's error code."""
        form = _form(body, content_type)
        _require(form, "grant_type", (_GRANT,), "unsupported_grant_type")
        _require(form, "subject_token_type", _SUBJECT_TYPES)
        if "requested_token_type" in form:
            _require(form, "requested_token_type", (_ACCESS_TOKEN,))
        if "actor_token" in form:
            raise TokenRefusedError(
                "`actor_token` is not supported",
                hint="have the issuer name the person in the subject token",
            )
        _require(form, "audience", (self._audience,), "invalid_target")
        claims = await self._verifier.verify(_given(form, "subject_token"))
        principal = self._mappings[claims["iss"]].principal(claims, time.time())
        try:
            # An agent of the built-in issuer has what the registry says of it now.
            token, lifetime = await self._tokens.issue(await self._tokens.current(principal))
        except (UnauthenticatedError, RefusedError) as error:
            raise TokenRefusedError(
                error.message, hint=error.hint, fault=TokenFault.AGENT
            ) from error
        return TokenResponse(token, lifetime)


def _form(body: bytes, content_type: str) -> dict[str, str]:
    if content_type.partition(";")[0].strip().lower() != _FORM:
        raise TokenRefusedError(f"the request is not a form (`{_FORM}`)")
    if len(body) > _MAX_BODY_BYTES:
        message = f"the form is larger than {_MAX_BODY_BYTES} bytes"
        raise TokenRefusedError(message)
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_MAX_PARAMETERS,
        )
    except ValueError as error:
        message = "the form is not well-formed"
        raise TokenRefusedError(message) from error
    form: dict[str, str] = {}
    for name, value in pairs:
        if name in form:
            message = f"the parameter {name[:40]!r} is given twice"
            raise TokenRefusedError(message)
        form[name] = value
    # RFC 6749 section 3.2: a parameter without a value counts as left out.
    return {name: value for name, value in form.items() if value}


def _given(form: Mapping[str, str], name: str) -> str:
    if name not in form:
        raise TokenRefusedError(f"the parameter `{name}` is missing")
    return form[name]


def _require(
    form: Mapping[str, str],
    name: str,
    accepted: tuple[str, ...],
    oauth_error: str = "invalid_request",
) -> None:
    if _given(form, name) not in accepted:
        # What was given is not repeated: in a garbled form it could be the token.
        choices = " or ".join(f"`{value}`" for value in accepted)
        message = f"the parameter `{name}` must be {choices}"
        raise TokenRefusedError(message, oauth_error=oauth_error)
