"""A derived SQLite index beside the segments: made from them alone, safe to delete at any time.

It also remembers the newest record of each chain that it has seen, as a witness for `verify`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from keystile.recording import chain as chains
from keystile.recording.chain import BrokenLineError, Head
from keystile.recording.events import EventKind

INDEX_FILE = "index.sqlite"
_VERSION = 3
_BUSY_SECONDS = 30
_TABLES = """
CREATE TABLE chains (chain TEXT PRIMARY KEY, seq INTEGER, hash TEXT, segment TEXT, end INTEGER);
CREATE TABLE events (
  chain TEXT, seq INTEGER, segment TEXT, start INTEGER, end INTEGER,
  at REAL, session TEXT, agent TEXT, job TEXT, kind TEXT, effect TEXT, text TEXT,
  PRIMARY KEY (chain, seq)
) WITHOUT ROWID;
CREATE INDEX events_by_session ON events (session, agent, kind, effect);
CREATE INDEX events_of_connections ON events (at) WHERE kind = 'connection_changed';
CREATE INDEX events_asked ON events (at, chain, seq) WHERE kind IN ('intent', 'refused');
CREATE INDEX events_schema ON events (at, chain, seq) WHERE kind = 'schema';
CREATE INDEX events_of_job ON events (job) WHERE kind IN ('outcome', 'page');
CREATE TABLE sessions (
  session TEXT, agent TEXT, first_at REAL, last_at REAL, PRIMARY KEY (session, agent)
) WITHOUT ROWID;
CREATE INDEX sessions_by_time ON sessions (last_at DESC, session DESC, agent DESC);
"""
_INSERT_EVENT = "INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
# INVARIANT: a session's row stands for the events that name both a session and an agent.
_TOUCH_SESSION = """
INSERT INTO sessions VALUES (?, ?, ?, ?) ON CONFLICT (session, agent) DO UPDATE SET
first_at = MIN(first_at, excluded.first_at), last_at = MAX(last_at, excluded.last_at)
"""


class Witness(NamedTuple):
    """The newest record of a chain that the index has seen."""

    seq: int
    hash: str


class _Indexed(NamedTuple):
    """The newest record of a chain that is in the index, and where it ends in its segment."""

    seq: int
    hash: str
    segment: str
    end: int


class _Decision(msgspec.Struct):
    effect: str = ""


class _Body(msgspec.Struct):
    sql: str = ""
    message: str = ""
    tables: tuple[str, ...] = ()
    masked: tuple[str, ...] = ()
    decision: _Decision | None = None


class _Event(msgspec.Struct):
    kind: EventKind
    at: float
    body: _Body
    session: str = ""
    agent: str = ""
    job: str = ""


class _Loose(msgspec.Struct):
    """An event whose body has other fields than a query's under the same names."""

    kind: str
    at: float
    session: str = ""
    agent: str = ""
    job: str = ""


_decode = msgspec.json.Decoder(_Event).decode
_decode_loose = msgspec.json.Decoder(_Loose).decode


@contextmanager
def opened(folder: Path) -> Iterator[sqlite3.Connection]:
    """Give the index, caught up with all that is acknowledged.

    Where the index cannot be written, it is built in memory for this one use.
    """
    try:
        connection = _caught_up(folder, str(_file(folder)))
    except (OSError, sqlite3.DatabaseError):
        connection = _caught_up(folder, ":memory:")
    with closing(connection):
        yield connection


def witnesses(folder: Path) -> dict[str, Witness]:
    """Give what the index on disk remembers of each chain, and change nothing."""
    file = folder / INDEX_FILE
    if not file.exists():
        return {}
    try:
        with closing(
            sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)
        ) as connection:
            rows = connection.execute("SELECT chain, seq, hash FROM chains").fetchall()
    except sqlite3.Error:
        return {}
    return {chain: Witness(seq, digest) for chain, seq, digest in rows}


def _file(folder: Path) -> Path:
    file = folder / INDEX_FILE
    os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    return file


def _caught_up(folder: Path, file: str) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=_BUSY_SECONDS, isolation_level=None)
    try:
        # Losing the newest of a derived index harms nothing, so no sync on each commit.
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("BEGIN IMMEDIATE")
        _create_tables(connection)
        _catch_up(connection, folder)
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def _create_tables(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == _VERSION:
        return
    for table in ("chains", "events", "sessions"):
        connection.execute(f"DROP TABLE IF EXISTS {table}")
    for statement in _TABLES.split(";"):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version={_VERSION}")


def _catch_up(connection: sqlite3.Connection, folder: Path) -> None:
    for path in chains.chains(folder):
        # The head is read before the segments are listed, so that the list has its segment.
        head = chains.read_head(path)
        present = [segment.name for segment in chains.segments(path)]
        _forget_removed(connection, path.name, present)
        if head is not None and present:
            _follow(connection, path, head, present)


def _forget_removed(connection: sqlite3.Connection, chain: str, present: list[str]) -> None:
    """Drop the events of segments that retention took from the chain's beginning."""
    if not present:
        return
    gone = connection.execute(
        "DELETE FROM events WHERE chain = ? AND seq < ?",
        (chain, chains.segment_seq(Path(present[0]))),
    )
    if gone.rowcount:
        connection.execute("DELETE FROM sessions")
        connection.execute(
            "INSERT INTO sessions SELECT session, agent, MIN(at), MAX(at) FROM events "
            "WHERE session <> '' AND agent <> '' GROUP BY session, agent"
        )


def _follow(connection: sqlite3.Connection, path: Path, head: Head, present: list[str]) -> None:
    """Index what was acknowledged since, as far as the chain is intact."""
    found = connection.execute(
        "SELECT seq, hash, segment, end FROM chains WHERE chain = ?", (path.name,)
    ).fetchone()
    known = _Indexed(*found) if found else None
    if known is not None and known.seq >= head.seq:
        return
    newest: _Indexed | None = None
    for newest, start, event in _acknowledged(path, head, present, known):
        _insert(connection, (path.name, newest.seq, newest.segment, start, newest.end), event)
    if newest is not None:
        connection.execute(
            "INSERT OR REPLACE INTO chains VALUES (?, ?, ?, ?, ?)", (path.name, *newest)
        )


def _acknowledged(
    path: Path, head: Head, present: list[str], known: _Indexed | None
) -> Iterator[tuple[_Indexed, int, bytes]]:
    """Give each record after the `known` one, with where it starts and its event."""
    last = known or _Indexed(0, "", "", 0)
    for name in (name for name in present if name >= last.segment):
        start = last.end if name == last.segment else 0
        for place, content in chains.lines(path / name, start):
            try:
                line = chains.parse(content)
                if last.segment:
                    chains.follows(line, last.seq, last.hash)
            except BrokenLineError:
                return
            if line.seq > head.seq:
                return
            last = _Indexed(line.seq, line.hash, name, place.end)
            yield last, place.start, bytes(line.event)


def _insert(
    connection: sqlite3.Connection, row: tuple[str, int, str, int, int], content: bytes
) -> None:
    effect = text = ""
    event: _Event | _Loose
    try:
        event = _decode(content)
        effect = event.body.decision.effect if event.body.decision else ""
        body = event.body
        text = "\n".join(filter(None, (body.sql, body.message, *body.tables, *body.masked)))
    except msgspec.ValidationError:
        event = _decode_loose(content)
    values = (*row, event.at, event.session, event.agent, event.job, event.kind, effect, text)
    connection.execute(_INSERT_EVENT, values)
    if event.session and event.agent:
        connection.execute(_TOUCH_SESSION, (event.session, event.agent, event.at, event.at))
