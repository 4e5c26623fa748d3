"""Who may publish the policy over the network, by tokens that are good for nothing else.

INVARIANT: what agents sign in with publishes nothing, and what publishes is no agent's: the
audiences differ, and all of a token's must be ours.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from keystile.config.identity import PresetName
from keystile.config.settings import Settings
from keystile.identity.binding import Senders, confirmed, demand
from keystile.identity.claims import Condition
from keystile.identity.gateway_tokens import GatewayTokens
from keystile.identity.issuers import Source, source
from keystile.identity.keys import Documents
from keystile.identity.limits import Limits
from keystile.identity.presets import PRESETS, asks
from keystile.identity.replay import Uses
from keystile.identity.tokens import SignedClaims, TokenVerifier
from keystile.model.errors import (
    KeystileError,
    RefusedError,
    StoreUnavailableError,
    TokenFault,
    TokenRefusedError,
    UnauthenticatedError,
    UnsafeConfigurationError,
)
from keystile.model.principal import Principal
from keystile.model.sender import Sender

_WHOM = "an operator says who may under `publishing.publishers`"
# Where one issuer speaks for all that anybody pushes: what tells which repository and which branch.
_MUST_ASK: Mapping[PresetName, Sequence[tuple[str, ...]]] = {
    "github-actions": (("repository", "repository_id", "sub"), ("ref", "environment", "sub")),
    "gitlab-ci": (
        ("project_path", "project_id", "sub"),
        ("ref", "ref_protected", "environment", "sub"),
    ),
}


class Presented(NamedTuple):
    """A token whose signature, audience and times are right: whose it is, and what tells it.

    `refusal` says why its author may not publish all the same; None where they may.
    """

    author: str
    digest: str
    expires_at: float
    refusal: KeystileError | None = None


class Publishers:
    """Says who presents a token to publish with, and whether they may."""

    def __init__(  # noqa: PLR0913, PLR0917 - what a token is looked at by
        self,
        publishers: Sequence[Source],
        clock_skew: int,
        senders: Senders,
        tokens: GatewayTokens,
        uses: Uses,
        limits: Limits,
    ) -> None:
        """Take what `publisher_sources` gives."""
        trusted = {one.trusted.issuer: one.trusted for one in publishers}
        self._verifier = TokenVerifier([*trusted.values()], clock_skew)
        self._publishers = publishers
        self._senders = senders
        self._tokens = tokens
        self._uses = uses
        self._limits = limits

    async def present(self, unverified_token: str, sender: Sender) -> Presented:
        """Verify a token and say whether its author may publish.

        Raises `UnauthenticatedError` for one that is not verified, and `StoreUnavailableError`.
        """
        if not self._publishers:
            raise UnauthenticatedError("nobody may publish the policy here", hint=_WHOM)
        try:
            self._limits.verify(sender.address)
            claims = await self._verifier.verify(unverified_token)
        except TokenRefusedError as error:
            self._limits.fail(sender.address)
            raise _unverified(error) from error
        signed, _, _ = unverified_token.rpartition(".")
        digest = hashlib.sha256(signed.encode("ascii")).hexdigest()
        author, refusal = f"{claims['sub']} at {claims['iss']}", None
        try:
            principal = await self._admitted(claims, unverified_token, sender)
            if principal.on_behalf_of:
                author = f"{principal.on_behalf_of} by {author}"
        except StoreUnavailableError:
            raise
        except KeystileError as error:
            self._limits.fail(sender.address)
            refusal = RefusedError(error.message, hint=error.hint)
        return Presented(author, digest, float(claims["exp"]), refusal)

    async def use(self, presented: Presented) -> None:
        """Take a token up. Raises `RefusedError` for one that has published before.

        INVARIANT: each publishes once, so that one that is seen on its way is worth nothing after.
        """
        if not await self._uses.count(f"publish {presented.digest}", presented.expires_at, 1):
            raise RefusedError(
                "this token has published already", hint="get a new one from its issuer"
            )

    async def _admitted(self, claims: SignedClaims, token: str, sender: Sender) -> Principal:
        if not claims.keys().isdisjoint(("act", "may_act")):
            message = "the token is for somebody who acts for another, and publishes nothing"
            raise TokenRefusedError(message, fault=TokenFault.DELEGATION)
        publisher, principal = self._fitting(claims)
        binding = confirmed(claims)
        demand(publisher.trust.sender_constraint, binding)
        await self._senders.admit(binding, sender, token)
        # Who was disabled as an agent publishes nothing either.
        return await self._tokens.current(principal)

    def _fitting(self, claims: SignedClaims) -> tuple[Source, Principal]:
        """Give the first publisher whose conditions hold."""
        refusals = []
        for one in self._publishers:
            if one.trusted.issuer == claims["iss"]:
                try:
                    return one, one.mapping.principal(claims, time.time())
                except TokenRefusedError as error:
                    refusals.append(error)
        raise refusals[-1]


def publisher_sources(settings: Settings, documents: Sequence[Documents]) -> list[Source]:
    """Make who may publish; `documents` are those of the issuers, in their order.

    Raises `UnsafeConfigurationError` naming the setting that is not safe or not understood.
    """
    audience, issuers = settings.publishing.audience, settings.identity.issuers
    if any(audience in taken for taken in _taken(settings)):
        raise UnsafeConfigurationError(
            f"`publishing.audience` is `{audience}`, which tokens of agents are for",
            hint="choose one that nothing else is for",
        )
    names = [issuer.issuer or PRESETS[issuer.preset].issuer for issuer in issuers]
    found = []
    for number, publisher in enumerate(settings.publishing.publishers):
        at = f"publishing.publishers[{number}]"
        if publisher.issuer not in names:
            raise UnsafeConfigurationError(
                f"`{at}.issuer` `{publisher.issuer}` is none of `identity.issuers`",
                hint="add it there, with its preset or its keys",
            )
        place = names.index(publisher.issuer)
        _check_condition(at, issuers[place].preset, publisher.condition)
        issuer = msgspec.structs.replace(issuers[place], audiences=[audience])
        condition = Condition(
            setting=f"{at}.condition",
            text=publisher.condition,
            refusal="the token does not fulfil the condition on who may publish",
            hint="compare its claims with `condition` under `publishing.publishers`",
        )
        found.append(source(place, issuer, documents[place], condition))
    return found


def _taken(settings: Settings) -> list[list[str]]:
    identity = settings.identity
    return [[identity.audience], *(issuer.audiences for issuer in identity.issuers)]


def _check_condition(at: str, preset: PresetName, condition: str) -> None:
    # INVARIANT: else whoever may push a branch, or has another repository, publishes unreviewed.
    for claims in _MUST_ASK.get(preset, ()):
        if not asks(condition, claims):
            listed = ", ".join(f"`assertion.{claim}`" for claim in claims)
            raise UnsafeConfigurationError(
                f"`{at}.condition` asks for none of {listed}, so that it holds for too much",
                hint="say which repository and which branch or environment may publish",
            )


def _unverified(error: TokenRefusedError) -> UnauthenticatedError:
    if error.fault is TokenFault.ISSUER:
        message = "nobody may publish with a token of this issuer"
        return UnauthenticatedError(message, hint=_WHOM, fault=error.fault)
    return UnauthenticatedError(error.message, hint=error.hint, fault=error.fault)
