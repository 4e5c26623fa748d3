from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from keystile.recording import chain as chains
from keystile.recording.events import Event, EventKind
from keystile.recording.own_events import RecoveredBody
from keystile.recording.writer import BrokenChainError, ChainWriter, canonical, claim, take

NOON = 1_767_182_400.0  # 2025-12-31 12:00 UTC


def event(number: int) -> bytes:
    return canonical(Event(EventKind.VIEWED, NOON, body={"number": number}))


def numbers(chain: Path) -> list[object]:
    """Read the whole chain, checking it, and give the events' numbers."""
    found, seq, prev = [], 0, chains.FIRST_PREV
    for segment in chains.segments(chain):
        for _, content in chains.lines(segment):
            line = chains.parse(content)
            chains.follows(line, seq, prev)
            seq, prev = line.seq, line.hash
            decoded = msgspec.json.decode(line.event, type=Event)
            found.append(decoded.body.get("number", decoded.kind))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "recordings"


def test_a_restart_resumes_the_chain(folder: Path) -> None:
    first = claim(folder, segment_bytes=1 << 20)
    assert first.append([event(1), event(2)]) == [1, 2]
    first.close()
    second = claim(folder, segment_bytes=1 << 20)
    assert (second.chain, second.append([event(3)])) == (first.chain, [3])
    second.close()
    assert numbers(second.folder) == [1, 2, 3]
    assert len(chains.segments(second.folder)) == 1


def test_two_writers_never_share_a_chain(folder: Path) -> None:
    first = claim(folder, segment_bytes=1 << 20)
    second = claim(folder, segment_bytes=1 << 20)
    assert first.chain != second.chain
    assert take(first.folder, segment_bytes=1 << 20) is None
    first.close()
    third = claim(folder, segment_bytes=1 << 20)
    assert third.chain == first.chain
    second.close()
    third.close()


def test_a_full_segment_and_a_new_day_start_another(folder: Path) -> None:
    now = NOON
    writer = claim(folder, segment_bytes=600, clock=lambda: now)
    for number in range(6):
        writer.append([event(number)])
    now += 86_400
    writer.append([event(6)])
    names = [path.name for path in chains.segments(writer.folder)]
    assert names == [
        "000000000001-2025-12-31.jsonl",
        "000000000004-2025-12-31.jsonl",
        "000000000007-2026-01-01.jsonl",
    ]
    assert numbers(writer.folder) == list(range(7))
    writer.close()


@pytest.mark.parametrize("tail", [b"{", b'{"seq":3,"prev":"', b"\x00" * 4096, b"\n\n", b"{}\n{}\n"])
def test_a_torn_end_is_cut_and_noted(folder: Path, tail: bytes) -> None:
    writer = claim(folder, segment_bytes=1 << 20)
    writer.append([event(1), event(2)])
    writer.close()
    (segment,) = chains.segments(writer.folder)
    with segment.open("ab") as file:
        file.write(tail)
    again = claim(folder, segment_bytes=1 << 20)
    again.append([event(4)])
    again.close()
    assert again.chain == writer.chain
    assert numbers(again.folder) == [1, 2, "recovered", 4]


def test_a_whole_unacknowledged_record_is_kept(folder: Path) -> None:
    """What `kill -9` between the write and the head leaves."""
    writer = claim(folder, segment_bytes=1 << 20)
    writer.append([event(1)])
    head = (writer.folder / "head").read_bytes()
    writer.append([event(2)])
    writer.close()
    (writer.folder / "head").write_bytes(head)
    again = claim(folder, segment_bytes=1 << 20)
    assert again.append([event(3)]) == [3]
    again.close()
    assert numbers(again.folder) == [1, 2, 3]


def test_an_empty_new_segment_left_by_a_crash_is_no_obstacle(folder: Path) -> None:
    writer = claim(folder, segment_bytes=1 << 20)
    writer.append([event(1)])
    writer.close()
    (writer.folder / chains.segment_name(2, "2030-01-01")).touch()
    again = claim(folder, segment_bytes=1 << 20)
    again.append([event(2)])
    again.close()
    assert numbers(again.folder) == [1, 2]


def truncate(chain: Path) -> None:
    os.truncate(chains.segments(chain)[-1], 0)


def remove_segment(chain: Path) -> None:
    chains.segments(chain)[-1].unlink()


def remove_head(chain: Path) -> None:
    (chain / "head").unlink()


def edit(chain: Path) -> None:
    segment = chains.segments(chain)[-1]
    segment.write_bytes(segment.read_bytes().replace(b'"number":2', b'"number":9'))


@pytest.mark.parametrize("harm", [truncate, remove_segment, remove_head, edit])
def test_a_chain_that_lost_something_acknowledged_is_left_alone(
    folder: Path, harm: Callable[[Path], None]
) -> None:
    writer = claim(folder, segment_bytes=1 << 20)
    writer.append([event(1), event(2)])
    writer.close()
    harm(writer.folder)
    with (
        pytest.raises(BrokenChainError)
        if harm is not remove_segment
        else pytest.raises(BrokenChainError, match="gone or altered")
    ):
        take(writer.folder, segment_bytes=1 << 20)
    again = claim(folder, segment_bytes=1 << 20)
    again.close()
    assert again.chain != writer.chain
    (segment,) = chains.segments(again.folder)
    ((_, content),) = chains.lines(segment)
    noted = msgspec.json.decode(chains.parse(content).event, type=Event)
    body = msgspec.convert(noted.body, RecoveredBody)
    assert (noted.kind, body.chain) == (EventKind.RECOVERED, writer.folder.name)


