from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.chains import linked

from keystile.recording import chain as chains
from keystile.recording.chain import FIRST_PREV, Head
from keystile.recording.events import Event, EventKind
from keystile.recording.reader import RecordingReader, SessionFilter
from keystile.recording.verify import verify
from keystile.recording.writer import ChainWriter, canonical, claim


def event(number: int) -> bytes:
    body = {"number": number, "sql": "SELECT 1"}
    return canonical(Event(EventKind.INTENT, 1.0, "s", "a", f"j{number}", body))


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    """A chain of 12 records in four segments of three."""
    writer: ChainWriter = claim(tmp_path, segment_bytes=700)
    for number in range(12):
        writer.append([event(number)])
    writer.close()
    assert len(chains.segments(writer.folder)) == 4
    return writer.folder


def test_an_untouched_recording_is_intact(chain: Path) -> None:
    found = verify(chain.parent)
    (report,) = found.chains
    assert found.intact
    assert (report.records, report.segments, report.last_seq, report.removed) == (12, 4, 12, 0)
    assert report.last_hash.encode() in chains.segments(chain)[-1].read_bytes()


def test_an_empty_folder_is_intact(tmp_path: Path) -> None:
    assert verify(tmp_path).intact
    assert verify(tmp_path / "none").intact
    claim(tmp_path, segment_bytes=1).close()
    assert verify(tmp_path).intact


def edit(chain: Path) -> None:
    segment = chains.segments(chain)[1]
    segment.write_bytes(segment.read_bytes().replace(b'"number":4', b'"number":9'))


def delete_line(chain: Path) -> None:
    segment = chains.segments(chain)[1]
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(lines[0] + lines[2])


def reorder(chain: Path) -> None:
    segment = chains.segments(chain)[1]
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(lines[0] + lines[2] + lines[1])


def insert(chain: Path) -> None:
    segment = chains.segments(chain)[1]
    lines = segment.read_bytes().splitlines(keepends=True)
    forged, _ = linked(5, chains.parse(lines[0][:-1]).hash, event(99))
    segment.write_bytes(lines[0] + forged + lines[1] + lines[2])


def forge_rest_of_segment(chain: Path) -> None:
    """Edit a record and compute every hash of the segment anew."""
    segment = chains.segments(chain)[1]
    first = chains.parse(segment.read_bytes().splitlines()[0])
    prev, content = first.prev, b""
    for number in range(3):
        line, prev = linked(first.seq + number, prev, event(77 + number))
        content += line
    segment.write_bytes(content)


def truncate_sealed(chain: Path) -> None:
    segment = chains.segments(chain)[1]
    os.truncate(segment, segment.read_bytes().rindex(b"\n", 0, -1) + 1)


def truncate_sealed_inside_a_line(chain: Path) -> None:
    os.truncate(chains.segments(chain)[1], chains.segments(chain)[1].stat().st_size - 5)


def truncate_newest(chain: Path) -> None:
    segment = chains.segments(chain)[-1]
    os.truncate(segment, segment.read_bytes().rindex(b"\n", 0, -1) + 1)


def empty_newest(chain: Path) -> None:
    os.truncate(chains.segments(chain)[-1], 0)


def delete_first(chain: Path) -> None:
    chains.segments(chain)[0].unlink()


def delete_middle(chain: Path) -> None:
    chains.segments(chain)[2].unlink()


def delete_newest(chain: Path) -> None:
    chains.segments(chain)[-1].unlink()


def delete_head(chain: Path) -> None:
    (chain / "head").unlink()


def swap_names(chain: Path) -> None:
    _, first, second, _ = chains.segments(chain)
    first.rename(chain / "kept")
    second.rename(first)
    (chain / "kept").rename(second)


def misname(chain: Path) -> None:
    segment = chains.segments(chain)[-1]
    segment.rename(chain / chains.segment_name(11, chains.segment_day(segment)))


