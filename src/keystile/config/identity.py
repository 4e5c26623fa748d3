"""How agents sign in, and who may publish the policy: `identity` and `publishing`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from keystile.config.proxy import Proxy
from keystile.config.section import Positive, Section, Text

SenderConstraint = Literal["", "dpop", "mtls", "either"]

PresetName = Literal[
    "",
    "github-actions",
    "gitlab-ci",
    "kubernetes",
    "google",
    "okta",
    "entra",
    "auth0",
    "keycloak",
    "spiffe",
]


class Trust(Section, frozen=True, kw_only=True):
    """How far an issuer's tokens go.

    `exchanges_per_token` bounds what a stolen one is good for, beyond what honest clients need, all
    of which exchange the same file's token again and again. `sender_constraint` binds gateway
    tokens to a key of the client: by a DPoP proof, a certificate, or either. `direct_use` takes
    the issuer's own tokens where a gateway token is expected.
    """

    exchanges_per_token: Positive = 1000
    sender_constraint: SenderConstraint = ""
    direct_use: bool = False


class Issuer(Trust, frozen=True, kw_only=True):
    """An OIDC issuer whose tokens agents may present.

    `preset` says what kind it is; `issuer` may be left out where the kind has only one.
    `audiences` must not be empty: a token made for someone else is not a token for us.
    `jwks_uri` replaces discovery (OpenID Connect Discovery section 4), `ca_file` the system's
    authorities where its documents are fetched. `attribute_mapping` adds to
    the preset's and `attribute_condition` to its demands; both are CEL over the claims, in the
    words of Google's workload identity federation. `actor_mapping` says what the actor is that
    `act` of a token names, and `actor_issuers` whose agents `may_act` may name, of which `builtin`
    is the gateway's own issuer; without them nobody acts for this issuer's subjects (RFC 8693).
    """

    preset: PresetName = ""
    issuer: str = ""
    audiences: Annotated[list[Text], msgspec.Meta(min_length=1)]
    algorithms: Annotated[list[str], msgspec.Meta(min_length=1)] = msgspec.field(
        default_factory=lambda: ["RS256", "ES256"]
    )
    jwks_uri: str = ""
    ca_file: str = ""
    attribute_mapping: dict[str, str] = msgspec.field(default_factory=dict)
    attribute_condition: str = ""
    actor_mapping: dict[str, str] = msgspec.field(default_factory=dict)
    actor_issuers: list[Text] = msgspec.field(default_factory=list)


class BuiltinIssuer(Trust, frozen=True, kw_only=True):
    """The issuer that Keystile itself runs for agents made with `keystile agent create`.

    Its keys stand in the data folder and it is served under `/issuer` of the gateway.
    """

    enabled: bool = True
    token_lifetime: Positive = 900


class ExchangeLimits(Section, frozen=True, kw_only=True):
    """What each replica takes at the token endpoints in a minute."""

    per_address: Positive = 600
    per_agent: Positive = 300
    failed_per_address: Positive = 120


class Identity(Section, frozen=True, kw_only=True):
    """How agents sign in. `audience` is what their credential files name.

    `operators` are groups of people who may disable agents in the console, as each one's owner may.
    `proxy` is the way to issuers for their documents.
    """

    audience: Text = "//keystile/agents"
    token_lifetime: Annotated[int, msgspec.Meta(gt=0, le=3600)] = 600
    clock_skew: Annotated[int, msgspec.Meta(ge=0, le=120)] = 30
    limits: ExchangeLimits = ExchangeLimits()
    builtin_issuer: BuiltinIssuer = BuiltinIssuer()
    operators: list[Text] = msgspec.field(default_factory=list)
    proxy: Proxy | None = None
    issuers: list[Issuer] = msgspec.field(default_factory=list)


class Publisher(Section, frozen=True, kw_only=True):
    """Who may publish the policy: those of an issuer whose tokens fulfil `condition`.

    `issuer` is the `iss` of one of `identity.issuers`, whose own condition holds too. `condition`
    is CEL in the words of `attribute_condition`.
    """

    issuer: Text
    condition: Text


class Publishing(Section, frozen=True, kw_only=True):
    """Who may publish the policy over the network: nobody, unless `publishers` says so.

    `audience` is what their tokens must be for, and no token of an agent is.
    """

    audience: Text = "//keystile/policy"
    publishers: list[Publisher] = msgspec.field(default_factory=list)
