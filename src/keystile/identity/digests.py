"""What the store keeps in the place of a secret."""

from __future__ import annotations

import hashlib


def digest_of(token: str) -> str:
    """Give what the store keeps of a random token: its SHA-256 in hex.

    The tokens are 256 random bits, so that a slow or salted hash would add nothing, and looking up
    a digest leaks nothing of a token through timing.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
