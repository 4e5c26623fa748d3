"""Takes the engine's checks of itself out of its module before it is compiled.

The wheel holds a debug build. Each look into one of its hash tables hashes every key three times
to see whether hashing is consistent, and each use of an interned string looks up, under a lock,
whether its pool still lives: 60 % of an analysis. A release build has neither. The functions of
`CHECKS` only check and return nothing, so they are emptied, and two more checks are stepped over;
what the engine answers does not change. How they were found and what it gains:
docs/adr/0008-engine-without-its-own-checks.md.

INVARIANT: the positions hold for one module, known by its digest. Any other is left as it is.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

REVISION = "2"
"""Goes up with every change of what is emptied, so that a module kept from before is not used."""

_KNOWN = "00135b44fe391fa8d56f6804dca013bc681e45d607561a638b81c98a08744bcb"

_IMPORTED = 18
"""Functions that the module imports; they are counted before its own."""

CHECKS = frozenset(
    {
        # IdString::CheckPoolIsAlive of zetasql/public/id_string.cc
        1498,
        # the consistency checks of absl/container/internal/raw_hash_set.h, one for each kind of key
        *(731, 1095, 1129, 1154, 2213, 2242, 3478, 3502, 3508, 3608, 3749, 3809, 3846, 3882, 4128),
        *(4137, 4184, 4205, 4235, 4258, 4729, 5347, 5479, 6893, 7579, 7594, 7716, 7724, 8480, 8574),
        *(8601, 8839, 9072, 9080, 9315, 11139, 13019, 14008, 14090, 14197, 14533, 14625, 15489),
        *(
            15825,
            15849,
            15857,
            16305,
            16594,
            16745,
            17305,
            17332,
            17507,
            17523,
            17851,
            18249,
            18253,
        ),
        *(
            18255,
            18620,
            19101,
            19130,
            19167,
            19320,
            20207,
            20218,
            20232,
            23657,
            24248,
            24361,
            31315,
        ),
        *(
            32126,
            32132,
            32140,
            33753,
            35936,
            46977,
            46983,
            47727,
            47738,
            47740,
            47760,
            47769,
            47775,
        ),
        *(
            47780,
            47838,
            47857,
            47860,
            47885,
            47894,
            47905,
            47986,
            47988,
            47991,
            49145,
            49150,
            49526,
        ),
    }
)
"""The functions that only check, by their numbers in the module."""


class Step(NamedTuple):
    """In the functions from `first` to `last` the instructions `old` become `new`."""

    first: int
    last: int
    old: bytes
    new: bytes


STEPS = (
    # Writing a node of the resolved tree measures the part that holds its base class, to leave it
    # out where it is empty: `call ByteSizeLong; i32.eqz`. That part holds all that lies beneath a
    # function call, so depth was paid for squared. Now it is always written: `drop; i32.const 0`.
    Step(26806, 29987, bytes.fromhex("10e3ff0245"), bytes.fromhex("1a41000101")),
    # absl's raw_hash_set::emplace_at, for the set of language features, which each call copies
    # several times: it looks for every element that it has just put in, and compares.
    Step(1067, 1067, bytes.fromhex("10c208"), bytes.fromhex("1a1a1a")),
    Step(1067, 1067, bytes.fromhex("10e10341017145"), bytes.fromhex("1a1a4100010101")),
)
"""Checks inside of functions that do more. `old` and `new` leave the same on the stack."""

_HEADER_BYTES = 8
_CODE_SECTION = 10
_NOTHING = b"\x02\x00\x0b"  # two bytes: no local variables, end


def lean(wasm: bytes) -> bytes:
    """Give the module without its checks of itself; one that is not known comes back unchanged."""
    if hashlib.sha256(wasm).hexdigest() != _KNOWN:
        return wasm
    parts = [wasm[:_HEADER_BYTES]]
    at = _HEADER_BYTES
    while at < len(wasm):
        size, start = number(wasm, at + 1)
        if wasm[at] == _CODE_SECTION:
            code = _emptied(wasm, start)
            parts.append(wasm[at : at + 1] + encoded(len(code)) + code)
        else:
            parts.append(wasm[at : start + size])
        at = start + size
    return b"".join(parts)


def number(wasm: bytes, at: int) -> tuple[int, int]:
    """Read an unsigned LEB128 number, and where it ends."""
    value = shift = 0
    while True:
        byte = wasm[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # noqa: PLR2004 -- the bit that says that more follows
            return value, at


def encoded(value: int) -> bytes:
    """Write an unsigned LEB128 number."""
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 -- what seven bits hold
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def _emptied(wasm: bytes, at: int) -> bytes:
    count, at = number(wasm, at)
    parts = [encoded(count)]
    for index in range(_IMPORTED, _IMPORTED + count):
        size, start = number(wasm, at)
        parts.append(_NOTHING if index in CHECKS else _stepped(index, wasm[at : start + size]))
        at = start + size
    return b"".join(parts)


def _stepped(index: int, function: bytes) -> bytes:
    for step in STEPS:
        if step.first <= index <= step.last:
            function = function.replace(step.old, step.new)
    return function
