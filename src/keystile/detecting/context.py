"""What stands around a value."""

from __future__ import annotations

import re

SEPARATOR = b"\0"
"""Stands between texts that are looked at together. No word of one says anything of another."""

BREAK = r"(?:[ -]|\xc2\xa0|\xe2\x80[\x91\x93])"
"""What people put between digits: a space or hyphen, one that does not break, or a dash."""

_FAR = 48


def before(text: bytes, place: int) -> bytes:
    """Give what stands just before a place, of the same text."""
    return text[max(0, place - _FAR) : place].rpartition(SEPARATOR)[2]


# With a letter in it: chance makes none of digits alone.
_UUID = re.compile(rb"(?i)\b(?=[0-9-]*[a-f])[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b")
_UUID_SIZE = 36
_UUID_HYPHENS = 4


def in_uuid(text: bytes, start: int, end: int) -> bool:
    """Tell whether the digits of a place are part of a UUID (RFC 9562, section 4)."""
    near, far = max(0, end - _UUID_SIZE), start + _UUID_SIZE
    if text.count(b"-", near, far) < _UUID_HYPHENS:
        return False
    return _UUID.search(text[near:far]) is not None
