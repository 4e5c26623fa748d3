"""Says what a column may hold, by some of its values and by its name.

What values look like the detectors know, and nobody else. A name is a hint: it makes sure of what
values show, and speaks for those in which nothing is found.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum

import msgspec

from keystile.detecting.entities import ENTITIES
from keystile.detecting.finder import Finder, Found

_OF_NUMBERS = ("card",)
"""What a number may be: of the others any number in a row would look like one."""

_SECRETS = frozenset({"api_key", "jwt"})
_MOSTLY, _HALF = 0.9, 0.5
_MOST_OF_A_TEXT = 0.7
_FEW = 20
_SOME, _SOME_SHARE = 2, 0.01

_NAMES = tuple(
    (entity, re.compile(rf"(?:^|_)(?:{words})(?:_|$)"))
    for entity, words in (
        ("ssn", "ssn|social_security(?:_number)?|tax_id|tin|national_id"),
        ("email", "e_?mail|mail(?:_address)?"),
        ("phone", "phone|mobile|cell|tel|telephone|fax|msisdn"),
        ("card", "card|pan|cc|card_number|card_no|credit_card"),
        ("iban", "iban|bank_account|account_number"),
        ("ip", "ip|ip_address|remote_addr"),
        ("api_key", "api_key|secret|password|passwd|token|private_key"),
        ("name", "first_?name|last_?name|full_?name|surname|given_?name|maiden_?name"),
        ("address", "street|address|zip|zipcode|zip_code|postal_code|postcode"),
        ("birth", "birth|birthday|birthdate|dob|date_of_birth"),
    )
)


class Confidence(StrEnum):
    """How sure a guess is."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Guess(msgspec.Struct, frozen=True):
    """What a column may hold: `seen` of its `values` looked so, or it is called so.

    `within` tells that they are longer texts with such values in them.
    """

    entity: str
    confidence: Confidence
    seen: int
    values: int
    named: bool = False
    within: bool = False

    @property
    def label(self) -> str:
        """The label that is proposed."""
        if self.within:
            return "pii.text"
        return f"{'secret' if self.entity in _SECRETS else 'pii'}.{self.entity}"

    @property
    def why(self) -> str:
        """The counts, for a reader."""
        if not self.seen:
            return f"by its name; {self.values:,} values looked at"
        how = f"have {self.entity} in them" if self.within else f"look like {self.entity}"
        return f"{self.seen:,} of {self.values:,} values {how}{', as it is called' * self.named}"


class Guesser:
    """Guesses with the detectors."""

    def __init__(self) -> None:
        """Look for everything that there are detectors for."""
        self._texts, self._numbers = Finder(ENTITIES), Finder(_OF_NUMBERS)

    def guess(self, name: str, type_: str, values: Sequence[str]) -> Guess | None:
        """Say what a column of this name and type may hold; None where nothing speaks for it.

        `values` are those that are not NULL, numbers as texts. The same values give the same guess.
        """
        finder = self._numbers if type_ == "INT64" else self._texts
        found = finder.find(values) if values else {}
        named = _named(name)
        whole = Counter(
            entity
            for place, several in found.items()
            if len(several) == 1 and _is_most(several[0], values[place])
            for entity in several[0].entities[:1]
        )
        if guess := _of_values(whole, named, type_, len(values)):
            return guess
        within = Counter(
            entity
            for several in found.values()
            for entity in {entity for one in several for entity in one.entities}
        )
        if type_ != "INT64" and (guess := _of_texts(within, named, len(found), len(values))):
            return guess
        return _of_name(named, whole, type_, len(values))


def _of_values(whole: Counter[str], named: str, type_: str, count: int) -> Guess | None:
    """Guess by what values are as a whole: most of them must be one thing."""
    if not whole:
        return None
    entity, seen = min(whole.items(), key=lambda pair: (-pair[1], pair[0]))
    share, agrees = seen / count, named == entity
    if share < (_MOSTLY if type_ == "INT64" else _HALF) or (count < _SOME and not agrees):
        return None
    sure = agrees or (share >= _MOSTLY and count >= _FEW)
    return Guess(entity, Confidence.HIGH if sure else Confidence.MEDIUM, seen, count, agrees)


def _of_texts(within: Counter[str], named: str, seen: int, count: int) -> Guess | None:
    """Guess by what stands in texts of other things."""
    if named and within[named]:
        return Guess(named, Confidence.MEDIUM, within[named], count, named=True)
    if seen < _SOME or seen < _SOME_SHARE * count:
        return None
    entity = min(within, key=lambda entity: (-within[entity], entity))
    return Guess(entity, Confidence.MEDIUM, seen, count, within=True)


def _of_name(named: str, whole: Counter[str], type_: str, count: int) -> Guess | None:
    """Guess by the name alone: not where enough values were seen, and none is what it says."""
    if not named or type_ in {"BOOL", "FLOAT64", "NUMERIC", "BIGNUMERIC", "TIMESTAMP", "GEOGRAPHY"}:
        return None
    if named in {"email", "iban", "ip"} and count >= _FEW and not whole[named]:
        return None
    return Guess(named, Confidence.LOW, whole[named], count, named=True)


def _is_most(one: Found, text: str) -> bool:
    return one.end - one.start >= _MOST_OF_A_TEXT * len(text.strip().encode())


def _named(name: str) -> str:
    """Give what a column is by its name, in snake case or camel case."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().replace("-", "_")
    return next((entity for entity, pattern in _NAMES if pattern.search(words)), "")
