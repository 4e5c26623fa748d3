"""An issuer of the settings, ready to be trusted: its keys, and what its claims mean."""

from __future__ import annotations

import re
from typing import NamedTuple

from keystile.config.identity import Issuer, Trust
from keystile.identity.claims import ClaimMapping, Condition
from keystile.identity.keys import Documents, IssuerKeys
from keystile.identity.presets import PRESETS, Preset
from keystile.identity.tokens import SPIFFE, TrustedIssuer
from keystile.model.errors import UnsafeConfigurationError

_PERSON = "keystile.on_behalf_of"


class Source(NamedTuple):
    """An issuer to verify tokens of, and the mapping of its claims.

    `acting` maps what a token says of the actor that `act` names, None where it may name none;
    `actor_issuers` are those whose agents may act for its subjects where `may_act` says so. `trust`
    says how far its tokens go.
    """

    trusted: TrustedIssuer
    mapping: ClaimMapping
    trust: Trust
    acting: ClaimMapping | None = None
    actor_issuers: frozenset[str] = frozenset()


def source(number: int, issuer: Issuer, documents: Documents, *more: Condition) -> Source:
    """Make the issuer at `identity.issuers[number]`, with `more` conditions on its tokens.

    Raises `UnsafeConfigurationError` naming the setting that is not safe or not understood.
    """
    at, preset = f"identity.issuers[{number}]", PRESETS[issuer.preset]
    name = issuer.issuer or preset.issuer
    _check(at, preset, name, issuer)
    trusted = TrustedIssuer(
        name,
        frozenset(issuer.audiences),
        frozenset(issuer.algorithms),
        IssuerKeys(name, issuer.jwks_uri, documents),
    )
    conditions = [
        Condition(
            setting=f"preset {issuer.preset}",
            text=preset.condition,
            refusal=f"the token is not {preset.what}",
        )
    ]
    if issuer.attribute_condition:
        conditions.append(
            Condition(
                setting=f"{at}.attribute_condition",
                text=issuer.attribute_condition,
                refusal="the token does not fulfil the condition on its issuer's tokens",
                hint="compare it with `attribute_condition` of its issuer",
            )
        )
    mapping = ClaimMapping(
        f"{at}.attribute_mapping",
        preset.mapping | issuer.attribute_mapping,
        [*conditions, *more],
        required=dict.fromkeys(preset.required, preset.what),
    )
    acting = None
    if issuer.actor_mapping:
        acting = ClaimMapping(f"{at}.actor_mapping", issuer.actor_mapping)
    return Source(trusted, mapping, issuer, acting, frozenset(issuer.actor_issuers))


def _check(at: str, preset: Preset, name: str, issuer: Issuer) -> None:
    if not name:
        raise UnsafeConfigurationError(
            f"`{at}.issuer` is missing", hint=f"write the `iss` of its tokens: `{preset.example}`"
        )
    if not re.fullmatch(preset.shape, name):
        raise UnsafeConfigurationError(
            f"`{at}.issuer` `{name}` is none of preset `{issuer.preset}`",
            hint=f"it looks like `{preset.example}`",
        )
    if name.startswith(SPIFFE) and not issuer.jwks_uri:
        raise UnsafeConfigurationError(
            f"`{at}.jwks_uri` is missing, where a trust domain's keys are",
            hint="give the address of its bundle, or a file",
        )
    if _PERSON in issuer.actor_mapping:
        raise UnsafeConfigurationError(
            f"`{at}.actor_mapping` says for whom the actor acts, which is the token's own subject",
            hint=f"leave `{_PERSON}` to `attribute_mapping`",
        )
    # INVARIANT: where everybody's tokens come from one issuer, its signature says nothing.
    if not preset.asks_whose(issuer.attribute_condition):
        raise UnsafeConfigurationError(
            f"`{at}.attribute_condition` does not say whose tokens are taken, where everybody gets "
            f"{preset.what} of `{name}`",
            hint=f"ask for one of {', '.join(f'`assertion.{claim}`' for claim in preset.tenants)}, "
            f"such as `assertion.{preset.tenants[0]} == '…'`",
        )
