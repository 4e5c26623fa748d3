"""Stand-ins for all that tells who an agent is."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

import msgspec

from keystile.model.errors import RefusedError, TokenRefusedError, UnauthenticatedError
from keystile.model.principal import Principal
from keystile.model.sender import Sender


class FakePrincipals:
    """Tokens and whose they are, as given."""

    def __init__(self, tokens: Mapping[str, Principal]) -> None:
        """Know these tokens."""
        self._tokens = tokens
        self.disabled: set[str] = set()
        self.sender: Sender | None = None
        self.refusal: UnauthenticatedError | None = None

    async def principal(self, unverified_token: str, sender: Sender) -> Principal:
        """Look the token up, and remember who sent it."""
        self.sender = sender
        if self.refusal:
            raise self.refusal
        if unverified_token not in self._tokens:
            raise UnauthenticatedError("the gateway token is not valid", hint="exchange a new one")
        return self._tokens[unverified_token]

    async def current(self, principal: Principal) -> Principal:
        """Give the agent, unless it was disabled meanwhile."""
        if principal.agent in self.disabled:
            raise RefusedError(f"the agent `{principal.agent}` is disabled")
        return principal


class FakeToken(msgspec.Struct, frozen=True):
    """An issued token."""

    access_token: str
    expires_in: int
    issued_token_type: str = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  a name
    token_type: str = "Bearer"  # noqa: S105  a name


class FakeExchange:
    """Gives the gateway token `to-SUBJECT` for any subject token that does not say `bad`."""

    def __init__(self) -> None:
        """Remember who sent the last request."""
        self.sender: Sender | None = None

    async def exchange(self, body: bytes, content_type: str, sender: Sender) -> FakeToken:
        """Look at the subject token alone."""
        del content_type
        self.sender = sender
        subject = dict(parse_qsl(body.decode())).get("subject_token", "bad")
        if "bad" in subject:
            raise TokenRefusedError("the subject token is expired", hint="fetch a new one")
        return FakeToken(f"to-{subject}", 600)

    async def revoke(self, body: bytes, content_type: str, sender: Sender) -> None:
        """Refuse what says `bad`, and remember nothing."""
        del content_type
        self.sender = sender
        if b"bad" in body:
            raise TokenRefusedError("the parameter `token` is missing")


class FakeIssuer:
    """Documents that name nothing real."""

    def discovery(self) -> Mapping[str, object]:
        """Give the metadata."""
        return {"issuer": "http://gateway.example/issuer"}

    def jwks(self) -> Mapping[str, object]:
        """Give no keys."""
        return {"keys": []}
