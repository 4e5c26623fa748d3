from __future__ import annotations

import hashlib
import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.chains import linked

from keystile.recording import chain
from keystile.recording.chain import FIRST_PREV, BrokenLineError


def test_the_hash_is_what_the_reference_says() -> None:
    line, digest = linked(7, "ab" * 32, b'{"kind":"viewed"}')
    assert digest == hashlib.sha256(b"ab" * 32 + b'\n7\n{"kind":"viewed"}').hexdigest()
    assert json.loads(line) == {
        "seq": 7,
        "prev": "ab" * 32,
        "hash": digest,
        "event": {"kind": "viewed"},
    }


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none()), st.integers(1, 10**9))
def test_a_line_reads_back(event: dict[str, object], seq: int) -> None:
    try:
        encoded = msgspec.json.encode(event)
    except (ValueError, OverflowError):
        return
    line, digest = linked(seq, FIRST_PREV, encoded)
    assert line.count(b"\n") == 1
    parsed = chain.parse(line[:-1])
    assert (parsed.seq, parsed.hash, bytes(parsed.event)) == (seq, digest, encoded)


@given(st.data())
def test_any_changed_byte_is_seen(data: st.DataObject) -> None:
    line, _ = linked(3, FIRST_PREV, b'{"at":1.5,"body":{"sql":"SELECT 1"},"kind":"intent"}')
    place = data.draw(st.integers(0, len(line) - 2))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != line[place]))
    with pytest.raises(BrokenLineError):
        chain.parse(line[:place] + bytes([byte]) + line[place + 1 : -1])


@given(st.binary())
def test_anything_else_is_no_line(content: bytes) -> None:
    with pytest.raises(BrokenLineError):
        chain.parse(content)


def test_a_header_spelled_twice_is_no_line() -> None:
    line, _ = linked(3, FIRST_PREV, b"{}")
    with pytest.raises(BrokenLineError):
        chain.parse(line[:-1].replace(b'{"seq":3', b'{"seq":9,"seq":3'))


def test_a_line_must_follow_the_one_before() -> None:
    line, _ = linked(3, FIRST_PREV, b"{}")
    parsed = chain.parse(line[:-1])
    chain.follows(parsed, 2, FIRST_PREV)
    with pytest.raises(BrokenLineError, match="number 3 where 4 belongs"):
        chain.follows(parsed, 3, FIRST_PREV)
    with pytest.raises(BrokenLineError, match="does not continue"):
        chain.follows(parsed, 2, "1" * 64)


def test_names_tell_number_and_day() -> None:
    name = Path(chain.segment_name(42, "2026-01-31"))
    assert (chain.segment_seq(name), chain.segment_day(name)) == (42, "2026-01-31")


def test_a_missing_or_unreadable_head_is_none(tmp_path: Path) -> None:
    assert chain.read_head(tmp_path) is None
    (tmp_path / "head").write_bytes(b"{")
    assert chain.read_head(tmp_path) is None
