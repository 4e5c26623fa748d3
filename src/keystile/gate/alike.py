"""Queries that differ only in comments and in whole numbers that they compare with: one is for all.

Agents ask for one id after the other, tools write into a comment who asks and in which run, and all
that a decision rests on is the same for each of those. INVARIANT: two texts are alike only where
the engine finds the same in both, at other places at most. So only what is understood here is left
open: decimal digits of an INT64 right after a comparison, or all of a list after IN; and what is
equal in one text is equal in the other, since `GROUP BY a > 5` must repeat its expression. A
comment is a space to the engine. A text with anything in it that may give numbers another meaning,
or that is cut into tokens otherwise, is alike itself alone.
"""

from __future__ import annotations

import hashlib
import re

_LONGEST_TEXT = 4096
_KEPT = 1 << 14

# Escapes move where a token ends; hints, options and scripts are read for their values, and the
# numbers of these clauses become names or counts.
_NOT_PLAIN = re.compile(
    r"\\|@\{|;|\"\"\"|'''|\b(?:MATCH_RECOGNIZE|OPTIONS|PIVOT|UNPIVOT)\b", re.IGNORECASE
)
_QUERY = re.compile(r"\s*(?:\(\s*)*(?:FROM|SELECT|WITH)\b", re.IGNORECASE)
_INTEGER = r"(?:0|[1-9][0-9]{0,17})(?![\w.])"
_TOKEN = re.compile(
    rf"""
      '[^'\r\n]*' | "[^"\r\n]*" | `[^`\r\n]*`
    | (?P<comment> (?: -- | \# )[^\r\n]* | /\*.*?\*/ )
    | (?P<list> \bIN\s*\(\s* (?P<numbers> {_INTEGER}(?:\s*,\s*{_INTEGER})* ) (?=\s*\)) )
    | [A-Za-z_][A-Za-z0-9_]*
    | \s+
    | [0-9.][\w.]*
    | => | -> | << | >> | \|>
    | (?P<compared> (?: <= | >= | <> | != | = | < | > )\s* (?P<number> {_INTEGER} ) )
    | .
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_EACH = re.compile(r"[0-9]+")


def shape_of(sql: str) -> str:
    """Give what queries share that are alike; the text itself where only it is like itself."""
    if len(sql) > _LONGEST_TEXT or _NOT_PLAIN.search(sql) or "\0" in sql:
        return sql
    seen: dict[str, str] = {}

    def opened(number: re.Match[str]) -> str:
        # No text has a NUL in it, so none that is a shape.
        return seen.setdefault(number[0], f"\0{len(seen)}\0")

    def token(found: re.Match[str]) -> str:
        if found["comment"]:
            return " "
        numbers = found["numbers"] or found["number"]
        if numbers is None:
            return found[0]
        return found[0].removesuffix(numbers) + _EACH.sub(opened, numbers)

    shape = _TOKEN.sub(token, sql)
    return shape if _QUERY.match(shape) else sql


class Alike:
    """Gives for each text the first one that it was like; how many it keeps is bounded."""

    def __init__(self) -> None:
        """Begin with none."""
        self._first: dict[bytes, str] = {}

    def first(self, sql: str) -> str:
        """Give the first text of this shape, which may be this one."""
        shape = shape_of(sql)
        if shape is sql:
            return sql
        if len(self._first) >= _KEPT:
            self._first.clear()
        return self._first.setdefault(hashlib.sha256(shape.encode()).digest(), sql)
