"""Patterns over names of parts, in which `*` stands for any characters within one part."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple


class Wild(NamedTuple):
    """A name with `*` in it, as the texts between them. `["a", ""]` is `a*`."""

    texts: tuple[str, ...]

    def fits(self, name: str) -> bool:
        """Tell whether the name is these texts, in this order, with anything between them."""
        first, *between, last = self.texts
        end = len(name) - len(last)
        if len(first) > end or not (name.startswith(first) and name.endswith(last)):
            return False
        at = len(first)
        for text in between:
            found = name.find(text, at, end)
            if found < 0:
                return False
            at = found + len(text)
        return True


Part = str | Wild
"""A literal name, or one with `*` in it."""

ANY = "\0"
"""The name that stands for any."""


def names(text: str) -> list[str]:
    """Split `a.b.c` into its parts; a domain-scoped project `example.com:p` is one part."""
    domain, colon, rest = text.rpartition(":")
    first, *others = rest.split(".")
    return [f"{domain}{colon}{first}", *others]


def parts(texts: Sequence[str], *, ignore_case: bool) -> tuple[Part, ...]:
    """Compile each part. Raises `ValueError` where one is empty or holds a blank."""
    for text in texts:
        if text.split() != [text]:
            raise ValueError(text)
    return tuple(_part(text.casefold() if ignore_case else text) for text in texts)


def fit(pattern: Sequence[Part], candidate: Sequence[str]) -> bool:
    """Tell whether every part fits the name at its place, and none is left over."""
    if len(pattern) != len(candidate):
        return False
    for part, name in zip(pattern, candidate, strict=True):
        if part != name and (isinstance(part, str) or not part.fits(name)):
            return False
    return True


def stand_in(part: Part) -> str:
    """Give a name that stands for all that a part means: what fits it fits every one of them.

    INVARIANT: in the place of each `*` is a character that no pattern has, so only a `*` fits it.
    """
    return part if isinstance(part, str) else ANY.join(part.texts)


def _part(text: str) -> Part:
    if "*" not in text:
        return text
    return Wild(tuple(re.split(r"\*+", text)))
