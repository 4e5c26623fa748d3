"""Who a token speaks for: an agent for itself, or an agent for a person (RFC 8693).

Nobody acts for another unless the settings of the person's issuer say so.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

import msgspec

from keystile.identity.claims import session_id
from keystile.identity.issuers import Source
from keystile.identity.tokens import SignedClaims, TokenVerifier
from keystile.model.errors import TokenFault, TokenRefusedError, UnsafeConfigurationError
from keystile.model.principal import Principal

_BUILTIN = "builtin"


class Verified(NamedTuple):
    """A token that was verified: what it claims, whose it is, and what tells it from all others.

    INVARIANT: the digest leaves out the signature, of which a token may have many.
    """

    claims: SignedClaims
    source: Source
    digest: str


class Identified(NamedTuple):
    """The agent that tokens stand for, these tokens, the subject's first, and who is behind it.

    `behind` is whoever the agent acts for, None where it acts for itself.
    """

    principal: Principal
    tokens: tuple[Verified, ...]
    behind: Principal | None = None


class Subjects:
    """Verifies agents' own tokens and says whose they are."""

    def __init__(self, sources: Sequence[Source], builtin: str, clock_skew: int) -> None:
        """Take every issuer that is trusted, and how many seconds clocks may differ.

        `builtin` is the name of the gateway's own issuer. Raises `UnsafeConfigurationError` as
        `TokenVerifier` does, and for actors of an issuer that is not trusted itself. `are_direct`
        tells that some tokens may be used without an exchange.
        """
        self._verifier = TokenVerifier([source.trusted for source in sources], clock_skew)
        self._sources: dict[str, Source] = {}
        names = {source.trusted.issuer for source in sources}
        for source in sources:
            actors = (builtin if name == _BUILTIN else name for name in source.actor_issuers)
            known = source._replace(actor_issuers=frozenset(actors))
            if unknown := sorted(known.actor_issuers - names):
                message = f"`actor_issuers` names `{unknown[0]}`, which is no trusted issuer"
                raise UnsafeConfigurationError(
                    message, hint="add it under `identity.issuers`, or enable the built-in issuer"
                )
            self._sources[source.trusted.issuer] = known
        self.are_direct = any(source.trust.direct_use for source in sources)

    async def identify(self, unverified_token: str, unverified_actor: str = "") -> Identified:
        """Give the agent that a token stands for, or the actor that acts for its subject.

        Raises `TokenRefusedError` with one sentence that says what is wrong.
        """
        subject = await self._verify(unverified_token)
        if unverified_actor:
            return await self._delegated(subject, unverified_actor)
        if "may_act" in subject.claims:
            _refuse(
                "the token says who may act for its subject (`may_act`), and no actor came with it",
                hint="send the agent's own token as `actor_token`",
            )
        if "act" in subject.claims:
            return Identified(_acting(subject), (subject,), _principal(subject))
        return Identified(_principal(subject), (subject,))

    async def _verify(self, unverified_token: str) -> Verified:
        claims = await self._verifier.verify(unverified_token)
        signed, _, _ = unverified_token.rpartition(".")
        digest = hashlib.sha256(signed.encode("ascii")).hexdigest()
        return Verified(claims, self._sources[claims["iss"]], digest)

    async def _delegated(self, subject: Verified, unverified_actor: str) -> Identified:
        """Give the actor of a token of its own, whom the subject's token names (section 4.4)."""
        claims, trusted = subject.claims, subject.source.actor_issuers
        if not trusted:
            _refuse(
                "nobody may act for the subjects of this issuer",
                hint="an operator says who in `actor_issuers` of the issuer",
            )
        try:
            actor = await self._verify(unverified_actor)
        except TokenRefusedError as error:
            message = f"`actor_token`: {error.message}"
            raise TokenRefusedError(message, hint=error.hint, fault=error.fault) from error
        if actor.claims["iss"] not in trusted:
            _refuse(
                f"agents of `{actor.claims['iss']}` may not act for the subjects of "
                f"`{claims['iss']}`",
                hint="an operator says who in `actor_issuers` of the issuer",
            )
        if "act" in claims or not actor.claims.keys().isdisjoint(("act", "may_act")):
            _refuse("one of the tokens is delegated already, and goes no further")
        if (actor.claims["iss"], actor.claims["sub"]) == (claims["iss"], claims["sub"]):
            _refuse("the actor is the subject itself", hint="exchange its token without an actor")
        if not _names(claims.get("may_act"), claims["iss"], actor.claims):
            _refuse(
                "`may_act` of the subject's token does not name the actor",
                hint="have the subject's issuer name the agent by `iss` and `sub`",
            )
        behind = _principal(subject)
        return Identified(_for(_principal(actor), behind), (subject, actor), behind)


def _principal(token: Verified) -> Principal:
    return token.source.mapping.principal(token.claims, time.time())


def _acting(token: Verified) -> Principal:
    """Give the actor that a token itself names; actors within it are history (section 4.1)."""
    claims, acting = token.claims, token.source.acting
    if acting is None:
        _refuse(
            "the token says who acts for its subject (`act`), which its issuer may not say here",
            hint="an operator says what the actor is in `actor_mapping` of the issuer",
        )
    act = claims["act"]
    if not isinstance(act, dict) or not isinstance(name := act.get("sub"), str) or not name:
        _refuse("`act` of the token names no actor")
    if act.get("iss", claims["iss"]) != claims["iss"]:
        _refuse(
            "`act` of the token names an actor of another issuer, for which its own says nothing"
        )
    if name == claims["sub"]:
        _refuse("the actor is the subject itself")
    return _for(acting.principal(claims, time.time()), _principal(token))


def _names(may_act: object, issuer: str, actor: SignedClaims) -> bool:
    """Tell whether `may_act` is the actor; each of its claims narrows it down.

    INVARIANT: without `iss` it names a subject of the issuer that says so, or an issuer could be
    made to vouch for the namesakes of another.
    """
    if not isinstance(may_act, dict) or not isinstance(may_act.get("sub"), str):
        return False
    wanted: dict[str, Any] = {"iss": issuer} | may_act
    return all(name in actor and actor[name] == value for name, value in wanted.items())


def _for(agent: Principal, person: Principal) -> Principal:
    """Give the agent on behalf of the person, each of whom has a session of its own."""
    name = person.on_behalf_of or person.subject
    session = session_id(agent.issuer, agent.subject, f"{agent.session}\0{name}")
    return msgspec.structs.replace(agent, on_behalf_of=name, session=session)


def _refuse(message: str, *, hint: str = "") -> NoReturn:
    raise TokenRefusedError(message, hint=hint, fault=TokenFault.DELEGATION)
