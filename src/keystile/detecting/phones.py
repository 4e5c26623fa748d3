"""Telephone numbers: what numbering plans and people's ways of writing them have in common.

Sources of fact: ITU-T E.164 (how long a number is, and `+` before its country's code), the North
American Numbering Plan (which digits an area and an exchange begin with), and the national plans
with a trunk prefix of 0.
"""

from __future__ import annotations

import re

from keystile.detecting.context import BREAK, before
from keystile.detecting.patterns import union

_GAP = rf"(?:[ .()/-]{{0,3}}|{BREAK})"
PHONE = rf"(?:\+\(?|\(|\b)[0-9](?:{_GAP}[0-9]){{6}}"

# Not too many digits, and no date.
_OTHERS = (
    r"[0-9]{16}|(?:[0-3]?[0-9](?P<a>[./-])[0-3]?[0-9](?P=a)(?:19|20)?[0-9]{2}"
    r"|(?:19|20)[0-9]{2}(?P<b>[./-])[01]?[0-9](?P=b)[0-3]?[0-9])(?![0-9])"
)
_NUMBER = re.compile(
    rf"(?!{_OTHERS})(?P<number>[+(]{{0,2}}[0-9](?:{_GAP}[0-9]){{6,17}})"
    r"(?: ?(?:x|ext\.?) ?[0-9]{1,6}\b)?".encode()
)
_NORTH_AMERICAN = (
    rf"(?:\+?1{_GAP})?\(?[2-9](?!11)[0-8][0-9]{_GAP}[2-9](?!11)[0-9]{{2}}{_GAP}[0-9]{{4}}"
)
_INTERNATIONAL = rf"(?:\+\(?|00{_GAP})[1-9](?:{_GAP}[0-9]){{7,14}}"
_NATIONAL = rf"\(?0[1-9](?:{_GAP}[0-9]){{7,10}}"
_WITH_AREA = rf"\([0-9]{{2,5}}\){_GAP}[0-9](?:{_GAP}[0-9]){{5,8}}"
_PLAIN = re.compile(f"{_NORTH_AMERICAN}|{_INTERNATIONAL}|{_NATIONAL}|{_WITH_AREA}".encode())
# A number within a town or a country: told by what is said before it.
_LOCAL = re.compile(rf"[0-9]{{1,12}}(?:(?:[ .-]|{BREAK})[0-9]{{2,8}}){{0,5}}".encode())
_LOCAL_DIGITS = range(7, 13)
_GAP_BYTES = b" .()/+-\xc2\xa0\xe2\x80\x91\x93"
_LAST_GROUP = re.compile(rb"[^0-9]+[0-9]+\Z")
_WORD = re.compile(rb"[0-9A-Za-z]")
# RE2 takes all of these words in one pass, where `re` would try each at every place.
_NAMED = union(
    (
        r"phone|mobile|mob\b|\bcell|\bcall|\bfax|\btel\b|\bring\b|\bdial|whatsapp|\bsms\b",
        r"\btext(?:ed)?\b|reach|contact|hotline|number|\bline\b|answer|registered",
    )
)
_OTHER_NAMED = re.compile(
    rb"\b(?:account|card|case|iban|id|licen[cs]e|invoice|order|ref(?:erence)?|serial|ticket|zip)\W*"
    rb"(?:numbers?|no)?(?:\W+is)?\W*\Z"
)


def phone(text: bytes, start: int) -> tuple[int, int] | None:
    """Find a telephone number, with its extension.

    What follows may be another number: groups of digits are left out at the end until the rest is a
    telephone number, or nothing is left.
    """
    match = _NUMBER.match(text, start)
    if match is None:
        return None
    value, end, named = match["number"], match.end(), None
    if not _PLAIN.match(value):
        # However much is left out, only what is said before it can tell.
        named = value[:1].isdigit() and _is_named(text, start)
        if not named:
            return None
    while True:
        if not _WORD.match(text, end):
            if _PLAIN.fullmatch(value):
                return start, end
            if _is_local(value):
                named = _is_named(text, start) if named is None else named
                if named:
                    return start, end
        last = _LAST_GROUP.search(value)
        if last is None:
            return None
        value = value[: last.start()]
        end = start + len(value)


def _is_local(value: bytes) -> bool:
    digits = len(value.translate(None, _GAP_BYTES))
    return digits in _LOCAL_DIGITS and _LOCAL.fullmatch(value) is not None


def _is_named(text: bytes, start: int) -> bool:
    words = before(text, start).lower()
    return _NAMED.search(words) is not None and not _OTHER_NAMED.search(words)
