"""Values that differ, and of which a mask shows the same.

Under a mask with a key two values that differ have other tokens, which is what they are for. So the
evaluator is handed a text in which such a mask looks at the open part of a value alone: what else a
query shows of the value is a leak.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from random import Random

from keystile.model.masks import (
    BucketMask,
    EmailMask,
    IpMask,
    JsonPathsMask,
    KeepFirstMask,
    KeepLastMask,
    KeyedHashMask,
    Mask,
    RoundMask,
    SqlMask,
    TokenMask,
    TruncateMask,
    UrlHostMask,
)
from keystile.model.schema import Parameter, SqlType
from prove.evaluator import Given

_OPEN = 3
_AT_LIMITS = 0.15
_KEYED = (
    re.compile(r"(@keystile_hash_\w*inner, CAST\()([^()]+)( AS BYTES\))"),
    re.compile(r"(@keystile_hash_\w*inner, )([^()]+)(\))"),
    re.compile(r"(points AS TO_CODE_POINTS\()([^()]+)(\))"),
)


def value(mask: Mask | None, type_: str, shown: Random, hidden: Random) -> str | None:
    """Give a literal, of which a mask tells what is drawn from `shown`; None for other masks."""
    number = hidden.randrange(1000, 9999)
    literal = None
    match mask:
        case KeepLastMask(count=count):
            literal = f"'{number}{_text(shown, count)}'"
        case KeepFirstMask(count=count):
            literal = f"'{_text(shown, count)}{number}'"
        case EmailMask():
            literal = f"'{shown.choice('abé')}{number}@{shown.choice(['x.com', 'y.org'])}'"
        case UrlHostMask():
            literal = f"'https://{number}@{shown.choice('abc')}.org/{number}?{number}'"
        case IpMask():
            literal = f"'10.0.{shown.randrange(3)}.{hidden.randrange(256)}'"
        case KeyedHashMask() | TokenMask() | SqlMask():
            literal = f"{'b' * (type_ == 'BYTES')}'{_text(shown, _OPEN)}{number}'"
        case JsonPathsMask():
            literal = f"JSON '{_json(shown, hidden)}'"
        case TruncateMask():
            literal = _moment(type_, shown, hidden)
        case BucketMask(width=int() as width) | RoundMask(to=int() as width):
            literal = _number(width, type_, shown, hidden)
    return literal


def blinded(sql: str) -> str:
    """Have masks with a key look at the open part of each value."""
    for pattern in _KEYED:
        sql = pattern.sub(rf"\1LEFT(\2, {_OPEN})\3", sql)
    return sql


def hidden_values(parameters: Iterable[Parameter], names: Iterable[str]) -> list[Given]:
    """Give the parameters that masking added."""
    wanted = set(names)
    return [
        Given(one.name, SqlType("BYTES"), base64.b64decode(str(one.value["value"])))
        for one in parameters
        if one.name in wanted
    ]


def _text(random: Random, count: int) -> str:
    return "".join(random.choice("0123456789x") for _ in range(count))


def _number(width: int, type_: str, shown: Random, hidden: Random) -> str:
    whole = shown.randrange(-9, 9) * width + hidden.randrange(width // 2)
    if type_ == "INT64" and shown.random() < _AT_LIMITS:
        # The least of all numbers is a multiple of few: what would lie beneath becomes the limit.
        whole = -(1 << 63) + hidden.randrange(width // 2)
    return f"CAST({whole} AS {type_})"


def _json(shown: Random, hidden: Random) -> str:
    """Give a value for the paths `$.a` and `$.c.d`; one of another form is hidden altogether."""
    forms = ("{}", '"{}"', "[{}, 1]", '{{"x": [{}]}}', "true", '"a longer text {}"')
    one, other = (hidden.choice(forms).format(hidden.randrange(100)) for _ in range(2))
    known = shown.randrange(9)
    whole = f'{{"a": {one}, "b": {known}, "c": {{"d": {other}, "e": {known}}}}}'
    unlike = (f'[{one}, {{"b": {other}}}]', f'{{"b": {one}, "c": [{{"d": {other}}}]}}')
    return shown.choice((whole, whole, whole, *unlike))


def _moment(type_: str, shown: Random, hidden: Random) -> str:
    year = shown.choice(("2010", "2011", "2012", "0001", "9999"))
    day = f"{year}-{shown.randrange(1, 13):02d}-{hidden.randrange(1, 29):02d}"
    clock = f"{hidden.randrange(24):02d}:{hidden.randrange(60):02d}:00"
    if type_ == "DATE":
        return f"DATE '{day}'"
    return f"{type_} '{day} {clock}{'+00' if type_ == 'TIMESTAMP' else ''}'"
