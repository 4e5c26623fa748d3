"""Which addresses the gateway may talk to: encrypted ones, or this very machine."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from keystile.model.errors import UnsafeConfigurationError


def require_safe_url(url: str, what: str, *, query_allowed: bool = False) -> None:
    """Accept an https address, or plain http to a loopback host.

    `what` says in the error whose address it is. Raises `UnsafeConfigurationError`.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    odd = parts.username or parts.password or parts.fragment or (parts.query and not query_allowed)
    if not host or parts.scheme not in {"http", "https"} or odd:
        raise UnsafeConfigurationError(f"{what} is not a plain http(s) address: `{url}`")
    if parts.scheme == "http" and not is_loopback(host):
        message = f"{what} would be used without encryption: `{url}`"
        raise UnsafeConfigurationError(message, hint="use https")


def is_loopback(host: str) -> bool:
    """Say whether `host` is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
