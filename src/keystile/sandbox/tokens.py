"""The bearer check: self-signed JWTs of the service accounts whose public keys were given.

What google-auth's service account credentials make with `always_use_jwt_access=True`: RS256,
`iss` = `sub` = the account's e-mail, one hour, and either an audience or a scope.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509 import load_pem_x509_certificate
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from keystile.model.errors import UnauthenticatedError
from keystile.sandbox.errors import BadDataError

_SCOPES = frozenset(
    (
        "https://www.googleapis.com/auth/bigquery",
        "https://www.googleapis.com/auth/cloud-platform",
    )
)
_AUDIENCES = frozenset(
    f"https://{service}.googleapis.com{end}"
    for service in ("bigquery", "bigquerystorage")
    for end in ("/", "")
)
_MAX_LIFETIME = 3600 + 60
_SKEW = 60
_MAX_TOKEN = 16_384
# RFC 7468 section 2.
_BLOCK = re.compile(rb"-----BEGIN [A-Z ]+-----.+?-----END [A-Z ]+-----", re.DOTALL)


class TokenCheck:
    """Knows which keys sign for which account."""

    def __init__(self, public_key_file: Path, accounts: Mapping[str, Path] | None = None) -> None:
        """Read PEM public keys or certificates, which are read again when they change.

        `accounts` have files of their own, by e-mail: nobody else's key signs for them, and theirs
        for nobody else. Raises `BadDataError`.
        """
        self._own = {account: _Keys(file) for account, file in (accounts or {}).items()}
        self._others = _Keys(public_key_file)

    def account(self, authorization: str) -> str:
        """Give the service account's e-mail. Raises `UnauthenticatedError` for any other token."""
        scheme, _, unverified_token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not 0 < len(unverified_token) <= _MAX_TOKEN:
            raise _refused()
        for account, keys in ((None, self._others), *self._own.items()):
            for key in keys.current():
                try:
                    claims = jwt.decode(unverified_token, key, algorithms=["RS256"]).claims
                except (JoseError, ValueError):
                    continue
                if _acceptable(claims, time.time()) and self._signs(account, str(claims["iss"])):
                    return str(claims["iss"])
        raise _refused()

    def _signs(self, account: str | None, who: str) -> bool:
        return who not in self._own if account is None else who == account


class _Keys:
    """The keys of a file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen = _version(file)
        self._keys = _public_keys(file)

    def current(self) -> tuple[RSAKey, ...]:
        # As at Google, a key counts as soon as it is there, and no longer when it is gone.
        if (version := _version(self._file)) != self._seen:
            self._keys, self._seen = _public_keys(self._file), version
        return self._keys


def _acceptable(claims: dict[str, Any], now: float) -> bool:
    issued, expires = claims.get("iat"), claims.get("exp")
    if not isinstance(issued, int) or not isinstance(expires, int):
        return False
    in_time = issued - _SKEW <= now < expires and expires - issued <= _MAX_LIFETIME
    who = claims.get("iss")
    for_us = claims.get("aud") in _AUDIENCES or not _SCOPES.isdisjoint(
        str(claims.get("scope") or "").split()
    )
    return in_time and for_us and isinstance(who, str) and bool(who) and claims.get("sub") == who


def _refused() -> UnauthenticatedError:
    # Google's own words; what exactly was wrong is not told.
    return UnauthenticatedError(
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login "
        "cookie or other valid authentication credential."
    )


def _version(file: Path) -> tuple[int, int, int]:
    try:
        status = file.stat()
    except OSError as error:
        raise BadDataError(f"cannot read the public key `{file}`: {error.strerror}") from error
    return status.st_ino, status.st_mtime_ns, status.st_size


def _public_keys(file: Path) -> tuple[RSAKey, ...]:
    pem = file.read_bytes()
    if b"PRIVATE KEY" in pem:
        raise BadDataError(f"`{file}` holds a private key", hint="give the public half alone")
    blocks = _BLOCK.findall(pem)
    if not blocks:
        raise BadDataError(f"`{file}` is not a PEM public key or certificate")
    return tuple(_key(file, block) for block in blocks)


def _key(file: Path, pem: bytes) -> RSAKey:
    try:
        key = (
            load_pem_x509_certificate(pem).public_key()
            if b"BEGIN CERTIFICATE" in pem
            else serialization.load_pem_public_key(pem)
        )
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadDataError(f"`{file}` is not a PEM public key or certificate") from error
    if not isinstance(key, RSAPublicKey):
        raise BadDataError(f"`{file}` is not an RSA key")
    public = key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return RSAKey.import_key(public)
