"""Signed texts in their compact form (RFC 7515), taken apart and checked, whatever they mean."""

from __future__ import annotations

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import Key
from joserfc.util import urlsafe_b64decode

from keystile.model.errors import InvalidRequestError
from keystile.wire.jsonbody import parse_object

MAX_BYTES = 16 << 10


class _Registry(jws.JWSRegistry):
    # Certificate chains in a header are long; the whole text is bounded already.
    max_header_length = MAX_BYTES


def split(unverified: str, most_bytes: int = MAX_BYTES) -> tuple[dict[str, object], ...]:
    """Give header and payload, both unverified.

    Raises `ValueError` with the end of a sentence that says what the text is or is not.
    """
    if len(unverified) > most_bytes:
        raise ValueError(f"is larger than {most_bytes} bytes")
    parts = unverified.split(".")
    if len(parts) != 3 or not unverified.isascii() or not all(parts):  # noqa: PLR2004  RFC 7515
        raise ValueError("is not a signed JWT")
    try:
        # Strict JSON: a repeated key could mean one thing here and another to its issuer.
        return tuple(parse_object(urlsafe_b64decode(part.encode())) for part in parts[:2])
    except (InvalidRequestError, ValueError):
        raise ValueError("is not a well-formed JWT") from None


def is_signed(unverified: str, key: Key, algorithm: str) -> bool:
    """Tell whether a text that can be split is signed with a key, by this algorithm alone."""
    registry = _Registry(algorithms=[algorithm], strict_check_header=False)
    try:
        signed = jws.extract_compact(unverified.encode("ascii"), registry=registry)
        return jws.validate_compact(signed, key, registry=registry)
    except (JoseError, ValueError, TypeError):
        return False
