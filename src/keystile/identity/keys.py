"""The public keys of issuers (JWKS, RFC 7517), found by discovery, by address or in a file."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import aiohttp
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.util import urlsafe_b64decode

from keystile.config.urls import require_safe_url
from keystile.model.errors import (
    InvalidRequestError,
    RefusedError,
    TokenFault,
    TokenRefusedError,
    UnsafeConfigurationError,
)
from keystile.tls.outward import DIRECT, Outward
from keystile.wire.jsonbody import parse_object

# How old keys may be before they are fetched again, which is how soon a withdrawn key stops.
_FRESH_SECONDS = 300.0
# How often an unknown key id may cause a fetch, so that bad tokens cannot flood an issuer.
_RETRY_SECONDS = 10.0
# How long the last known keys serve while the issuer cannot be reached.
_OUTAGE_SECONDS = 3600.0
_FETCH_SECONDS = 5.0
_MAX_BYTES = 256 << 10
_MIN_RSA_BITS = 2048

ALGORITHMS = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
    **dict.fromkeys(("EdDSA", "Ed25519"), "OKP"),
}
"""Signature algorithms that may be allowed, with their key type. None of them is symmetric."""

_IMPORTERS: dict[str, Any] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
# The latter is that of the keys for JWT-SVIDs in a SPIFFE bundle, which has others, too.
_USES = ("sig", "jwt-svid")
_PRIVATE_MEMBERS = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")


class KeySource(Protocol):
    """Where the verifier finds an issuer's public keys."""

    async def find(self, key_id: str, algorithm: str) -> Key:
        """Give the one key that fits. Raises `TokenRefusedError`."""
        ...


def parse_jwks(document: bytes) -> tuple[Key, ...]:
    """Read a JWKS; keys that are not understood, weak, symmetric or private are left out.

    Raises `TokenRefusedError` when it is no JWKS at all.
    """
    entries = _object(document).get("keys")
    if not isinstance(entries, list):
        raise TokenRefusedError(
            "the issuer's key set is not understood", fault=TokenFault.KEYS_UNAVAILABLE
        )
    return tuple(key for entry in entries if (key := public_key(entry)) is not None)


def pick(keys: Sequence[Key], key_id: str, algorithm: str) -> Key | None:
    """Give the key that `key_id` names and `algorithm` fits; without an id, the only fitting one.

    INVARIANT: several fitting keys give none, so a token cannot choose among them.
    """
    fitting = [
        key
        for key in keys
        if key.key_type == ALGORITHMS.get(algorithm)
        and key.get("alg") in (None, algorithm)
        and (not key_id or key.get("kid") == key_id)
    ]
    return fitting[0] if len(fitting) == 1 else None


class IssuerKeys:
    """One issuer's keys, fetched when needed and kept for minutes.

    INVARIANT: keys come only from the configured issuer, never from a token's `jwk`, `jku` or
    `x5u` header.
    """

    def __init__(self, issuer: str, jwks_uri: str, documents: Documents) -> None:
        """Take the issuer's name and, to replace discovery, the address of its JWKS.

        Raises `UnsafeConfigurationError` for an address that is not encrypted.
        """
        if not jwks_uri:
            require_safe_url(issuer, "the issuer")
        elif not jwks_uri.startswith("file:"):
            require_safe_url(jwks_uri, "`jwks_uri`", query_allowed=True)
        self._issuer = issuer
        self._jwks_uri = jwks_uri
        self._documents = documents
        self._keys: tuple[Key, ...] = ()
        self._fetched = self._tried = self._sought = float("-inf")
        self._lock = asyncio.Lock()

    async def find(self, key_id: str, algorithm: str) -> Key:
        """Give the one key that fits; an unknown id makes the keys be fetched anew.

        Raises `TokenRefusedError` when there is none, or when the issuer has been out of reach for
        too long.
        """
        asked = time.monotonic()
        await self._refresh()
        key = pick(self._keys, key_id, algorithm)
        if key is None:
            await self._seek(asked)
            key = pick(self._keys, key_id, algorithm)
        if time.monotonic() - self._fetched > _OUTAGE_SECONDS:
            raise TokenRefusedError(
                f"the keys of issuer `{self._issuer}` cannot be fetched",
                hint="try again later, or ask the operator of the gateway",
                fault=TokenFault.KEYS_UNAVAILABLE,
            )
        if key is None:
            raise TokenRefusedError(
                f"issuer `{self._issuer}` has no key that fits the token", fault=TokenFault.KEY
            )
        return key

    async def _refresh(self) -> None:
        # INVARIANT: who has fresh keys waits for no fetch that another's unknown key id has caused.
        if time.monotonic() - self._fetched < _FRESH_SECONDS:
            return
        async with self._lock:
            now = time.monotonic()
            if now - self._fetched >= _FRESH_SECONDS and now - self._tried >= _RETRY_SECONDS:
                await self._fetch()

    async def _seek(self, asked: float) -> None:
        """Fetch for an unknown key id, however fresh the keys are: it may be new since then."""
        async with self._lock:
            now = time.monotonic()
            if self._tried < asked and now - self._sought >= _RETRY_SECONDS:
                self._sought = now
                await self._fetch()

    async def _fetch(self) -> None:
        self._tried = time.monotonic()
        try:
            self._keys = parse_jwks(await self._documents.get(await self._address()))
            self._fetched = time.monotonic()
        except (TokenRefusedError, UnsafeConfigurationError) as error:
            structlog.get_logger(__name__).warning(
                "issuer_keys_unavailable", issuer=self._issuer, error=error.message
            )

    async def _address(self) -> str:
        if self._jwks_uri:
            return self._jwks_uri
        well_known = self._issuer.rstrip("/") + "/.well-known/openid-configuration"
        document = _object(await self._documents.get(well_known))
        uri = document.get("jwks_uri")
        # OpenID Connect Discovery section 4.3: the two must be identical, to the character.
        if document.get("issuer") != self._issuer or not isinstance(uri, str):
            raise TokenRefusedError(
                "the issuer's discovery document names another issuer or no keys",
                fault=TokenFault.KEYS_UNAVAILABLE,
            )
        require_safe_url(uri, "the issuer's `jwks_uri`", query_allowed=True)
        return uri


