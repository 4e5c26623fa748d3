"""Patterns over names of parts, in which `*` stands for any characters within one part."""

from __future__ import annotations

import re
from collections.abc import Sequence

Part = str | re.Pattern[str]
"""A literal name, or the expression of a name with `*` in it."""

ANY = "\0"
"""The name that stands for any."""

_STAR = ".*"


def names(text: str) -> list[str]:
    """Split `a.b.c` into its parts; a domain-scoped project `example.com:p` is one part."""
    domain, colon, rest = text.rpartition(":")
    first, *others = rest.split(".")
    return [f"{domain}{colon}{first}", *others]


def parts(texts: Sequence[str], *, ignore_case: bool) -> tuple[Part, ...]:
    """Compile each part. Raises `ValueError` where one is empty or holds a blank."""
    for text in texts:
        if not text or text != "".join(text.split()):
            raise ValueError(text)
    return tuple(_part(text.casefold() if ignore_case else text) for text in texts)


def fit(pattern: Sequence[Part], candidate: Sequence[str]) -> bool:
    """Tell whether every part fits the name at its place, and none is left over."""
    if len(pattern) != len(candidate):
        return False
    for part, name in zip(pattern, candidate, strict=True):
        if part != name and (isinstance(part, str) or part.fullmatch(name) is None):
            return False
    return True


def stand_in(part: Part) -> str:
    """Give a name that stands for all that a part means: what fits it fits every one of them.

    INVARIANT: in the place of each `*` is a character that no pattern has, so only a `*` fits it.
    """
    if isinstance(part, str):
        return part
    return re.sub(r"\\(.)", r"\1", part.pattern.replace(_STAR, ANY), flags=re.DOTALL)


def _part(text: str) -> Part:
    if "*" not in text:
        return text
    return re.compile(_STAR.join(map(re.escape, re.split(r"\*+", text))), re.DOTALL)
