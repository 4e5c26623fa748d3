"""DPoP proofs (RFC 9449 section 4): that a request was sent by who holds a key."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Mapping
from typing import NamedTuple, NoReturn
from urllib.parse import SplitResult, urlsplit

from joserfc.jwk import Key

from keystile.identity import jws
from keystile.identity.keys import pick, public_key
from keystile.model.errors import TokenFault, TokenRefusedError
from keystile.model.sender import Sender

ALGORITHMS = ("ES256", "ES384", "Ed25519")
"""What proofs may be signed with: none whose keys a stranger could make slow to check."""

_MAX_BYTES = 4096
_MAX_ID = 256
# How old a proof may be; clocks may differ beside.
_SECONDS = 60.0
_PORTS = {"http": 80, "https": 443}


class Proof(NamedTuple):
    """A proof that was verified: whose key it shows, and what tells it from all others."""

    thumbprint: str
    digest: str
    expires_at: float


def verify(sender: Sender, token: str, clock_skew: int) -> Proof:
    """Verify the proof of a request, and that it is for this request and `token`, unless empty.

    That nobody has used it before is not looked at (section 11.1). Raises `TokenRefusedError` with
    one sentence that says what is wrong.
    """
    try:
        header, claims = jws.split(sender.proof, _MAX_BYTES)
    except ValueError as error:
        _refuse(f"the DPoP proof {error}")
    key, algorithm = _key(header)
    if not jws.is_signed(sender.proof, key, algorithm):
        _refuse("the DPoP proof's signature does not fit its key")
    if claims.get("htm") != sender.method or not _is_same(claims.get("htu"), sender.url):
        _refuse("the DPoP proof is for another request", hint=f"its `htu` is `{sender.url}`")
    if token and claims.get("ath") != _hash(token):
        _refuse("the DPoP proof is for another token", hint="its `ath` is the token's SHA-256")
    # INVARIANT: it is remembered until the clock alone refuses it.
    until = _issued(claims.get("iat"), clock_skew) + _SECONDS + clock_skew + 1
    id_ = claims.get("jti")
    if not isinstance(id_, str) or not 0 < len(id_) <= _MAX_ID:
        _refuse(f"the DPoP proof's `jti` is missing, or longer than {_MAX_ID} characters")
    thumbprint = key.thumbprint()
    digest = hashlib.sha256(f"{thumbprint}|{id_}".encode("utf-8", "surrogatepass")).hexdigest()
    return Proof(thumbprint, digest, until)


def _key(header: Mapping[str, object]) -> tuple[Key, str]:
    """Give the key that a proof brings along, and the algorithm (section 4.3, points 4 to 7)."""
    if str(header.get("typ")).lower() != "dpop+jwt" or "crit" in header or "b64" in header:
        _refuse("the DPoP proof is of another type", hint="its `typ` is `dpop+jwt`")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        _refuse("the DPoP proof is signed in another way", hint=f"use {', '.join(ALGORITHMS)}")
    known = public_key(header.get("jwk"))
    key = pick((known,), "", algorithm) if known else None
    if key is None:
        _refuse("the DPoP proof has no public key that fits its `alg`", hint="put it into `jwk`")
    return key, algorithm


def _issued(unverified: object, clock_skew: int) -> float:
    now = time.time()
    if isinstance(unverified, bool) or not isinstance(unverified, int | float):
        _refuse("the DPoP proof's `iat` is missing or not a time")
    if not now - _SECONDS - clock_skew <= unverified <= now + clock_skew:
        _refuse("the DPoP proof is not of now", hint="make one for each request; check the clock")
    return float(unverified)


def _hash(token: str) -> str:
    digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _is_same(unverified: object, address: str) -> bool:
    """Compare addresses without query and fragment (section 4.3, with RFC 3986 section 6.2.3)."""
    if not isinstance(unverified, str):
        return False
    try:
        return _normal(urlsplit(unverified)) == _normal(urlsplit(address))
    except ValueError:
        return False


def _normal(parts: SplitResult) -> tuple[object, ...]:
    port = parts.port or _PORTS.get(parts.scheme)
    return parts.scheme, parts.username, parts.hostname, port, parts.path or "/"


def _refuse(message: str, *, hint: str = "") -> NoReturn:
    raise TokenRefusedError(
        message, hint=hint, fault=TokenFault.PROOF, oauth_error="invalid_dpop_proof"
    )
