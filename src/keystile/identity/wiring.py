"""Builds this room from the settings, for the gateway and for commands alike."""

from __future__ import annotations

from typing import NamedTuple

from keystile.config.settings import Settings
from keystile.identity.agents import Agents
from keystile.identity.binding import Senders
from keystile.identity.builtin import CLAIMS, BuiltinIssuer, builtin_issuer, issuer_url
from keystile.identity.callers import Callers
from keystile.identity.claims import ClaimMapping
from keystile.identity.disabling import Disablings
from keystile.identity.exchange import Exchange
from keystile.identity.gateway_tokens import GatewayTokens
from keystile.identity.issuers import Source, source
from keystile.identity.keys import Documents
from keystile.identity.limits import Limits
from keystile.identity.people import People
from keystile.identity.publishers import Publishers, publisher_sources
from keystile.identity.replay import Uses
from keystile.identity.subjects import Subjects
from keystile.identity.tokens import TrustedIssuer
from keystile.model.errors import UnsafeConfigurationError
from keystile.store.database import Database
from keystile.tls.end import End
from keystile.tls.from_settings import to_issuer


class Identity(NamedTuple):
    """The room's parts. `builtin`, called `own_issuer`, is None where the settings disable it."""

    exchange: Exchange
    callers: Callers
    tokens: GatewayTokens
    agents: Agents
    disablings: Disablings
    people: People
    publishers: Publishers
    builtin: BuiltinIssuer | None
    own_issuer: str
    documents: tuple[Documents, ...]

    async def close(self) -> None:
        """Close the connections to issuers."""
        for each in self.documents:
            await each.close()

    @property
    def ends(self) -> tuple[End, ...]:
        """What is to be renewed of the TLS to issuers."""
        return tuple(end for each in self.documents for end in each.outward.ends)


def build(settings: Settings, database: Database) -> Identity:
    """Wire the room onto an open store.

    Raises `UnsafeConfigurationError` for an issuer that is not safe to trust.
    """
    identity, documents, agents = settings.identity, _documents(settings), Agents(database)
    _check(settings)
    url = issuer_url(settings)
    sources = [
        source(number, issuer, documents[number]) for number, issuer in enumerate(identity.issuers)
    ]
    builtin = builtin_issuer(settings) if identity.builtin_issuer.enabled else None
    if builtin is not None:
        audiences, algorithms = frozenset({builtin.audience}), frozenset({"ES256"})
        trusted = TrustedIssuer(url, audiences, algorithms, builtin)
        mapping = ClaimMapping("the built-in issuer", CLAIMS)
        sources.append(Source(trusted, mapping, identity.builtin_issuer))
    tokens = GatewayTokens(database, agents, url, identity.token_lifetime)
    subjects = Subjects(sources, url, identity.clock_skew)
    limits, uses = Limits(identity.limits), Uses(database)
    senders = Senders(uses, identity.clock_skew)
    return Identity(
        exchange=Exchange(
            subjects=subjects,
            senders=senders,
            tokens=tokens,
            uses=uses,
            limits=limits,
            audience=identity.audience,
        ),
        callers=Callers(tokens, subjects, senders, limits),
        tokens=tokens,
        agents=agents,
        disablings=Disablings(database),
        people=People(database),
        publishers=Publishers(
            publisher_sources(settings, documents),
            identity.clock_skew,
            senders,
            tokens,
            uses,
            limits,
        ),
        builtin=builtin,
        own_issuer=url,
        documents=documents,
    )


def _documents(settings: Settings) -> tuple[Documents, ...]:
    numbers = range(len(settings.identity.issuers))
    return tuple(Documents(to_issuer(settings, number)) for number in numbers)


def _check(settings: Settings) -> None:
    every = (settings.identity.builtin_issuer, *settings.identity.issuers)
    wanted = any(trust.sender_constraint == "mtls" for trust in every)
    if wanted and not settings.gateway.client_ca_file:
        raise UnsafeConfigurationError(
            "an issuer's `sender_constraint` demands client certificates, and nobody can show one",
            hint="name `gateway.client_ca_file`, or set `sender_constraint` to `dpop`",
        )
