"""Find recorded sessions and read them, while others write."""

from __future__ import annotations

import asyncio
import base64
import binascii
from pathlib import Path

import msgspec

from keystile.model.errors import InvalidRequestError, NotFoundError, RefusedError
from keystile.recording import chain as chains
from keystile.recording import index
from keystile.recording.chain import BrokenLineError, Line
from keystile.recording.events import Event, EventKind

_SELECT = """
SELECT s.session, s.agent, s.first_at, s.last_at,
  (SELECT COUNT(*) FROM events e
   WHERE e.session = s.session AND e.agent = s.agent AND e.kind = 'intent'),
  (SELECT COUNT(*) FROM events e
   WHERE e.session = s.session AND e.agent = s.agent AND e.kind = 'refused'),
  (SELECT COUNT(*) FROM events e
   WHERE e.session = s.session AND e.agent = s.agent AND e.kind = 'approval_requested')
FROM sessions s
"""
_ORDER = "ORDER BY s.last_at DESC, s.session DESC, s.agent DESC LIMIT ?"


class SessionFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which sessions to list; an empty field lets all pass.

    `since` and `until` are UTC epoch seconds; a session fits when it overlaps them. `effect`,
    `kind` and `text` ask for a session with such an event; `text` is looked for, whatever its
    case, in SQL, messages, tables and masked columns.
    """

    agent: str = ""
    since: float | None = None
    until: float | None = None
    effect: str = ""
    kind: EventKind | None = None
    text: str = ""


class SessionSummary(msgspec.Struct, frozen=True):
    """One agent's doings under one session id. Times are UTC epoch seconds."""

    id: str
    agent: str
    started_at: float
    last_at: float
    queries: int
    refused: int
    approvals: int


class SessionPage(msgspec.Struct, frozen=True):
    """Some sessions, newest first; `cursor` asks for the next ones and is empty at the end."""

    sessions: tuple[SessionSummary, ...]
    cursor: str = ""


class Recorded(msgspec.Struct, frozen=True):
    """An event and where it stands: its chain and its number there."""

    chain: str
    seq: int
    event: Event


class RecordingReader:
    """Reads a recording folder. It shows only what was acknowledged to its writer."""

    def __init__(self, folder: Path) -> None:
        """Read `folder`, which may not exist yet."""
        self._folder = folder

    async def sessions(
        self, wanted: SessionFilter, *, cursor: str = "", limit: int = 50
    ) -> SessionPage:
        """List sessions, latest activity first. Raises `InvalidRequestError` for a bad cursor."""
        return await asyncio.to_thread(self._sessions, wanted, cursor, limit)

    async def session(self, id: str, *, agent: str = "") -> tuple[Recorded, ...]:  # noqa: A002 - the field's own name
        """Give every event of a session in the order of time, of one agent or of all.

        Raises `NotFoundError`; `RefusedError` when a record was altered or is gone.
        """
        return await asyncio.to_thread(self._session, id, agent)

    def _sessions(self, wanted: SessionFilter, cursor: str, limit: int) -> SessionPage:
        where, values = _conditions(wanted)
        if cursor:
            where.append("(s.last_at, s.session, s.agent) < (?, ?, ?)")
            values += _read_cursor(cursor)
        condition = f"WHERE {' AND '.join(where)}" if where else ""
        query = f"{_SELECT} {condition} {_ORDER}"
        with index.opened(self._folder) as connection:
            rows = connection.execute(query, (*values, limit + 1)).fetchall()
        found = tuple(SessionSummary(*row) for row in rows[:limit])
        more = len(rows) > limit
        return SessionPage(found, _write_cursor(found[-1]) if more and found else "")

    def _session(self, id_: str, agent: str) -> tuple[Recorded, ...]:
        with index.opened(self._folder) as connection:
            rows = connection.execute(
                "SELECT chain, seq, segment, start, end FROM events WHERE session = ? "
                "AND (agent = ? OR ? = '') ORDER BY at, chain, seq",
                (id_, agent, agent),
            ).fetchall()
        if not rows or not id_:
            raise NotFoundError(f"there is no recorded session `{id_}`", hint="list the sessions")
        return tuple(read_record(self._folder, row[0], row[1], row[2:]) for row in rows)


def read_line(folder: Path, chain: str, seq: int, place: tuple[str, int, int]) -> Line:
    """Read one line from its place: its segment, and where it starts and ends there in bytes.

    Raises `RefusedError` when it was altered or is gone.
    """
    segment, start, end = place
    try:
        with (folder / chain / segment).open("rb") as file:
            file.seek(start)
            line = chains.parse(file.read(end - start).removesuffix(b"\n"))
        chains.follows(line, seq - 1, line.prev)
    except (OSError, BrokenLineError) as error:
        raise RefusedError(
            f"record {seq} of `{chain}/{segment}` is gone or was altered",
            hint="run `keystile audit verify`",
        ) from error
    return line


def read_record(folder: Path, chain: str, seq: int, place: tuple[str, int, int]) -> Recorded:
    """Read one record from its place. Raises `RefusedError` as `read_line` does."""
    line = read_line(folder, chain, seq, place)
    return Recorded(chain, seq, msgspec.json.decode(line.event, type=Event))


def _conditions(wanted: SessionFilter) -> tuple[list[str], list[object]]:
    where: list[str] = []
    values: list[object] = []
    for condition, value in (
        ("s.agent = ?", wanted.agent or None),
        ("s.last_at >= ?", wanted.since),
        ("s.first_at <= ?", wanted.until),
    ):
        if value is not None:
            where.append(condition)
            values.append(value)
    of_event = [
        (condition, value)
        for condition, value in (
            ("e.effect = ?", wanted.effect),
            ("e.kind = ?", wanted.kind),
            (r"e.text LIKE ? ESCAPE '\'", wanted.text and f"%{_escaped(wanted.text)}%"),
        )
        if value
    ]
    if of_event:
        conditions = " AND ".join(condition for condition, _ in of_event)
        where.append(
            "EXISTS (SELECT 1 FROM events e WHERE e.session = s.session AND e.agent = s.agent "  # noqa: S608 - constants only; values are bound
            f"AND {conditions})"
        )
        values += [value for _, value in of_event]
    return where, values


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _write_cursor(last: SessionSummary) -> str:
    return base64.urlsafe_b64encode(
        msgspec.json.encode((last.last_at, last.id, last.agent))
    ).decode()


def _read_cursor(cursor: str) -> tuple[float, str, str]:
    try:
        return msgspec.json.decode(
            base64.b64decode(cursor, altchars="-_", validate=True), type=tuple[float, str, str]
        )
    except (binascii.Error, ValueError) as error:
        raise InvalidRequestError(
            "the cursor is not one that was given out", hint="list from the start again"
        ) from error
