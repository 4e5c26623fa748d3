"""RE2: it looks for a match in linear time, whatever the expression and the text.

Looking for the next match again and again is linear only if a match has a largest length: else each
may look on to the end of the text. So the policy's own expressions have to be bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import re2

_PART = re.compile(r"\\Q|\\.|\[\^?\]?(?:\[:[^\]]*:\]|\\.|[^\]\\])*\]|[*+]|\{[0-9]*,\}|.", re.DOTALL)
_LONGEST = 1000


class Searcher(Protocol):
    """A compiled expression."""

    def search(self, text: bytes, pos: int = 0) -> re.Match[bytes] | None:
        """Find the first match from `pos` on."""
        ...

    def finditer(self, text: bytes) -> Iterator[re.Match[bytes]]:
        """Find every match, none of which overlap."""
        ...


def union(shapes: Iterable[str]) -> Searcher:
    """Compile expressions over bytes into one that finds what any of them does."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # so that each byte counts as a character
    return _made("|".join(f"(?:{one})" for one in shapes), options)


class Gate:
    """Finds every place of a text where one of some shapes begins."""

    def __init__(self, shapes: Iterable[str]) -> None:
        """Compile the shapes, which are expressions over bytes."""
        made: Any = union(shapes)
        # What `search` is made of: around it the library builds a generator and two objects for
        # each place, which takes more than twice as long as looking.
        self._look: Callable[[Any, bytes, int, int], Sequence[tuple[int, int]]] = made._regexp.Match  # noqa: SLF001 - the reason stands above

    def opened(self, text: bytes) -> Iterator[int]:
        """Yield the places, the first one first."""
        look, anywhere, end = self._look, re2._Anchor.UNANCHORED, len(text)  # noqa: SLF001 - see above
        start = look(anywhere, text, 0, end)[0][0]
        while start >= 0:
            yield start
            start = look(anywhere, text, start + 1, end)[0][0]


def compiled(pattern: str) -> Searcher:
    """Compile an expression of the policy's own, over UTF-8.

    Raises `ValueError` with a sentence for the policy's author.
    """
    if len(pattern) > _LONGEST:
        raise ValueError(f"it is longer than {_LONGEST} characters")
    for part in _PART.findall(pattern):
        if part in {"*", "+"} or part.endswith(",}"):
            raise ValueError(f"`{part}` has no upper bound: write one, such as `{{0,64}}`")
        if part.startswith(r"\Q"):
            raise ValueError(r"`\Q` is not served: write `\` before each character")
    made = _made(pattern, re2.Options())
    if made.search(b"") is not None:
        raise ValueError("it matches an empty text")
    return made


def _made(pattern: str, options: re2.Options) -> Searcher:
    options.log_errors = False
    try:
        made: Searcher = re2.compile(pattern.encode(), options)  # type: ignore[no-untyped-call]
    except re2.error as error:
        said = error.args[0]
        raise ValueError(said.decode() if isinstance(said, bytes) else str(said)) from None
    return made
