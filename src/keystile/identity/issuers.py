"""An issuer of the settings, ready to be trusted: its keys, and what its claims mean."""

from __future__ import annotations

import re
from typing import NamedTuple

from keystile.config.settings import Issuer
from keystile.identity.claims import ClaimMapping, Condition
from keystile.identity.keys import Documents, IssuerKeys
from keystile.identity.presets import PRESETS, Preset
from keystile.identity.tokens import SPIFFE, TrustedIssuer
from keystile.model.errors import UnsafeConfigurationError


class Source(NamedTuple):
    """An issuer to verify tokens of, and the mapping of its claims."""

    trusted: TrustedIssuer
    mapping: ClaimMapping


def source(number: int, issuer: Issuer, documents: Documents) -> Source:
    """Make the issuer at `identity.issuers[number]`.

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
        conditions,
        required=dict.fromkeys(preset.required, preset.what),
    )
    return Source(trusted, mapping)


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
    # INVARIANT: where everybody's tokens come from one issuer, its signature says nothing.
    if not preset.asks_whose(issuer.attribute_condition):
        raise UnsafeConfigurationError(
            f"`{at}.attribute_condition` does not say whose tokens are taken, where everybody gets "
            f"{preset.what} of `{name}`",
            hint=f"ask for one of {', '.join(f'`assertion.{claim}`' for claim in preset.tenants)}, "
            f"such as `assertion.{preset.tenants[0]} == '…'`",
        )
