"""What stands around a value."""

from __future__ import annotations

SEPARATOR = b"\0"
"""Stands between texts that are looked at together. No word of one says anything of another."""

BREAK = r"(?:[ -]|\xc2\xa0|\xe2\x80[\x91\x93])"
"""What people put between digits: a space or hyphen, one that does not break, or a dash."""

_FAR = 48


def before(text: bytes, place: int) -> bytes:
    """Give what stands just before a place, of the same text."""
    return text[max(0, place - _FAR) : place].rpartition(SEPARATOR)[2]