class Documents:
    """Fetches issuers' documents: no redirects, a size limit, a time limit, no credentials."""

    def __init__(self, outward: Outward = DIRECT) -> None:
        """Connect lazily, and by way of `outward`; what is on this machine is asked directly."""
        self.outward = outward
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections."""
        if self._session:
            await self._session.close()
        await self.outward.close()

    async def get(self, address: str) -> bytes:
        """Give a document of at most 256 KiB. Raises `TokenRefusedError`."""
        try:
            if address.startswith("file:"):
                path = Path(unquote(urlsplit(address).path))
                content = await asyncio.to_thread(path.read_bytes)
            else:
                content = await self._download(address)
        except (OSError, aiohttp.ClientError, TimeoutError) as error:
            message = f"`{address}` cannot be fetched ({type(error).__name__})"
            # INVARIANT: `from None`, since aiohttp's errors hold what was sent to a proxy.
            raise TokenRefusedError(message, fault=TokenFault.KEYS_UNAVAILABLE) from None
        except RefusedError as error:
            raise TokenRefusedError(error.message, fault=TokenFault.KEYS_UNAVAILABLE) from None
        if len(content) > _MAX_BYTES:
            message = f"`{address}` is larger than {_MAX_BYTES} bytes"
            raise TokenRefusedError(message, fault=TokenFault.KEYS_UNAVAILABLE)
        return content

    async def _download(self, address: str) -> bytes:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=_FETCH_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        options = await self.outward.options() if address.startswith("https:") else {}
        async with self._session.get(address, allow_redirects=False, **options) as response:
            if response.status != 200:  # noqa: PLR2004  HTTP's own word for success
                message = f"`{address}` answered with status {response.status}"
                raise TokenRefusedError(message, fault=TokenFault.KEYS_UNAVAILABLE)
            content = bytearray()
            async for chunk in response.content.iter_chunked(_MAX_BYTES):
                content += chunk
                if len(content) > _MAX_BYTES:
                    break
            return bytes(content)


def _object(document: bytes) -> dict[str, object]:
    try:
        return parse_object(document)
    except InvalidRequestError as error:
        message = "the issuer's document is not understood"
        raise TokenRefusedError(message, fault=TokenFault.KEYS_UNAVAILABLE) from error


def public_key(entry: Any) -> Key | None:
    """Give a key to verify with (RFC 7517), None for what is private, weak or not understood."""
    # RFC 7517 section 5: what is not understood is left out, not an error.
    if not isinstance(entry, dict) or entry.get("use", "sig") not in _USES:
        return None
    operations = entry.get("key_ops", ["verify"])
    importer = _IMPORTERS.get(str(entry.get("kty")))
    if importer is None or not isinstance(operations, list) or "verify" not in operations:
        return None
    if any(member in entry for member in _PRIVATE_MEMBERS):
        # A published private key is everybody's.
        return None
    try:
        modulus = urlsafe_b64decode(str(entry["n"]).encode()) if importer is RSAKey else b""
        if modulus and int.from_bytes(modulus).bit_length() < _MIN_RSA_BITS:
            return None
        key: Key = importer.import_key(entry | {"use": "sig"})
        key.get_op_key("verify")
    except (JoseError, ValueError, TypeError, KeyError, ArithmeticError):
        return None
    return key
