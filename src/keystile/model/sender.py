"""What a request itself shows of who sent it, beside any token."""

from __future__ import annotations

import msgspec


class Sender(msgspec.Struct, frozen=True):
    """Who sent a request, as far as the connection tells.

    `address` is the client's IP address as the server sees it.
    """

    address: str = ""


UNKNOWN = Sender()
"""One of whom nothing is known."""
