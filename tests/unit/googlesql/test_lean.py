from __future__ import annotations

import ctypes
from collections.abc import Iterator

import pytest

from keystile.googlesql import lean, module
from keystile.googlesql.engine import Engine
from keystile.googlesql.lean import CHECKS, STEPS, number

WORDS = (b"hash is not idempotent.", b"IdString was accessed after its IdStringPool (")


@pytest.fixture(scope="module")
def wasm() -> bytes:
    return module.wasm()


def sections(wasm: bytes) -> dict[int, int]:
    """Give where each section's content begins."""
    found, at = {}, 8
    while at < len(wasm):
        size, start = number(wasm, at + 1)
        found[wasm[at]] = start
        at = start + size
    return found


def bodies(wasm: bytes) -> dict[int, bytes]:
    """Give each function's body by its number."""
    count, at = number(wasm, sections(wasm)[10])
    found = {}
    for index in range(count):
        size, at = number(wasm, at)
        found[index + 18] = wasm[at : at + size]
        at += size
    return found


def results(wasm: bytes) -> list[int]:
    """Give for each of the module's own functions how many values it returns."""
    count, at = number(wasm, sections(wasm)[1])
    types = []
    for _ in range(count):
        given, at = number(wasm, at + 1)
        returned, at = number(wasm, at + given)
        types.append(returned)
        at += returned
    count, at = number(wasm, sections(wasm)[3])
    found = []
    for _ in range(count):
        type_, at = number(wasm, at)
        found.append(types[type_])
    return found


def addresses() -> Iterator[bytes]:
    """Give the instructions that name the places of the checks' words in memory."""
    engine = Engine(module.load())
    memory = ctypes.string_at(engine._base(), engine.memory_bytes)
    for words in WORDS:
        at = memory.find(words)
        while at >= 0:
            yield b"\x41" + signed(memory.rfind(b"\0", 0, at) + 1)  # i32.const
            at = memory.find(words, at + 1)


def signed(value: int) -> bytes:
    out = bytearray()
    while value > 0x3F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def test_exactly_the_functions_that_only_check_are_emptied(wasm: bytes) -> None:
    words = list(addresses())
    assert {
        index for index, body in bodies(wasm).items() if any(word in body for word in words)
    } == CHECKS
    returned = results(wasm)
    assert {returned[index - 18] for index in CHECKS} == {0}


def test_all_else_stays(wasm: bytes) -> None:
    before, after = bodies(wasm), bodies(lean.lean(wasm))
    changed = {index for index in before if before[index] != after[index]}
    assert changed >= CHECKS
    assert {after[index] for index in CHECKS} == {b"\x00\x0b"}
    assert all(
        any(step.first <= index <= step.last for step in STEPS) for index in changed - CHECKS
    )
    assert all(len(before[index]) == len(after[index]) for index in changed - CHECKS)


def test_each_step_is_taken_where_it_was_found(wasm: bytes) -> None:
    of = bodies(wasm)
    assert [
        sum(of[index].count(step.old) for index in range(step.first, step.last + 1))
        for step in STEPS
    ] == [303, 1, 1]
    assert all(len(step.old) == len(step.new) for step in STEPS)


def test_another_module_is_left_alone(wasm: bytes) -> None:
    other = wasm + b"\x00\x01\x00"  # with one more custom section
    assert lean.lean(other) is other


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 24_361_889])
def test_numbers_read_as_written(value: int) -> None:
    assert number(lean.encoded(value), 0) == (value, len(lean.encoded(value)))
