"""Makes a failing query small: leaves out what it fails without."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Iterator

_TOKEN = re.compile(
    r"""[rb]{0,2}'(?:\\.|[^'\\])*' | `[^`]*` | [@\w]+ | \|\| | \|> | -> | <= | >= | != | \S""",
    re.VERBOSE,
)
_OPEN, _CLOSE = "([", ")]"
_LITERALS = ("1", "'1'", "TRUE")

Fails = Callable[[str], Awaitable[bool]]
Tokens = tuple[str, ...]


async def shrunk(sql: str, fails: Fails, seconds: float) -> str:
    """Give a small query that still fails, as far as the time suffices."""
    best = tokens(sql)
    deadline = time.monotonic() + seconds
    if not await fails(spelled(best)):
        return sql
    found = True
    while found:
        found = False
        for smaller in _smaller(best):
            if time.monotonic() > deadline:
                return spelled(best)
            if await fails(spelled(smaller)):
                best, found = smaller, True
                break
    return spelled(best)


def tokens(sql: str) -> Tokens:
    """Split a text into words, literals and signs."""
    return tuple(_TOKEN.findall(sql))


def spelled(words: Tokens) -> str:
    """Write words as a text; dots stay tight, since a path may not hold spaces everywhere."""
    text = ""
    for word in words:
        tight = not text or word in {".", ",", ")", "]"} or text[-1] in ".(["
        text += word if tight else f" {word}"
    return text


def _smaller(words: Tokens) -> Iterator[Tokens]:
    """Give shorter texts, those that save most first."""
    seen: set[Tokens] = {words}
    candidates = [*_without_groups(words), *_without_runs(words)]
    for candidate in sorted(candidates, key=len):
        if candidate not in seen and _balanced(candidate) and len(candidate) < len(words):
            seen.add(candidate)
            yield candidate


def _without_groups(words: Tokens) -> Iterator[Tokens]:
    """Replace `f(a, b)` by `a`, by `b` or by a literal."""
    for start, end in _groups(words):
        named = start - 1 if start and re.fullmatch(r"\w+", words[start - 1]) else start
        inner = words[start + 1 : end]
        for head in {named, start}:
            for part in (inner, *_parts(inner), *((literal,) for literal in _LITERALS)):
                yield (*words[:head], *part, *words[end + 1 :])


def _without_runs(words: Tokens) -> Iterator[Tokens]:
    """Leave out runs of every length."""
    length = len(words) // 2
    while length:
        step = max(1, length // 2)
        for start in range(0, len(words) - length + 1, step):
            yield (*words[:start], *words[start + length :])
        length = length // 2 if length > _EVERY_LENGTH else length - 1


_EVERY_LENGTH = 12


def _groups(words: Tokens) -> Iterator[tuple[int, int]]:
    opened = []
    for place, word in enumerate(words):
        if word in _OPEN:
            opened.append(place)
        elif word in _CLOSE and opened:
            yield opened.pop(), place


def _parts(words: Tokens) -> list[Tokens]:
    """Split at the commas that stand in no inner group."""
    parts: list[list[str]] = [[]]
    depth = 0
    for word in words:
        depth += (word in _OPEN) - (word in _CLOSE)
        if word == "," and not depth:
            parts.append([])
        else:
            parts[-1].append(word)
    return [tuple(part) for part in parts]


def _balanced(words: Tokens) -> bool:
    depth = 0
    for word in words:
        depth += (word in _OPEN) - (word in _CLOSE)
        if depth < 0:
            return False
    return depth == 0
