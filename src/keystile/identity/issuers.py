"""An issuer of the settings, ready to be trusted: its keys, and what its claims mean."""

from __future__ import annotations

from typing import NamedTuple

from keystile.config.settings import Issuer
from keystile.identity.claims import ClaimMapping, Condition
from keystile.identity.keys import Documents, IssuerKeys
from keystile.identity.tokens import TrustedIssuer

_ANY = {
    "google.subject": "assertion.sub",
    "google.groups": "has(assertion.groups) ? assertion.groups : []",
    "keystile.session": "has(assertion.sid) ? assertion.sid : ''",
    "keystile.on_behalf_of": "has(assertion.act) ? assertion.act.sub : ''",
}
"""What the claims of an issuer mean that says nothing of them itself."""


class Source(NamedTuple):
    """An issuer to verify tokens of, and the mapping of its claims."""

    trusted: TrustedIssuer
    mapping: ClaimMapping


def source(number: int, issuer: Issuer, documents: Documents) -> Source:
    """Make the issuer at `identity.issuers[number]`.

    Raises `UnsafeConfigurationError` naming the setting that is not safe or not understood.
    """
    at = f"identity.issuers[{number}]"
    trusted = TrustedIssuer(
        issuer.issuer,
        frozenset(issuer.audiences),
        frozenset(issuer.algorithms),
        IssuerKeys(issuer.issuer, issuer.jwks_uri, documents),
    )
    conditions = []
    if issuer.attribute_condition:
        conditions.append(
            Condition(
                setting=f"{at}.attribute_condition",
                text=issuer.attribute_condition,
                refusal="the token does not fulfil the condition on its issuer's tokens",
                hint="compare it with `attribute_condition` of its issuer",
            )
        )
    mapping = _ANY | issuer.attribute_mapping
    return Source(trusted, ClaimMapping(f"{at}.attribute_mapping", mapping, conditions))
