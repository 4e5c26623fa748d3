"""Sessions: what queries of one agent leave for those after them, such as temporary tables.

BigQuery keeps it; the gateway keeps the texts that made it, so that it knows what a later text
names. INVARIANT: every query here names the owner, so that a session of another is never joined.
INVARIANT: one job at a time runs in a session, so that what it holds is known when the next is
decided on; where that is not sure any more, the session ends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any
from uuid import uuid4

import msgspec
from sqlalchemy import ColumnElement, Row, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from keystile.analysis.statement import Earlier
from keystile.gate.jobs import Job
from keystile.model.errors import NotFoundError, RefusedError
from keystile.model.principal import Principal, agent_of
from keystile.store.database import Database
from keystile.store.tables import query_sessions
from keystile.upstream.values import NOBODY, Account
from keystile.wire.requests import QueryRequest

_KEPT_SECONDS = 8 * 24 * 3600
"""BigQuery ends a session after seven days at the latest."""

_ANEW = "begin another session"


class SessionBusyError(RefusedError):
    """Another job is in the session."""


class QuerySession(msgspec.Struct, frozen=True):
    """A session as its owner's next query finds it.

    `id` is the word that its agent has for it and `upstream` BigQuery's own, which is empty until
    there is one. All of its queries have the same default dataset and run in one place. `version`
    counts its jobs. INVARIANT: all of them run under the `account` that began it.
    """

    id: str
    location: str
    default: tuple[str, str]
    upstream: str = ""
    texts: tuple[Earlier, ...] = ()
    version: int = 0
    account: Account = NOBODY


class Left(msgspec.Struct, frozen=True):
    """What a job leaves in its session, if it ends well; nothing without a text.

    `several` tells that it may leave some of it though it fails.
    """

    text: Earlier | None = None
    several: bool = False


class QuerySessions:
    """The table of sessions."""

    def __init__(self, database: Database) -> None:
        """Read from an open database."""
        self._database = database

    async def of(self, principal: Principal, request: QueryRequest) -> QuerySession | None:
        """Give the session that a request is to run in, or a new one; None for no such wish.

        Raises `NotFoundError` for a session that is absent, or another agent's, in the same words,
        and `RefusedError` where nothing can run in it.
        """
        default = (request.default_project, request.default_dataset)
        if request.creates_session and not request.session:
            return QuerySession(uuid4().hex, request.location, default)
        if not request.session:
            return None
        row = await self._find(principal.key, request)
        if row is None:
            message = f"Not found: Session {request.session[:100]}"
            raise NotFoundError(message, hint="begin one with `createSession`")
        if row.broken:
            raise RefusedError(
                f"the job `{row.broken}` has failed in this session, so that it is not known what"
                " is there",
                hint=_ANEW,
            )
        session = _session_of(row)
        if session.default != default:
            raise RefusedError(
                "this session began with another `defaultDataset`", hint="use the same in all of it"
            )
        if request.location.lower() not in {"", session.location.lower()}:
            raise RefusedError(
                f"this session runs in `{session.location}`", hint="leave the location out"
            )
        return session

    async def refuse_busy(self, session: QuerySession, job: Job) -> None:
        """Raise `RefusedError` where another job is in it, or was since the session was read."""
        if job.request.creates_session:
            return
        async with self._database.read() as connection:
            query = select(query_sessions.c.id).where(*_free(session, job))
            if (await connection.execute(query)).first() is None:
                raise _busy()

    @staticmethod
    async def take(
        connection: AsyncConnection, session: QuerySession, job: Job, left: Left
    ) -> None:
        """Take a session for a job. A new one begins with it.

        INVARIANT: `connection` makes the job durable in the same transaction. So whatever ends a
        process, a session is in no job that nobody knows of. Raises as `refuse_busy` does.
        """
        values = {"busy": job.id, "pending": _text(left)}
        if job.request.creates_session:
            now = time.time()
            old = query_sessions.c.created_at < now - _KEPT_SECONDS
            await connection.execute(delete(query_sessions).where(old))
            row = _row(session, job) | {"created_at": now} | values
            await connection.execute(insert(query_sessions).values(**row))
            return
        taken = await connection.execute(
            update(query_sessions)
            .where(*_free(session, job))
            .values(version=session.version + 1, **values)
        )
        if not taken.rowcount:
            raise _busy()

    async def ended(self, job: Job, *, well: bool) -> None:
        """Give a session back at the end of its job; a second time changes nothing."""
        if not job.request.session:
            return
        mine = (query_sessions.c.id == job.request.session, query_sessions.c.busy == job.id)
        async with self._database.begin() as connection:
            row = (await connection.execute(select(query_sessions).where(*mine))).first()
            if row is None:
                return
            left = msgspec.json.decode(row.pending, type=Left)
            texts = _session_of(row).texts
            values: dict[str, Any] = {"busy": "", "pending": ""}
            if left.text and well:
                values["texts"] = _text((*texts, left.text))
            elif left.text and left.several:
                values["broken"] = job.job_id
            await connection.execute(update(query_sessions).where(*mine).values(**values))

    async def end_of(
        self, agents: Collection[str], abort: Callable[[str, QuerySession], Awaitable[None]]
    ) -> None:
        """End every session of these agents in which nothing runs: nobody enters it again.

        `abort` ends one at BigQuery, in a project. INVARIANT: a session is known here until that
        has been done; what it raises is raised once all others were tried.
        """
        theirs = await self.of_agents(agents)
        query = select(query_sessions).where(
            query_sessions.c.id.in_(theirs), query_sessions.c.busy == ""
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all() if theirs else []
        ends = [self._end(row, abort) for row in rows]
        for ended in await asyncio.gather(*ends, return_exceptions=True):
            if ended is not None:
                raise ended

    async def _end(
        self, row: Row[Any], abort: Callable[[str, QuerySession], Awaitable[None]]
    ) -> None:
        session = _session_of(row)
        if session.upstream and row.created_at > time.time() - _KEPT_SECONDS:
            await abort(row.project, session)
        gone = (query_sessions.c.id == row.id, query_sessions.c.busy == "")
        async with self._database.begin() as connection:
            await connection.execute(delete(query_sessions).where(*gone))

    async def of_agents(self, agents: Collection[str]) -> list[str]:
        """Give the ids of all sessions of these agents."""
        query = select(query_sessions.c.id, query_sessions.c.owner)
        async with self._database.read() as connection:
            rows = await connection.execute(query)
            return [row.id for row in rows if agent_of(row.owner) in agents]

    async def _find(self, owner: str, request: QueryRequest) -> Row[Any] | None:
        query = select(query_sessions).where(
            query_sessions.c.owner == owner,
            query_sessions.c.project == request.project,
            query_sessions.c.id == request.session,
        )
        async with self._database.read() as connection:
            return (await connection.execute(query)).first()


def _free(session: QuerySession, job: Job) -> tuple[ColumnElement[bool], ...]:
    return (
        query_sessions.c.id == session.id,
        query_sessions.c.owner == job.principal.key,
        query_sessions.c.busy == "",
        query_sessions.c.broken == "",
        query_sessions.c.version == session.version,
    )


def _busy() -> SessionBusyError:
    return SessionBusyError(
        "another job runs in this session", hint="wait for its end, then run this one"
    )


def _row(session: QuerySession, job: Job) -> dict[str, Any]:
    return {
        "id": session.id,
        "owner": job.principal.key,
        "project": job.request.project,
        "location": session.location,
        "upstream": session.upstream,
        "account": _text(session.account),
        "default_project": session.default[0],
        "default_dataset": session.default[1],
        "texts": _text(session.texts),
        "version": session.version,
    }


def _session_of(row: Row[Any]) -> QuerySession:
    return QuerySession(
        row.id,
        row.location,
        (row.default_project, row.default_dataset),
        row.upstream,
        msgspec.json.decode(row.texts, type=tuple[Earlier, ...]),
        row.version,
        msgspec.json.decode(row.account, type=Account),
    )


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
