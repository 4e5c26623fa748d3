"""Numbers with a rule that most others break: payment cards, bank accounts, Social Security.

Sources of fact: ISO/IEC 7812 with the networks' published ranges, ISO 13616 and its registry, and
what the Social Security Administration says of numbers that it never gives.
"""

from __future__ import annotations

import re
import string

from keystile.detecting.context import BREAK, before

CARD = rf"\b[1-6](?:{BREAK}?[0-9]){{11}}"
IBAN = r"\b[A-Za-z]{2}[0-9]{2}(?:[ -]?[0-9A-Za-z]){11}"
SSN = rf"\b[0-9]{{3}}(?:{BREAK}|\.)?[0-9]{{2}}(?:{BREAK}|\.)?[0-9]{{4}}\b"

_WORD = re.compile(rb"[0-9A-Za-z]")
_CARD = re.compile(rf"[0-9](?:{BREAK}?[0-9]){{11,18}}".encode())
_DIGITS = {
    count: re.compile(rf"[0-9](?:{BREAK}?[0-9]){{{count - 1}}}".encode()) for count in range(12, 20)
}
# How long the numbers of each network are, by how they begin.
_CARDS = (
    (re.compile(rb"4"), (19, 16, 13)),
    (re.compile(rb"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),
    (re.compile(rb"3[47]"), (15,)),
    (re.compile(rb"30|36|38|39"), (16, 14)),
    (re.compile(rb"35"), (19, 18, 17, 16)),
    (re.compile(rb"6011|64[4-9]|65|62"), (19, 18, 17, 16)),
    (re.compile(rb"1800|2131"), (15,)),
    (re.compile(rb"50|5[6-9]|6"), (19, 18, 17, 16, 15, 14, 13, 12)),
)
_BREAK_BYTES = b" -\xc2\xa0\xe2\x80\x91\x93"
_TWICE = bytes.maketrans(b"0123456789", b"0246813579")
_SSN = re.compile(SSN.encode())
_PARTS = re.compile(rb"[0-9]+")
_SSN_BREAKS = 2
_ABOUT_SSN = re.compile(
    rb"(?i)\b(?:ssns?|itin|social[ _-]?sec(?:urity)?|taxpayer|tax[ _-]id)(?![a-z])"
)
# The countries with IBANs of each length.
_IBAN_COUNTRIES = {
    15: "NO",
    16: "BE",
    18: "DKFIFKFOGLNLSD",
    19: "MKSI",
    20: "ATBAEEKZLTLUMNXK",
    21: "CHHRLILV",
    22: "BGBHCRDEGBGEIEMERSVA",
    23: "AEGIILIQOMSOTL",
    24: "ADCZESMDPKROSASESKTNVG",
    25: "LYPTST",
    26: "ISTR",
    27: "BIDJFRGRITMCMRSM",
    28: "ALAZBYCYDOGTHNHULBNIPLSV",
    29: "BREGPSQAUA",
    30: "JOKWMUYE",
    31: "MTSC",
    32: "LC",
    33: "RU",
}
_IBANS = {
    country.encode(): re.compile(rf"(?:[ -]?[0-9A-Za-z]){{{length}}}(?![0-9A-Za-z])".encode())
    for length, countries in _IBAN_COUNTRIES.items()
    for country in re.findall("..", countries)
}
_VALUES = {one: str(int(one, 36)) for one in string.digits + string.ascii_letters}


def card(text: bytes, start: int) -> tuple[int, int] | None:
    """Find a payment card's number: the network's range and length, and the Luhn digit.

    What follows may be another number, so every length is tried, the longest first.
    """
    match = _CARD.match(text, start)
    if match is None:
        return None
    value = match[0]
    digits = value.translate(None, _BREAK_BYTES)
    for length in next((lengths for begin, lengths in _CARDS if begin.match(digits)), ()):
        if length <= len(digits) and luhn(digits[:length]) and len(set(digits[:length])) > 1:
            written = _DIGITS[length].match(text, start)
            if written and not _WORD.match(text, written.end()):
                return written.span()
    return None


def luhn(digits: bytes) -> bool:
    """Tell whether the last of these ASCII digits is the check digit of the others."""
    total = sum(digits[::-2]) + sum(digits[-2::-2].translate(_TWICE))
    return (total - 48 * len(digits)) % 10 == 0


def iban(text: bytes, start: int) -> tuple[int, int] | None:
    """Find an IBAN: its country's length, and the remainder of 1 by 97."""
    written = _IBANS.get(text[start : start + 2].upper())
    match = written.match(text, start) if written else None
    if match is None:
        return None
    value = match[0].translate(None, b" -").decode()
    number = int("".join(_VALUES[one] for one in value[4:] + value[:4]))
    return match.span() if number % 97 == 1 else None


def ssn(text: bytes, start: int) -> tuple[int, int] | None:
    """Find a Social Security or taxpayer number; without separators only where it is named."""
    match = _SSN.match(text, start)
    if match is None:
        return None
    digits = b"".join(_PARTS.findall(match[0]))
    if digits[:3] in {b"000", b"666"} or digits[3:5] == b"00" or digits[5:] == b"0000":
        return None
    _, *breaks, _ = _PARTS.split(match[0])
    if not breaks:
        named = len(set(digits)) > 1 and _ABOUT_SSN.search(before(text, start))
        return match.span() if named else None
    return match.span() if len(breaks) == _SSN_BREAKS and breaks[0] == breaks[1] else None
