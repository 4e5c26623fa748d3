"""Masks with a key, as SQL and on a value that was read already.

A keyed hash is HMAC-SHA-256 (RFC 2104). A token is a permutation of all texts of one form, made of
a Feistel network of ten rounds, as NIST's FF1 (SP 800-38G) is, with HMAC-SHA-256 for its rounds,
since SQL has no other keyed function. What changes are digits, letters, and characters beyond ASCII
within their block of 64; these alone, in their order, go through the rounds. A round shifts every
second one, each by a number that depends on all the others.

The key reaches SQL as query parameters that hold its two pads, each a block of SHA-256.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from keystile.model.errors import RefusedError, UnsafeConfigurationError
from keystile.model.masks import KEYED, KeyedHashMask, Mask, TokenMask
from keystile.model.schema import Parameter, SqlType

HASHES, TOKENS = "keystile_hash", "keystile_token"
"""How the names of query parameters begin; the key's name and which pad it is come after."""

_BLOCK = 64  # bytes of SHA-256's block, to which HMAC pads its key (RFC 2104 section 2)
_ROUNDS = 10
_NUMBERS = 16  # two bytes each, out of one HMAC
_BYTES = SqlType("BYTES")
_FOR_TOKENS = b"keystile token"


KeySource = Callable[[str], Awaitable[bytes]]
"""Gives the key of a name as it is now, 32 to 64 bytes; the empty name is that of no name."""


class Pads(NamedTuple):
    """What HMAC makes of a key."""

    inner: bytes
    outer: bytes

    def __repr__(self) -> str:
        """Tell nothing of the key."""
        return "Pads()"

    def hmac(self, data: bytes) -> bytes:
        """Give the HMAC-SHA-256 of these bytes."""
        return hashlib.sha256(self.outer + hashlib.sha256(self.inner + data).digest()).digest()


def pads(mask: Mask, key: bytes) -> Pads:
    """Give the pads for a mask with this key of 32 to 64 bytes. Raises `ValueError` for others.

    INVARIANT: tokens have another key than hashes: who can read hashes of texts of their own
    choosing learns nothing of a token's rounds.
    """
    if not _BLOCK >= len(key) >= _BLOCK // 2:
        raise ValueError("the key of keyed masks has 32 to 64 bytes")
    if isinstance(mask, TokenMask):
        key = hmac.new(key, _FOR_TOKENS, hashlib.sha256).digest()
    padded = key.ljust(_BLOCK, b"\0")
    return Pads(bytes(byte ^ 0x36 for byte in padded), bytes(byte ^ 0x5C for byte in padded))


def parameters(mask: Mask) -> tuple[str, ...]:
    """Name the query parameters that hold the inner and the outer pad; none without a key."""
    match mask:
        case KeyedHashMask(key=key):
            beginning = HASHES
        case TokenMask(key=key):
            beginning = TOKENS
        case _:
            return ()
    name = f"_{key}" if key else ""
    return f"{beginning}{name}_inner", f"{beginning}{name}_outer"


async def filled(masks: Iterable[Mask], keys: KeySource) -> dict[str, Parameter]:
    """Give the parameters of all masks that need a key, by name, each key as it is now.

    INVARIANT: a key is read once for all of a query, so that equal values have equal tokens in it.
    Raises `RefusedError` where a key cannot be read.
    """
    wanted = {mask for mask in masks if isinstance(mask, KEYED)}
    try:
        found = {name: await keys(name) for name in {mask.key for mask in wanted}}
    except UnsafeConfigurationError as error:
        raise RefusedError(
            "a column is masked for you with a key that the gateway cannot read now",
            hint="leave it out, or ask whoever runs the gateway",
        ) from error
    return {
        name: Parameter(name, _BYTES, {"value": base64.b64encode(pad).decode()})
        for mask in wanted
        for name, pad in zip(parameters(mask), pads(mask, found[mask.key]), strict=True)
    }


def always(key: bytes) -> KeySource:
    """Give a source that has one key, under every name."""

    async def source(name: str) -> bytes:
        """Give the key."""
        del name
        return key

    return source


def hash_sql(mask: KeyedHashMask, data: str) -> str:
    """Give the keyed hash of an SQL expression for bytes."""
    return _hmac_sql(mask, data)