@pytest.mark.parametrize(
    ("harm", "segment", "line", "what"),
    [
        (edit, 1, 2, "hash does not fit"),
        (delete_line, 1, 2, "number 6 where 5 belongs"),
        (reorder, 1, 2, "number 6 where 5 belongs"),
        (insert, 1, 3, "number 5 where 6 belongs"),
        (forge_rest_of_segment, 2, 1, "does not continue"),
        (truncate_sealed, 2, 1, "number 7 where 6 belongs"),
        (truncate_sealed_inside_a_line, 1, 3, "middle of a record"),
        (truncate_newest, None, 0, "ends with record 11, but 12 was acknowledged"),
        (empty_newest, None, 0, "ends with record 9, but 12 was acknowledged"),
        (delete_first, 1, 1, "no retention explains why records up to 3 are gone"),
        (delete_middle, 3, 1, "number 10 where 7 belongs"),
        (delete_newest, None, 0, "ends with record 9, but 12 was acknowledged"),
        (delete_head, None, 0, "head is missing"),
        (swap_names, 1, 1, "name does not fit"),
        (misname, 3, 1, "name does not fit"),
    ],
)
def test_harm_is_found_at_its_first_place(
    chain: Path, harm: Callable[[Path], None], segment: int | None, line: int, what: str
) -> None:
    names = [path.name for path in chains.segments(chain)]
    harm(chain)
    (report,) = verify(chain.parent).chains
    assert report.problem
    assert what in report.problem.what
    if segment is not None and harm is not misname:
        assert report.problem.segment == names[segment]
    assert report.problem.line == line


async def index(chain: Path) -> None:
    await RecordingReader(chain.parent).sessions(SessionFilter())


def set_head(chain: Path, head: Head) -> None:
    descriptor = os.open(chain / "head", os.O_WRONLY)
    chains.write_head(descriptor, head)
    os.close(descriptor)


async def test_a_cut_with_a_fitting_head_is_found_by_the_index(chain: Path) -> None:
    await index(chain)
    delete_newest(chain)
    last = chains.segments(chain)[-1]
    *_, (place, content) = chains.lines(last)
    line = chains.parse(content)
    set_head(chain, Head(line.seq, line.hash, last.name, place.start, place.end))
    (report,) = verify(chain.parent).chains
    assert report.problem
    assert "the index has seen 12" in report.problem.what


async def test_a_chain_written_anew_is_found_by_the_index(chain: Path, tmp_path: Path) -> None:
    await index(chain)
    for segment in chains.segments(chain):
        segment.unlink()
    prev, content, start = FIRST_PREV, b"", 0
    for number in range(12):
        start = len(content)
        line, prev = linked(number + 1, prev, event(number + 50))
        content += line
    name = chains.segment_name(1, "2026-01-01")
    (chain / name).write_bytes(content)
    set_head(chain, Head(12, prev, name, start, len(content)))
    (report,) = verify(tmp_path).chains
    assert report.problem
    assert "not the record 12 that was seen by the index" in report.problem.what


async def test_a_whole_chain_that_is_gone_is_found_by_the_index(chain: Path) -> None:
    await index(chain)
    shutil.rmtree(chain)
    found = verify(chain.parent)
    assert not found.intact
    (report,) = found.chains
    assert report.problem
    assert "whole chain is gone" in report.problem.what


def test_what_a_crash_left_at_the_end_is_no_harm(chain: Path) -> None:
    with chains.segments(chain)[-1].open("ab") as file:
        file.write(b'{"seq":13,"prev":"')
    found = verify(chain.parent)
    assert found.intact
    assert found.chains[0].unacknowledged_bytes == 18


def test_it_verifies_while_it_is_written(tmp_path: Path) -> None:
    writer = claim(tmp_path, segment_bytes=5000)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            writer.append([event(number), event(number + 1)])
            number += 2

    thread = threading.Thread(target=write)
    thread.start()
    try:
        records = 0
        while records < 2000:
            (report,) = verify(tmp_path).chains
            assert report.problem is None
            assert report.records >= records
            records = report.records
    finally:
        stop.set()
        thread.join()
        writer.close()


def test_progress_is_told_in_bytes(chain: Path) -> None:
    told: list[int] = []
    verify(chain.parent, told.append)
    assert told == [segment.stat().st_size for segment in chains.segments(chain)]
