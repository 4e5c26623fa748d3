"""The jobs of one owner, found and listed from the gateway's own store.

INVARIANT: every query here names the owner, so that no job of another is ever seen.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, and_, or_, select

from keystile.gate.job_rows import job_of
from keystile.gate.jobs import Job, JobState
from keystile.model.errors import InvalidRequestError
from keystile.store.database import Database
from keystile.store.tables import jobs
from keystile.upstream.values import Account
from keystile.wire.requests import JobsRequest

_A_PAGE, _LARGEST_PAGE = 50, 1000

_STATES = {
    "pending": (JobState.PENDING,),
    "running": (JobState.READY, JobState.RUNNING),
    "done": (JobState.DONE,),
}


class _Token(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last job of a page. It grants nothing: what follows it is the reader's own."""

    at: float
    id: str


class OwnJobs:
    """Reads the jobs table for one owner at a time."""

    def __init__(self, database: Database) -> None:
        """Read from an open database."""
        self._database = database

    async def page(
        self, owner: str, project: str, asked: JobsRequest
    ) -> tuple[tuple[Job, ...], str]:
        """Give a page of jobs, newest first, and the token of the next one or an empty text.

        They are the statements of `asked.parent`, and where that is empty none of any script.

        Raises `InvalidRequestError` for a token that is not understood.
        """
        size = min(asked.max_results or _A_PAGE, _LARGEST_PAGE)
        query = (
            select(jobs)
            .where(jobs.c.owner == owner, jobs.c.project == project, *_conditions(asked))
            .order_by(jobs.c.created_at.desc(), jobs.c.id.desc())
            .limit(size + 1)
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        found = tuple(job_of(row) for row in rows[:size])
        return found, _token(found[-1]) if len(rows) > size else ""

    async def by_id(self, owner: str, id_: str) -> Job | None:
        """Give the owner's job that is called `id_` inside the gateway."""
        return await self._first(owner, jobs.c.id == id_)

    async def newest(self, owner: str, project: str, prefix: str) -> Job | None:
        """Give the owner's newest job whose id begins so; `prefix` has letters and digits only."""
        return await self._first(
            owner, jobs.c.project == project, jobs.c.job_id.startswith(prefix, autoescape=True)
        )

    async def newest_result(self, owner: str, project: str, account: Account) -> Job | None:
        """Give the owner's newest job whose result BigQuery keeps for an account, among some."""
        for job in (await self.page(owner, project, JobsRequest(state="done")))[0]:
            request, outcome = job.request, job.outcome
            beside = request.transfer or request.into or request.session
            selects = job.plan.facts.statement == "SELECT" and job.account == account
            if outcome and selects and not beside:
                return job
        return None

    async def _first(self, owner: str, *conditions: ColumnElement[bool]) -> Job | None:
        query = (
            select(jobs)
            .where(jobs.c.owner == owner, *conditions)
            .order_by(jobs.c.created_at.desc())
            .limit(1)
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).first()
        return job_of(row) if row else None


def _conditions(asked: JobsRequest) -> list[ColumnElement[bool]]:
    found: list[Any] = [jobs.c.parent == asked.parent]
    if asked.state:
        found.append(jobs.c.state.in_([state.value for state in _STATES[asked.state]]))
    if asked.created_from is not None:
        found.append(jobs.c.created_at >= asked.created_from / 1000)
    if asked.created_until is not None:
        # Clients see whole milliseconds, so the last one belongs to it as a whole.
        found.append(jobs.c.created_at < (asked.created_until + 1) / 1000)
    if asked.page_token:
        last = _read(asked.page_token)
        same_time = and_(jobs.c.created_at == last.at, jobs.c.id < last.id)
        found.append(or_(jobs.c.created_at < last.at, same_time))
    return found


def _token(job: Job) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(_Token(job.created_at, job.id))).decode()


def _read(token: str) -> _Token:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(token.encode()), type=_Token)
    except (msgspec.MsgspecError, binascii.Error, ValueError) as error:
        raise InvalidRequestError("`pageToken` is not one of this gateway's") from error
