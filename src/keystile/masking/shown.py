"""Masks that show a part of a text, as SQL and on a value that was read already.

Patterns mean the same to RE2 and to Python's `re`.
"""

from __future__ import annotations

import ipaddress
import re

from keystile.model.masks import EmailMask, IpMask, KeepFirstMask, KeepLastMask, Mask, UrlHostMask

NOTHING = "***"
"""What a text becomes that is not of the form that its mask is for."""

_ADDRESS = r"[^@\x00-\x20]+@[^@\x00-\x20]+"
# Of several `@` the last ends the user's part for some readers and the first for others: no host.
_URL = (
    r"[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@\\]*@)?"
    r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?(?:[/?#]|\z)"
)
_IP = r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f:]*:[0-9A-Fa-f:]*(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3})?"
_V4_PREFIX, _V6_PREFIX = 24, 48

_ADDRESS_RE = re.compile(_ADDRESS)
_URL_RE = re.compile(_URL.replace(r"\z", r"\Z"))
_IP_RE = re.compile(_IP)


def sql(mask: Mask, value: str) -> str | None:
    """Give the masked form of an SQL expression for a text; None for other masks."""
    match mask:
        case KeepFirstMask(count=count):
            return _kept(count, value, f"LEFT({value}, {count})", first=True)
        case KeepLastMask(count=count):
            return _kept(count, value, f"RIGHT({value}, {count})", first=False)
        case EmailMask():
            shown = f"CONCAT(SUBSTR({value}, 1, 1), '***', SUBSTR({value}, STRPOS({value}, '@')))"
            return f"IF(REGEXP_CONTAINS({value}, r'\\A{_ADDRESS}\\z'), {shown}, '{NOTHING}')"
        case UrlHostMask():
            return f"IFNULL(REGEXP_EXTRACT({value}, r'\\A{_URL}'), '{NOTHING}')"
        case IpMask():
            ip = f"NET.SAFE_IP_FROM_STRING({value})"
            bits = f"IF(BYTE_LENGTH({ip}) = 4, {_V4_PREFIX}, {_V6_PREFIX})"
            network = f"NET.IP_TO_STRING(NET.IP_TRUNC({ip}, {bits}))"
            found = f"IF({ip} IS NULL, '{NOTHING}', {network})"
            return f"IF(REGEXP_CONTAINS({value}, r'\\A(?:{_IP})\\z'), {found}, '{NOTHING}')"
    return None


def text(mask: Mask, value: str) -> str | None:
    """Give the masked form of a text; None for other masks."""
    match mask:
        case KeepFirstMask(count=count):
            kept = count if count < len(value) else 0
            return value[:kept] + "*" * (len(value) - kept)
        case KeepLastMask(count=count):
            kept = count if count < len(value) else 0
            return "*" * (len(value) - kept) + value[len(value) - kept :]
        case EmailMask():
            found = _ADDRESS_RE.fullmatch(value)
            return f"{value[0]}***{value[value.index('@') :]}" if found else NOTHING
        case UrlHostMask():
            host = _URL_RE.match(value)
            return host[1] if host else NOTHING
        case IpMask():
            return _network_of(value)
    return None


def _kept(count: int, value: str, kept: str, *, first: bool) -> str:
    length = f"CHAR_LENGTH({value})"
    if not count:
        return f"REPEAT('*', {length})"
    stars = f"REPEAT('*', {length} - {count})"
    parts = f"{kept}, {stars}" if first else f"{stars}, {kept}"
    return f"IF({length} <= {count}, REPEAT('*', {length}), CONCAT({parts}))"


def _network_of(value: str) -> str:
    try:
        address = ipaddress.ip_address(value if _IP_RE.fullmatch(value) else "")
    except ValueError:
        return NOTHING
    bits = _V4_PREFIX if address.version == 4 else _V6_PREFIX  # noqa: PLR2004 - IP's own numbers
    # Not `ip_network`, which writes an address of IPv4 within IPv6 in its own way.
    whole = address.max_prefixlen
    return str(type(address)(int(address) >> (whole - bits) << (whole - bits)))
