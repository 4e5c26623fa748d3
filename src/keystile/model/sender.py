"""What a request itself shows of who sent it, beside any token."""

from __future__ import annotations

import msgspec


class Sender(msgspec.Struct, frozen=True):
    """Who sent a request, as far as it tells.

    `address` is the client's IP address as the server sees it; `method` and `url` are what a DPoP
    proof must name (RFC 9449 section 4.2), `url` without its query. `client` is the unverified
    `User-Agent`. `proof` is the unverified
    `DPoP` header, `is_dpop` tells that the token came under that scheme. `certificate` is the
    client's in DER, which TLS has verified.
    """

    address: str = ""
    method: str = ""
    url: str = ""
    proof: str = ""
    is_dpop: bool = False
    certificate: bytes = b""
    client: str = ""


UNKNOWN = Sender()
"""One of whom nothing is known."""
