"""Who sends a request: by a gateway token, or by an agent's own where its issuer lets that be."""

from __future__ import annotations

from functools import partial

import msgspec

from keystile.identity.binding import Senders, confirmed, demand
from keystile.identity.bound import Binding
from keystile.identity.digests import digest_of
from keystile.identity.gateway_tokens import GatewayTokens, Known
from keystile.identity.limits import Limits
from keystile.identity.recent import Recent
from keystile.identity.subjects import Identified, Subjects
from keystile.model.errors import TokenFault, TokenRefusedError, UnauthenticatedError
from keystile.model.principal import Principal
from keystile.model.sender import UNKNOWN, Sender


class Callers:
    """Says whose a token is, and that its sender may use it."""

    def __init__(
        self, tokens: GatewayTokens, subjects: Subjects, senders: Senders, limits: Limits
    ) -> None:
        """Take what gateway tokens are, and who verifies agents' own."""
        self._tokens = tokens
        self._subjects = subjects
        self._senders = senders
        self._limits = limits
        self._own: Recent[Known] = Recent()

    async def principal(self, unverified_token: str, sender: Sender = UNKNOWN) -> Principal:
        """Give the agent that a request is of.

        Raises `UnauthenticatedError` for a token that is unknown, has expired or is bound to a key
        that the sender has not shown, and `RefusedError` for a disabled agent.
        """
        try:
            known = await self._known(unverified_token, sender)
            await self._senders.admit(known.binding, sender, unverified_token)
        except TokenRefusedError as error:
            raise UnauthenticatedError(error.message, hint=error.hint, fault=error.fault) from error
        # INVARIANT: of this request, never of one before it with the same token.
        return msgspec.structs.replace(
            known.principal, address=sender.address, client=sender.client
        )

    async def current(self, principal: Principal) -> Principal:
        """Give what an agent of earlier is by now, as `GatewayTokens` does."""
        return await self._tokens.current(principal)

    async def _known(self, unverified_token: str, sender: Sender) -> Known:
        if "." not in unverified_token or not self._subjects.are_direct:
            return await self._tokens.find(unverified_token)
        digest = digest_of(unverified_token)
        return await self._own.get(digest, partial(self._verified, unverified_token, sender))

    async def _verified(self, unverified_token: str, sender: Sender) -> Known:
        """Verify an agent's own token as if it were exchanged, but for how often it may be."""
        self._limits.verify(sender.address)
        try:
            identified, binding = await self._identified(unverified_token)
        except TokenRefusedError:
            self._limits.fail(sender.address)
            raise
        principal = await self._tokens.admitted(identified.principal, identified.behind)
        await self._tokens.saw(principal)
        # It is verified anew each time that it is not recent any more.
        return Known(principal, binding, float("inf"))

    async def _identified(self, unverified_token: str) -> tuple[Identified, Binding]:
        identified = await self._subjects.identify(unverified_token)
        (token,) = identified.tokens
        if not token.source.trust.direct_use:
            raise TokenRefusedError(
                "this issuer's tokens are not taken here themselves",
                hint="exchange the token at `/v1/token`, or have an operator set `direct_use`",
                fault=TokenFault.ISSUER,
            )
        binding = confirmed(token.claims)
        demand(token.source.trust.sender_constraint, binding)
        return identified, binding
