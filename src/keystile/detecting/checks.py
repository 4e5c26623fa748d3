"""Addresses and secrets: mail, IP, tokens and keys.

Sources of fact: RFC 5321 (mail), RFC 4291 (IP), RFC 7519 (tokens), and what each provider documents
of its keys.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import re

_LETTER = r"[\xc3-\xd3][\x80-\xbf]"  # one of Latin, Greek or Cyrillic that is not ASCII
_LOCAL = rf"(?:[0-9A-Za-z._%+&$~^!-]|{_LETTER})"
_HEX4 = "[0-9A-Fa-f]{1,4}"
IP = (
    rf"\b[0-9]{{1,3}}(?:\.[0-9]{{1,3}}){{3}}|\b{_HEX4}(?::{_HEX4}){{7}}"
    r"|[0-9A-Fa-f]::|::[0-9A-Fa-f]"
)
EMAIL = rf"{_LOCAL}@(?:[0-9A-Za-z]|{_LETTER})"

_LOCAL_PART = re.compile(rf"(?:[0-9A-Za-z_]|{_LETTER}){_LOCAL}{{0,63}}\Z".encode())
_LONGEST_LOCAL = 64
_LABEL = rf"(?:[0-9A-Za-z]|{_LETTER})(?:[0-9A-Za-z-]|{_LETTER}){{0,62}}"
_DOMAIN = re.compile(
    rf"(?:{_LABEL}\.){{1,8}}(?:[A-Za-z]|{_LETTER}){{2,24}}(?![0-9A-Za-z])".encode()
)
_ADDRESS_BYTES = b"0123456789ABCDEFabcdef:."
_LONGEST_ADDRESS = 45
_WORD = re.compile(rb"[0-9A-Za-z_]")
_DIGIT = re.compile(rb"[0-9]")
_SHORT_COLONS = 3
_JWT = re.compile(rb"([0-9A-Za-z_-]{8,4096})\.[0-9A-Za-z_-]{4,}\.[0-9A-Za-z_-]*")
_KEY = re.compile(rb"[0-9A-Za-z]+(?:[_.+/=-]{1,2}[0-9A-Za-z]+){0,64}")


def email(text: bytes, start: int) -> tuple[int, int] | None:
    """Find a mail address: what stands after the `@` is a domain's full name."""
    at = text.index(b"@", start)
    local = _LOCAL_PART.search(text, max(0, at - _LONGEST_LOCAL), at)
    domain = _DOMAIN.match(text, at + 1)
    return (local.start(), domain.end()) if local and domain else None


def ip(text: bytes, start: int) -> tuple[int, int] | None:
    """Find an address of version 4 or 6; what is part of a longer name or number is none."""
    begin = end = start
    while begin > 0 and text[begin - 1] in _ADDRESS_BYTES and start - begin < _LONGEST_ADDRESS:
        begin -= 1
    while end < len(text) and text[end] in _ADDRESS_BYTES and end - start < _LONGEST_ADDRESS:
        end += 1
    value = text[begin:end]
    # A sentence or a port may go on behind it: `10.0.0.1.`, `10.0.0.1:80`.
    without_port = value.partition(b":")[0] if value.count(b":") == 1 else value
    for stripped in dict.fromkeys((without_port, value.rstrip(b".:"), value.strip(b".:"), value)):
        if found := _address(text, begin + value.find(stripped), stripped):
            return found
    return None


def _address(text: bytes, begin: int, value: bytes) -> tuple[int, int] | None:
    end = begin + len(value)
    if _WORD.match(text, end) or (begin and _WORD.match(text, begin - 1)):
        return None
    try:
        ipaddress.ip_address(value.decode())
    except ValueError:
        return None
    colons = value.count(b":")
    # `a::b` is a name in several languages.
    return None if 0 < colons < _SHORT_COLONS and not _DIGIT.search(value) else (begin, end)


def jwt(text: bytes, start: int) -> tuple[int, int] | None:
    """Find a JSON Web Token: its header is a JSON object that names an algorithm or a type."""
    match = _JWT.match(text, start)
    if match is None:
        return None
    header = match[1]
    try:
        found = json.loads(base64.urlsafe_b64decode(header + b"=" * (-len(header) % 4)))
    except (ValueError, RecursionError):
        return None
    named = isinstance(found, dict) and not {"alg", "typ", "enc"}.isdisjoint(found)
    return match.span() if named else None


def api_key(text: bytes, start: int) -> tuple[int, int] | None:
    """Find a key: to the end of its word.

    One that begins like an English word must have a digit, as nearly all that chance makes have.
    """
    match = _KEY.match(text, start)
    if match is None or (match[0].startswith(b"sk-") and not _DIGIT.search(match[0])):
        return None
    return match.span()
