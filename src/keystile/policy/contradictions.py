"""Conditions that ask for two values of one word at once, so that they are never true.

Seen are `==`, `in` and `!=` of single words and texts that stand between `&&`. INVARIANT: what is
found is certain; whatever else stands in a condition, and one with `||`, `?`, comments or escapes,
is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_TEXT = r"""(?:"[^"]*"|'[^']*')"""
_WORD = r"""(?:agent\.(?:name|issuer|subject|service_account|on_behalf_of|attributes\.\w+)
    |query\.statement|request\.(?:project|client))"""
_EQUAL = re.compile(rf"(?P<word>{_WORD})\s*==\s*(?P<texts>{_TEXT})", re.VERBOSE)
_EQUAL_TOO = re.compile(rf"(?P<texts>{_TEXT})\s*==\s*(?P<word>{_WORD})", re.VERBOSE)
_ONE_OF = re.compile(
    rf"(?P<word>{_WORD})\s+in\s*\[(?P<texts>\s*(?:{_TEXT}\s*,?\s*)*)\]", re.VERBOSE
)
_UNLIKE_ITSELF = re.compile(rf"(?P<word>{_WORD})\s*!=\s*(?P=word)", re.VERBOSE)
_TEXTS = re.compile(_TEXT)
_UNCLEAR = re.compile(r"""\|\||\?|//|\\|'''|\"\"\"""")
_PIECE = re.compile(rf"{_TEXT}|&&|[()\[\]{{}}]|[^\"'&()\[\]{{}}]+|.", re.DOTALL)
_STATEMENT, _STATEMENT_TYPE = "query.statement", re.compile("[A-Z_]+")


def impossible(condition: str) -> Iterator[str]:
    """Yield the words of which a condition asks what none can be."""
    allowed: dict[str, set[str]] = {}
    for part in () if _UNCLEAR.search(condition) else _parts(condition):
        if unlike := _UNLIKE_ITSELF.fullmatch(part):
            yield unlike["word"]
        found = _EQUAL.fullmatch(part) or _EQUAL_TOO.fullmatch(part) or _ONE_OF.fullmatch(part)
        if found is None:
            continue
        word, texts = found["word"], {text[1:-1] for text in _TEXTS.findall(found["texts"])}
        if word == _STATEMENT:
            texts = {text for text in texts if _STATEMENT_TYPE.fullmatch(text)}
        allowed[word] = allowed[word] & texts if word in allowed else texts
        if not allowed[word]:
            yield word


def _parts(condition: str) -> Iterator[str]:
    """Split at `&&` outside of brackets and texts."""
    depth, part = 0, ""
    for piece in _PIECE.findall(condition):
        if piece == "&&" and not depth:
            yield part.strip()
            part = ""
            continue
        depth += (piece in {"(", "[", "{"}) - (piece in {")", "]", "}"})
        part += piece
    yield part.strip()
