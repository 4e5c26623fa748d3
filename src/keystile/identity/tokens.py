"""Verification of the OIDC tokens that agents present (RFC 7519, 8725, OpenID Connect Core).

A token may be presented more than once while it is valid: Google's clients exchange the same file
again and again, so `jti` is not made single-use. What bounds replay is `aud`, `exp`, and how often
`replay.py` lets one be exchanged.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NewType, NoReturn

import msgspec

from keystile.identity import jws
from keystile.identity.keys import ALGORITHMS, KeySource
from keystile.model.errors import (
    TokenFault,
    TokenRefusedError,
    UnsafeConfigurationError,
)

SignedClaims = NewType("SignedClaims", Mapping[str, Any])
"""Claims whose signature, issuer, audience and times were verified. What they *mean* was not: the
subject may be unknown, an agent disabled, a group made up by a careless issuer."""

SPIFFE = "spiffe://"
"""How the name of an issuer begins that is a SPIFFE trust domain."""

# RFC 8725 section 3.11: other kinds of JWT (logout tokens, DPoP proofs …) are no identity.
# `JOSE` is what JWT-SVIDs may have.
_TYPES = frozenset(("", "jwt", "at+jwt", "application/jwt", "application/at+jwt", "jose"))
_SHOWN = 100


class TrustedIssuer(msgspec.Struct, frozen=True):
    """An issuer, the audiences that its tokens may name, its algorithms and its keys."""

    issuer: str
    audiences: frozenset[str]
    algorithms: frozenset[str]
    keys: KeySource


class TokenVerifier:
    """Verifies tokens of the configured issuers."""

    def __init__(self, issuers: Sequence[TrustedIssuer], clock_skew: int) -> None:
        """Take the issuers and how many seconds clocks may differ.

        Raises `UnsafeConfigurationError` for an issuer that is named twice, has no audience, or
        allows an algorithm that is not an asymmetric signature.
        """
        self._issuers = {issuer.issuer: issuer for issuer in issuers}
        self._skew = clock_skew
        if len(self._issuers) != len(issuers):
            raise UnsafeConfigurationError(
                "an issuer is configured twice",
                hint="keep one entry for each; `…/issuer` of the gateway is its built-in one",
            )
        for issuer in issuers:
            if not issuer.audiences or "" in issuer.audiences:
                raise UnsafeConfigurationError(f"issuer `{issuer.issuer}` has no audience")
            if unknown := sorted(issuer.algorithms - ALGORITHMS.keys()):
                message = f"issuer `{issuer.issuer}` allows the algorithm `{unknown[0]}`"
                raise UnsafeConfigurationError(
                    message, hint=f"use some of {', '.join(sorted(ALGORITHMS))}"
                )

    async def verify(self, unverified_token: str) -> SignedClaims:
        """Verify signature, issuer, audience and times.

        Raises `TokenRefusedError` with one sentence that says what is wrong.
        """
        try:
            header, unverified_claims = jws.split(unverified_token)
        except ValueError as error:
            _refuse(TokenFault.MALFORMED, f"the token {error}")
        issuer = self._issuer(unverified_claims)
        algorithm, key_id = _header(header, issuer)
        key = await issuer.keys.find(key_id, algorithm)
        if not jws.is_signed(unverified_token, key, algorithm):
            _refuse(TokenFault.SIGNATURE, "the token's signature does not fit its issuer's key")
        self._check_audience(unverified_claims, issuer)
        self._check_times(unverified_claims, issuer)
        if not isinstance(subject := unverified_claims.get("sub"), str) or not subject:
            _refuse(TokenFault.CLAIMS, "the token names no subject")
        return SignedClaims(unverified_claims | {"iss": issuer.issuer})

    def _issuer(self, unverified_claims: Mapping[str, object]) -> TrustedIssuer:
        name = unverified_claims.get("iss")
        known = self._issuers.get(name) if isinstance(name, str) else None
        # A JWT-SVID need not name an issuer; the keys are those of its subject's trust domain.
        known = known or self._issuers.get(_trust_domain(unverified_claims.get("sub")))
        if known is None:
            if not isinstance(name, str) or not name:
                _refuse(TokenFault.ISSUER, "the token names no issuer")
            _refuse(
                TokenFault.ISSUER,
                f"the token's issuer {_shown(name)} is not one that this gateway trusts",
                hint="an operator adds it under `identity.issuers`",
            )
        return known

    @staticmethod
    def _check_audience(claims: Mapping[str, Any], issuer: TrustedIssuer) -> None:
        audiences = claims.get("aud")
        named = [audiences] if isinstance(audiences, str) else audiences
        texts = isinstance(named, list) and all(isinstance(name, str) and name for name in named)
        if not named or not texts:
            _refuse(
                TokenFault.AUDIENCE,
                "the token has no audience",
                hint=f"ask for {_expected(issuer)}",
            )
        # INVARIANT: every audience must be ours (RFC 8725 section 3.9; OpenID Connect Core section
        # 3.1.3.7 refuses audiences that are not trusted). A token that others may receive, too,
        # could be presented here by any of them.
        strangers = [name for name in named if name not in issuer.audiences]
        if strangers:
            _refuse(
                TokenFault.AUDIENCE,
                f"the token is for the audience {_shown(strangers[0])}, not for this gateway",
                hint=f"ask for {_expected(issuer)} alone",
            )

    def _check_times(self, claims: Mapping[str, Any], issuer: TrustedIssuer) -> None:
        now = time.time()
        # OpenID Connect Core section 2 and RFC 9068 section 2.2 demand `iat`, JWT-SVID does not.
        demanded = {"exp"} if issuer.issuer.startswith(SPIFFE) else {"exp", "iat"}
        for name in ("exp", "nbf", "iat"):
            value = claims.get(name)
            left_out = value is None and name not in demanded
            if not left_out and (isinstance(value, bool) or not isinstance(value, int | float)):
                _refuse(TokenFault.TIME, f"the token's `{name}` is missing or not a time")
        if claims["exp"] <= now - self._skew:
            _refuse(TokenFault.TIME, "the token has expired", hint="get a new one from its issuer")
        for name in ("nbf", "iat"):
            if claims.get(name, 0) > now + self._skew:
                _refuse(
                    TokenFault.TIME,
                    f"the token is not valid yet (`{name}`)",
                    hint="check the clocks of both sides",
                )


def _trust_domain(unverified_subject: object) -> str:
    if not isinstance(unverified_subject, str) or not unverified_subject.startswith(SPIFFE):
        return ""
    return SPIFFE + unverified_subject.removeprefix(SPIFFE).partition("/")[0]


def _header(header: Mapping[str, object], issuer: TrustedIssuer) -> tuple[str, str]:
    algorithm, key_id, type_ = header.get("alg"), header.get("kid", ""), header.get("typ", "")
    if not isinstance(algorithm, str) or algorithm not in issuer.algorithms:
        _refuse(
            TokenFault.ALGORITHM,
            f"the token is signed with {_shown(str(algorithm))}, which this gateway does not "
            f"accept from its issuer",
            hint=f"use {' or '.join(sorted(issuer.algorithms))}",
        )
    if "crit" in header or "b64" in header:
        _refuse(TokenFault.HEADER, "the token demands a JWT extension that is not supported")
    if not isinstance(key_id, str):
        _refuse(TokenFault.HEADER, "the token's key id is not a text")
    if not isinstance(type_, str) or type_.lower() not in _TYPES:
        _refuse(TokenFault.HEADER, "the token is of another type than an identity or access token")
    return algorithm, key_id


def _expected(issuer: TrustedIssuer) -> str:
    return " or ".join(f"`{name}`" for name in sorted(issuer.audiences))


def _shown(text: str) -> str:
    # The token's own words, cut and without control characters, so that no log line is forged.
    return f"`{''.join(c if c.isprintable() else '?' for c in text[:_SHOWN])}`"


def _refuse(fault: TokenFault, message: str, *, hint: str = "") -> NoReturn:
    raise TokenRefusedError(message, hint=hint, fault=fault)