@pytest.mark.parametrize("put", ["nothing", "another file", "a folder"])
def test_nothing_is_written_to_a_segment_that_was_moved_away(folder: Path, put: str) -> None:
    writer = claim(folder, segment_bytes=1 << 20)
    writer.append([event(1)])
    segment = chains.segments(writer.folder)[0]
    segment.rename(folder / "moved")
    if put == "another file":
        segment.write_bytes((folder / "moved").read_bytes())
    elif put == "a folder":
        segment.mkdir()
    with pytest.raises(OSError, match=r"moved|No such file"):
        writer.append([event(2)])
    if put == "a folder":
        segment.rmdir()
    (folder / "moved").rename(segment)
    assert writer.append([event(3)]) == [2]
    writer.close()
    assert numbers(writer.folder) == [1, 3]


def test_a_segment_changed_under_the_writer_refuses(folder: Path) -> None:
    writer = claim(folder, segment_bytes=1 << 20)
    writer.append([event(1)])
    (segment,) = chains.segments(writer.folder)
    with segment.open("ab") as file:
        file.write(b"x")
    with pytest.raises(OSError, match="changed or moved"):
        writer.append([event(2)])
    os.truncate(segment, segment.stat().st_size - 1)
    assert writer.append([event(2)]) == [2]
    segment.unlink()
    with pytest.raises(FileNotFoundError):
        writer.append([event(3)])
    writer.close()


def test_a_failed_sync_is_repaired(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = claim(folder, segment_bytes=1 << 20)
    writer.append([event(1)])

    def fail(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        for _ in range(2):
            with pytest.raises(OSError, match="Input/output error"):
                writer.append([event(2)])
    assert writer.append([event(3)]) == [2]
    writer.close()
    assert numbers(writer.folder) == [1, 3]


def test_a_partial_write_is_repaired(folder: Path) -> None:
    """A real short write: the process's limit on file sizes, as on a full disk."""
    script = """
import resource, signal, sys
from pathlib import Path
from keystile.recording.events import Event, EventKind
from keystile.recording.writer import canonical, claim
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
writer = claim(Path(sys.argv[1]), segment_bytes=1 << 20)
event = lambda n: canonical(Event(EventKind.VIEWED, 1.0, body={"number": n, "text": "x" * 3000}))
writer.append([event(1)])
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
for _ in range(3):
    try:
        writer.append([event(2)])
    except OSError as error:
        print(error.strerror)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(writer.append([event(3)]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, folder], check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["File too large"] * 3 + ["[2]"]
    (chain,) = chains.chains(folder)
    assert numbers(chain) == [1, 3]


def test_a_folder_that_cannot_be_written_raises(tmp_path: Path) -> None:
    (tmp_path / "recordings").write_text("a file")
    with pytest.raises(OSError, match="exists"):
        claim(tmp_path / "recordings", segment_bytes=1)


def test_rows_given_as_raw_bytes_cannot_forge_a_line() -> None:
    raw = msgspec.Raw(b'{"f" :\n[{"v":"a"}] }')
    encoded = canonical(Event(EventKind.PAGE, 1.0, body={"rows": [raw]}))
    assert encoded == (
        b'{"agent":"","at":1.0,"body":{"rows":[{"f":[{"v":"a"}]}]},'
        b'"job":"","kind":"page","session":""}'
    )
    with pytest.raises(ValueError, match="JSON is malformed"):
        canonical(Event(EventKind.PAGE, 1.0, body={"rows": [msgspec.Raw(b'1}\n{"seq":2')]}))


def test_a_page_of_rows_is_recorded_without_being_held_as_objects() -> None:
    row = b'{"f":[' + b",".join([b'{"v":"abcdefgh"}'] * 64) + b"]}"
    rows = tuple(msgspec.Raw(row) for _ in range(4000))
    tracemalloc.start()
    try:
        encoded = canonical(Event(EventKind.PAGE, 1.0, body={"start": 0, "rows": rows}))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert msgspec.json.decode(encoded)["body"]["rows"] == [msgspec.json.decode(row)] * 4000
    assert most < 4 * len(encoded)


def test_a_long_event_is_written_whole(folder: Path) -> None:
    writer = claim(folder, segment_bytes=1 << 20)
    long = canonical(Event(EventKind.VIEWED, NOON, body={"number": 2, "text": "x" * (3 << 20)}))
    writer.append([event(1), long, event(3)])
    writer.append([event(4)])
    writer.close()
    assert numbers(writer.folder) == [1, 2, 3, 4]


def test_only_files_of_the_owner(folder: Path) -> None:
    writer: ChainWriter = claim(folder, segment_bytes=1 << 20)
    writer.append([event(1)])
    writer.close()
    modes = {path.stat().st_mode & 0o077 for path in [folder, *folder.rglob("*")]}
    assert modes == {0}
