"""Finds values in many texts at once: a gate over all of them, then a look at where it opened.

The gate is one regular expression, the union of the shapes, which RE2 runs over all texts in one
pass. INVARIANT: linear in the size of the texts, whatever stands in them and whatever the policy
looks for: RE2 keeps to that for any expression, and no shape takes more than a bounded part.
"""

from __future__ import annotations

import re
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, islice
from typing import NamedTuple

from keystile.detecting.context import SEPARATOR, in_uuid
from keystile.detecting.entities import ENTITIES
from keystile.detecting.patterns import Gate, compiled

_ESCAPE = re.compile(rb'\\[nrtbf"\\/]')
_AT_A_TIME = 256


class Found(NamedTuple):
    """Where a value stands in a text, in bytes of its UTF-8, and which entities it is of."""

    start: int
    end: int
    entities: tuple[str, ...]


class Finder:
    """Finds values of some entities."""

    def __init__(self, names: Iterable[str], patterns: Iterable[tuple[str, str]] = ()) -> None:
        """Look for entities by name, and for patterns of the policy, as `(entity, pattern)`."""
        wanted = set(names)
        shapes = [entity for entity in ENTITIES.values() if entity.name in wanted]
        self._shapes = [(one.name, one.check) for one in shapes]
        self._gate = Gate(one.shape for one in shapes)
        # Which of the shapes match at one place, as a group each.
        here = "".join(f"(?:(?=(?:{one.shape})())|)" for one in shapes)
        self._here = re.compile(here.encode()).match
        self._patterns = [(name, compiled(text)) for name, text in patterns]

    def find(
        self, texts: Sequence[str], deadline: float = float("inf")
    ) -> dict[int, tuple[Found, ...]]:
        """Give the values in each text that has any, by its place.

        `deadline` is on the clock of `time.monotonic`. Raises `TimeoutError` past it.
        """
        found: dict[int, list[Found]] = {}
        for place, one in self._found(texts):
            if one:
                found.setdefault(place, []).append(one)
            elif time.monotonic() > deadline:
                raise TimeoutError
        return {place: tuple(_united(several)) for place, several in found.items()}

    def _found(self, texts: Sequence[str]) -> Iterator[tuple[int, Found | None]]:
        """Yield what is found, and None each time that it is time to look at the clock."""
        if self._shapes:
            yield from self._by_shape(texts)
        if self._patterns:
            yield from self._by_pattern(texts)

    def _by_shape(self, texts: Sequence[str]) -> Iterator[tuple[int, Found | None]]:
        whole, ends = laid_out(texts)
        after = dict.fromkeys((name for name, _ in self._shapes), 0)
        for starts in self._opened(whole):
            # One check after the other, which is faster than one place after the other.
            for (name, check), places in zip(
                self._shapes, self._matching(whole, starts), strict=True
            ):
                for start in places:
                    span = check(whole, start)
                    # What ends with or within a value of its own kind is part of it.
                    if span and span[1] > after[name] and not _is_of_uuid(name, whole, span):
                        after[name] = span[1]
                        place = bisect_right(ends, start)
                        begin = ends[place - 1] if place else 0
                        yield place, Found(span[0] - begin, span[1] - begin, (name,))
            yield 0, None

    def _opened(self, text: bytes) -> Iterator[list[int]]:
        """Yield all places where a shape begins, some at a time."""
        opened = self._gate.opened(text)
        while starts := [*islice(opened, _AT_A_TIME)]:
            yield starts

    def _matching(self, text: bytes, starts: Iterable[int]) -> Iterator[list[int]]:
        """Yield for each shape at which of these places it matches."""
        alike: dict[tuple[bytes | None, ...], list[int]] = {}
        for start in starts:
            if match := self._here(text, start):
                alike.setdefault(match.groups(), []).append(start)
        for number in range(len(self._shapes)):
            yield sorted(
                chain.from_iterable(
                    places for groups, places in alike.items() if groups[number] is not None
                )
            )

    def _by_pattern(self, texts: Sequence[str]) -> Iterator[tuple[int, Found | None]]:
        for place, text in enumerate(texts):
            encoded = text.encode()
            for name, pattern in self._patterns:
                for match in pattern.finditer(encoded):
                    yield place, Found(match.start(), match.end(), (name,))
                yield place, None


def laid_out(texts: Sequence[str]) -> tuple[bytes, list[int]]:
    """Put texts behind each other; gives where the next one begins, for each.

    A text that is JSON has escapes in it, such as a `n` before a number that begins a line: they
    become as many spaces.
    """
    joined = "\0".join(texts)
    if joined.isascii():
        sizes, whole = map(len, texts), joined.encode()
    else:
        parts = [text.encode() for text in texts]
        sizes, whole = map(len, parts), SEPARATOR.join(parts)
    if b"\\" in whole:
        whole = _ESCAPE.sub(b"  ", whole)
    return whole, [*accumulate(size + len(SEPARATOR) for size in sizes)]


def _united(found: list[Found]) -> Iterator[Found]:
    """Make one of those that overlap: what is left of one beside another would show.

    What is all of a stretch of text says what it is; where nothing is, all that are in it do.
    """
    if len(found) == 1:
        yield from found
        return
    region: list[Found] = []
    end = 0
    for one in sorted(found):
        if region and one.start >= end:
            yield _as_one(region, end)
            region = []
        region.append(one)
        end = max(end, one.end) if len(region) > 1 else one.end
    yield _as_one(region, end)


def _is_of_uuid(name: str, text: bytes, span: tuple[int, int]) -> bool:
    """Tell whether it is a number of which UUIDs have some in them by chance, one in 700."""
    return name in _BY_CHANCE and in_uuid(text, *span)


def _as_one(region: list[Found], end: int) -> Found:
    start = region[0].start
    whole = [one.entities for one in region if (one.start, one.end) == (start, end)]
    names = sorted({name for one in whole or map(_entities, region) for name in one}, key=_rank)
    return Found(start, end, tuple(names[:1] if whole else names))


def _entities(one: Found) -> tuple[str, ...]:
    return one.entities


def _rank(name: str) -> int:
    """Say who claims a text first: an entity of the policy's own, then the surest of the others."""
    return _RANKS.get(name, -1)


_BY_CHANCE = frozenset({"card", "iban", "phone"})
_RANKS = {name: place for place, name in enumerate(ENTITIES)}