def token_sql(mask: TokenMask, value: str) -> str:
    """Give the token of an SQL expression for a text."""
    steps = [f"points AS TO_CODE_POINTS({value})"]
    steps.append(f"turn0 AS {_array('c', 'points', _MOVES)}")
    steps.append("size AS ARRAY_LENGTH(turn0)")
    for number in range(_ROUNDS):
        steps += _round_sql(mask, number)
    rank = f"SUM(IF({_MOVES}, 1, 0)) OVER (ORDER BY i)"
    moved = f"IF({_MOVES}, turn{_ROUNDS}[SAFE_OFFSET({rank} - 1)], c)"
    return f"WITH({', '.join(steps)}, CODE_POINTS_TO_STRING({_array(moved, 'points')}))"


def _round_sql(mask: TokenMask, number: int) -> list[str]:
    """Make of `turn0` `turn1`, and so on."""
    half, turn = number % 2, f"turn{number}"
    others = f"CODE_POINTS_TO_STRING({_array('c', turn, f'MOD(i, 2) != {half}')})"
    said = f"'{number}:', CAST(g AS STRING), ':', CAST(size AS STRING), ':', others{number}"
    made = _hmac_sql(mask, f"CAST(CONCAT({said}) AS BYTES)")
    blocks = f"UNNEST(GENERATE_ARRAY(0, DIV(size, {2 * _NUMBERS}))) AS g"
    bytes_ = f"UNNEST(TO_CODE_POINTS({made})) AS b WITH OFFSET AS o"
    # Every part was made here.
    key = f"ARRAY(SELECT b FROM {blocks}, {bytes_} ORDER BY g, o)"  # noqa: S608
    by = f"256 * key{number}[SAFE_OFFSET(i - {half})] + key{number}[SAFE_OFFSET(i - {half} + 1)]"
    shifted = f"IF(MOD(i, 2) = {half}, WITH(k AS {by}, {_SHIFTED}), c)"
    return [
        f"others{number} AS {others}",
        f"key{number} AS {key}",
        f"turn{number + 1} AS {_array(shifted, turn)}",
    ]


def _array(item: str, points: str, where: str = "TRUE") -> str:
    """Give an array with one item for each `c` of another, at `i` in it."""
    rows = f"UNNEST({points}) AS c WITH OFFSET AS i"
    # Every part was made here.
    return f"ARRAY(SELECT {item} FROM {rows} WHERE {where} ORDER BY i)"  # noqa: S608


def token(value: str, of: Pads) -> str:
    """Give the token of a text."""
    moving = [ord(c) for c in value if _span(ord(c))]
    for number in range(_ROUNDS):
        half = number % 2
        others = "".join(chr(c) for i, c in enumerate(moving) if i % 2 != half)
        made = b"".join(
            of.hmac(f"{number}:{block}:{len(moving)}:{others}".encode())
            for block in range(len(moving) // (2 * _NUMBERS) + 1)
        )
        for i in range(half, len(moving), 2):
            by = int.from_bytes(made[i - half : i - half + 2], "big")
            first, size = _span(moving[i]) or (0, 1)
            moving[i] = first + (moving[i] - first + by) % size
    left = iter(moving)
    return "".join(chr(next(left)) if _span(ord(c)) else c for c in value)


def _hmac_sql(mask: Mask, data: str) -> str:
    inner, outer = parameters(mask)
    return f"SHA256(CONCAT(@{outer}, SHA256(CONCAT(@{inner}, {data}))))"


def _span(point: int) -> tuple[int, int] | None:
    """Give the first of the characters that one may become, and how many they are."""
    if point >= _BEYOND:
        return point - point % _NEAR, _NEAR
    return next((span for span in _SPANS if span[0] <= point < sum(span)), None)


_BEYOND, _NEAR = 128, 64
_SPANS = ((ord("0"), 10), (ord("A"), 26), (ord("a"), 26))
_MOVES = (
    "(" + " OR ".join(f"c BETWEEN {a} AND {a + n - 1}" for a, n in _SPANS) + f" OR c >= {_BEYOND})"
)
_SHIFTED = (
    "CASE "
    + " ".join(f"WHEN c < {a + n} THEN {a} + MOD(c - {a} + k, {n})" for a, n in _SPANS)
    + f" ELSE c - MOD(c, {_NEAR}) + MOD(MOD(c, {_NEAR}) + k, {_NEAR}) END"
)
