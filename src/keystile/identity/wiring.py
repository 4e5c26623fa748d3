"""Builds this room from the settings, for the gateway and for commands alike."""

from __future__ import annotations

from typing import NamedTuple

from keystile.config.settings import Issuer, Settings
from keystile.identity.agents import Agents
from keystile.identity.builtin import BuiltinIssuer
from keystile.identity.exchange import Exchange
from keystile.identity.gateway_tokens import GatewayTokens
from keystile.identity.keys import Documents, IssuerKeys
from keystile.identity.people import People
from keystile.identity.tokens import TokenVerifier, TrustedIssuer
from keystile.model.errors import UnsafeConfigurationError
from keystile.store.database import Database


class Identity(NamedTuple):
    """The room's parts. `builtin` is None where the settings disable it."""

    exchange: Exchange
    tokens: GatewayTokens
    agents: Agents
    people: People
    builtin: BuiltinIssuer | None
    documents: Documents

    async def close(self) -> None:
        """Close the connections to issuers."""
        await self.documents.close()


def build(settings: Settings, database: Database) -> Identity:
    """Wire the room onto an open store.

    Raises `UnsafeConfigurationError` for an issuer that is not safe to trust.
    """
    identity, documents, agents = settings.identity, Documents(), Agents(database)
    trusted = [_trusted(issuer, documents) for issuer in identity.issuers]
    builtin = builtin_issuer(settings) if identity.builtin_issuer.enabled else None
    if builtin is not None:
        audiences, algorithms = frozenset({builtin.audience}), frozenset({"ES256"})
        trusted.append(TrustedIssuer(builtin.url, audiences, algorithms, builtin))
    tokens = GatewayTokens(database, agents, issuer_url(settings), identity.token_lifetime)
    claim_maps = {issuer.issuer: issuer.claims for issuer in identity.issuers}
    verifier = TokenVerifier(trusted, identity.clock_skew)
    exchange = Exchange(verifier, claim_maps, tokens, agents, identity.audience)
    return Identity(exchange, tokens, agents, People(database), builtin, documents)


def builtin_issuer(settings: Settings) -> BuiltinIssuer:
    """Open the built-in issuer. Raises `UnsafeConfigurationError` if it is disabled."""
    if not settings.identity.builtin_issuer.enabled:
        raise UnsafeConfigurationError(
            "the built-in issuer is disabled, so only configured issuers can make tokens",
            hint="set `identity.builtin_issuer.enabled`",
        )
    return BuiltinIssuer(
        settings.data_folder / "issuer-key.pem",
        issuer_url(settings),
        settings.identity.audience,
        settings.identity.builtin_issuer.token_lifetime,
    )


def issuer_url(settings: Settings) -> str:
    """Give the name of the built-in issuer, which is also where its documents are served."""
    return f"{settings.gateway_url}/issuer"


def _trusted(issuer: Issuer, documents: Documents) -> TrustedIssuer:
    return TrustedIssuer(
        issuer.issuer,
        frozenset(issuer.audiences),
        frozenset(issuer.algorithms),
        IssuerKeys(issuer.issuer, issuer.jwks_uri, documents),
    )
