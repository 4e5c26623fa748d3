from __future__ import annotations

from pathlib import Path

import pytest

from keystile.recording import chain, index
from keystile.recording.events import Event, EventKind
from keystile.recording.writer import ChainWriter, canonical, claim


def append(writer: ChainWriter, count: int) -> None:
    writer.append([canonical(Event(EventKind.VIEWED, 1.0)) for _ in range(count)])


def test_it_catches_up_from_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, real = [], chain.parse

    def counted(line: bytes) -> chain.Line:
        read.append(line)
        return real(line)

    monkeypatch.setattr(chain, "parse", counted)
    writer = claim(tmp_path, segment_bytes=400)
    for expected, count in ((5, 5), (8, 3), (8, 0)):
        if count:
            append(writer, count)
        with index.opened(tmp_path) as connection:
            assert connection.execute("SELECT COUNT(*) FROM events").fetchone() == (expected,)
    writer.close()
    assert len(read) == 8


def test_it_remembers_the_newest_record_of_each_chain(tmp_path: Path) -> None:
    writers = [claim(tmp_path, segment_bytes=1 << 20) for _ in range(2)]
    append(writers[0], 2)
    append(writers[1], 3)
    assert index.witnesses(tmp_path) == {}
    with index.opened(tmp_path):
        pass
    heads = {writer.chain: (writer.head.seq, writer.head.hash) for writer in writers}
    assert index.witnesses(tmp_path) == heads
    for writer in writers:
        writer.close()


def test_an_unreadable_index_witnesses_nothing(tmp_path: Path) -> None:
    (tmp_path / index.INDEX_FILE).write_bytes(b"no database" * 100)
    assert index.witnesses(tmp_path) == {}


def test_it_follows_no_further_than_the_chain_is_intact(tmp_path: Path) -> None:
    writer = claim(tmp_path, segment_bytes=1 << 20)
    append(writer, 3)
    writer.close()
    (segment,) = chain.segments(writer.folder)
    first, second, third = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(first + second.replace(b"viewed", b"intent") + third)
    with index.opened(tmp_path) as connection:
        assert connection.execute("SELECT seq FROM events").fetchall() == [(1,)]
