"""Approval requests in the control store, safe against two people deciding at the same time."""

from __future__ import annotations

import secrets
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from keystile.approvals.machine import (
    ApprovalRequest,
    ApprovalState,
    Person,
    Summary,
    TouchedColumn,
    Vote,
    cast,
    close,
)
from keystile.model.decision import ApprovalDemand
from keystile.model.errors import NotFoundError, RefusedError
from keystile.model.principal import Principal
from keystile.store.database import Database
from keystile.store.tables import agents, approval_requests, approval_votes

__all__ = [
    "ApprovalRequest",
    "ApprovalState",
    "Approvals",
    "Person",
    "Summary",
    "TouchedColumn",
    "Vote",
]

_ANY_DUE = "SELECT 1 FROM approval_requests WHERE state = ? AND expires_at <= ? LIMIT 1"
_PENDING = approval_requests.c.state == ApprovalState.PENDING


class Approvals:
    """Every approval request.

    INVARIANT: each change reads, decides and writes in one writing transaction of the store, so
    that votes of several processes count as if they came one after the other.
    """

    def __init__(self, database: Database) -> None:
        """Keep them in `database`."""
        self._database = database

    async def open(  # noqa: PLR0913 - these are the request's own fields
        self,
        *,
        job: str,
        digest: str,
        session: str,
        principal: Principal,
        summary: Summary,
        demand: ApprovalDemand,
        now: float,
    ) -> ApprovalRequest:
        """Ask for one demand of a job; asking again while it is pending gives the same request."""
        request = ApprovalRequest(
            id=secrets.token_hex(6),
            job=job,
            digest=digest,
            session=session,
            principal=principal,
            summary=summary,
            demand=demand,
            state=ApprovalState.PENDING,
            requested_at=now,
            expires_at=now + demand.expires_seconds,
        )
        async with self._database.begin() as connection:
            for known in await _load(connection, _PENDING, approval_requests.c.job == job):
                if (known.digest, known.demand) == (digest, demand):
                    return known
            await connection.execute(insert(approval_requests).values(_row(request)))
        return request

    async def list(
        self, state: ApprovalState | None = None, *, limit: int = 1000
    ) -> tuple[ApprovalRequest, ...]:
        """List requests: those pending oldest first, all others newest first."""
        asked = approval_requests.c.requested_at
        order = asked if state is ApprovalState.PENDING else asked.desc()
        where = [] if state is None else [approval_requests.c.state == state]
        async with self._database.read() as connection:
            return await _load(connection, *where, order=order, limit=limit)

    async def get(self, id: str) -> ApprovalRequest:  # noqa: A002 - the field's own name
        """Give one request. Raises `NotFoundError`."""
        async with self._database.read() as connection:
            return await _one(connection, id)

    async def for_job(self, job: str) -> tuple[ApprovalRequest, ...]:
        """List a job's requests, oldest first: one for each demand and each plan of it."""
        async with self._database.read() as connection:
            return await _load(connection, approval_requests.c.job == job)

    async def vote(  # noqa: PLR0913 - these are the vote's own fields
        self,
        id: str,  # noqa: A002 - the field's own name
        person: Person,
        *,
        approve: bool,
        comment: str,
        via: str,
        now: float,
    ) -> ApprovalRequest:
        """Count `person`'s vote and give the request as it then stands.

        Raises `NotFoundError`; `RefusedError` when the vote does not count (see `machine.cast`).
        """
        vote = Vote(person.name, approve, comment, via, now)
        async with self._database.begin() as connection:
            request = await _one(connection, id)
            # Those of other issuers are called what their issuers like, which bars nobody.
            own = (agents.c.issuer == "") & (agents.c.subject == person.name)
            named_so = select(agents.c.name).where(own)
            if (await connection.execute(named_so)).first():
                raise RefusedError(f"`{person.name}` is an agent, and agents decide nothing")
            voted = cast(request, person, vote)
            mine = (approval_votes.c.request == id) & (approval_votes.c.person == person.name)
            await connection.execute(delete(approval_votes).where(mine))
            values = {"request": id, **msgspec.structs.asdict(vote)}
            await connection.execute(insert(approval_votes).values(values))
            await _save_state(connection, voted)
        return voted

    async def cancel_for_job(self, job: str, now: float) -> tuple[ApprovalRequest, ...]:
        """Close what is still pending of a job that nobody waits for; give what was closed."""
        return await self._close(ApprovalState.CANCELLED, now, approval_requests.c.job == job)

    async def expire_due(self, now: float) -> tuple[ApprovalRequest, ...]:
        """Close every pending request whose time is over; give what this call closed."""
        if not self._database.look_up(_ANY_DUE, (ApprovalState.PENDING.value, now)):
            return ()
        return await self._close(ApprovalState.EXPIRED, now, approval_requests.c.expires_at <= now)

    async def _close(
        self, state: ApprovalState, now: float, *where: ColumnElement[bool]
    ) -> tuple[ApprovalRequest, ...]:
        # Most calls find nothing, and then no writer needs to wait for this one.
        async with self._database.read() as connection:
            if not await _load(connection, _PENDING, *where, limit=1):
                return ()
        async with self._database.begin() as connection:
            due = await _load(connection, _PENDING, *where)
            closed = tuple(close(request, state, now) for request in due)
            for request in closed:
                await _save_state(connection, request)
        return closed


async def _save_state(connection: AsyncConnection, request: ApprovalRequest) -> None:
    await connection.execute(
        update(approval_requests)
        .where(approval_requests.c.id == request.id)
        .values(state=request.state, closed_at=request.closed_at)
    )


async def _one(connection: AsyncConnection, request: str) -> ApprovalRequest:
    found = await _load(connection, approval_requests.c.id == request)
    if not found:
        raise NotFoundError(
            f"there is no approval request `{request}`", hint="list them to see their ids"
        )
    return found[0]


async def _load(
    connection: AsyncConnection,
    *where: ColumnElement[bool],
    order: ColumnElement[Any] = approval_requests.c.requested_at,
    limit: int | None = None,
) -> tuple[ApprovalRequest, ...]:
    query = select(approval_requests).where(*where).order_by(order, approval_requests.c.id)
    rows = (await connection.execute(query.limit(limit))).all()
    votes: dict[str, list[Vote]] = {row.id: [] for row in rows}
    # In parts, since SQLite bounds how many parameters one statement has.
    ids = list(votes)
    for first in range(0, len(ids), 500):
        theirs = approval_votes.c.request.in_(ids[first : first + 500])
        found = select(approval_votes).where(theirs).order_by(approval_votes.c.at)
        for row in await connection.execute(found):
            vote = Vote(row.person, row.approve, row.comment, row.via, row.at)
            votes[row.request].append(vote)
    return tuple(_request(row, tuple(votes[row.id])) for row in rows)


def _request(row: Row[Any], votes: tuple[Vote, ...]) -> ApprovalRequest:
    return ApprovalRequest(
        id=row.id,
        job=row.job,
        digest=row.digest,
        session=row.session,
        principal=msgspec.json.decode(row.principal, type=Principal),
        summary=msgspec.json.decode(row.summary, type=Summary),
        demand=msgspec.json.decode(row.demand, type=ApprovalDemand),
        state=ApprovalState(row.state),
        requested_at=row.requested_at,
        expires_at=row.expires_at,
        closed_at=row.closed_at,
        votes=votes,
    )


def _row(request: ApprovalRequest) -> dict[str, object]:
    values = msgspec.structs.asdict(request)
    del values["votes"]
    for name in ("principal", "summary", "demand"):
        values[name] = msgspec.json.encode(values[name]).decode()
    return values
