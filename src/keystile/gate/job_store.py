"""The jobs table: who owns each job, where it stands, and which replica carries it on.

INVARIANT: a row is written before the client hears of the job, and `done` is written only after
the outcome's record is durable.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from sqlalchemy import Row, Select, and_, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from keystile.gate import ledger
from keystile.gate.job_rows import end_of, job_of, row_of, text
from keystile.gate.jobs import Job, JobOutcome, JobState
from keystile.gate.plan import Plan
from keystile.model.errors import DuplicateError, NotFoundError
from keystile.model.principal import agent_of
from keystile.store.database import Database
from keystile.store.tables import jobs
from keystile.wire.responses import JobError

_REQUEST_ID_SECONDS = 15 * 60  # BigQuery's jobs.query `requestId` is honoured for 15 minutes.
_ANY_OF_STATE = "SELECT 1 FROM jobs WHERE state = ? LIMIT 1"


class JobStore:
    """The jobs table."""

    def __init__(self, database: Database, replica: str, lease_seconds: float = 15.0) -> None:
        """Act for one replica, whose leases last `lease_seconds` unless renewed."""
        self._database = database
        self._replica = replica
        self._lease_seconds = lease_seconds

    async def add(
        self, job: Job, beside: Callable[[AsyncConnection], Awaitable[None]] | None = None
    ) -> Job:
        """Make an accepted job durable, leased to this replica, with what is written `beside` it.

        Gives the job that counts: an earlier one of the same `requestId` where there is one, for a
        client may repeat a request while the first is still being planned. Raises `DuplicateError`
        when this owner has a job of that id, and what `beside` raises: then nothing is written.
        """
        lease = {"lease": self._replica, "lease_until": job.created_at + self._lease_seconds}
        try:
            async with self._database.begin() as connection:
                known = (await connection.execute(_repeated(job))).first()
                if known is None:
                    await connection.execute(insert(jobs).values(**row_of(job), **lease))
                    if beside:
                        await beside(connection)
        except IntegrityError as error:
            raise _duplicate(job.request.project, job.job_id) from error
        return job if known is None else job_of(known)

    async def add_children(self, script: Job, children: Sequence[Job]) -> None:
        """Make a script's statements durable, all at once and only once; they have ended."""
        rows = [row_of(child) | end_of(child) for child in children]
        try:
            async with self._database.begin() as connection:
                await connection.execute(insert(jobs), rows)
                await connection.execute(
                    update(jobs).where(jobs.c.id == script.id).values(children=len(children))
                )
        except IntegrityError:
            return  # another replica has

    async def refuse_duplicate(self, owner: str, project: str, job_id: str) -> None:
        """Raise `DuplicateError` when the owner has a job of that id already."""
        if await self._find(owner, project, job_id):
            raise _duplicate(project, job_id)

    async def owned(self, owner: str, project: str, job_id: str) -> Job:
        """Give the owner's job.

        Raises `NotFoundError` for an unknown job and for another owner's, in the same words.
        """
        row = await self._find(owner, project, job_id)
        if row is None:
            message = f"Not found: Job {project}:{job_id}"
            raise NotFoundError(message, hint="list or start jobs as the agent that owns them")
        return job_of(row)

    async def by_request(self, owner: str, project: str, request_id: str, now: float) -> Job | None:
        """Give the job that the same `requestId` started in the last 15 minutes."""
        async with self._database.read() as connection:
            query = _of_request(owner, project, request_id, now)
            row = (await connection.execute(query)).first()
        return job_of(row) if row else None

    async def get(self, id_: str) -> Job:
        """Give a job by our own id."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(jobs).where(jobs.c.id == id_))).one()
        return job_of(row)

    async def move(
        self,
        job: Job,
        *,
        state: JobState,
        plan: Plan | None = None,
        started_at: float | None = None,
        beside: Callable[[AsyncConnection], Awaitable[None]] | None = None,
    ) -> None:
        """Write a job's next state, unless it is done already, with what is written `beside` it.

        INVARIANT: a job that waits for people holds nothing of a budget.
        """
        values: dict[str, Any] = {"state": state.value}
        if plan is not None:
            values["plan"] = text(plan)
        if started_at is not None:
            values["started_at"] = started_at
        async with self._database.begin() as connection:
            await connection.execute(
                update(jobs)
                .where(jobs.c.id == job.id, jobs.c.state != JobState.DONE.value)
                .values(**values)
            )
            if state is JobState.PENDING:
                await ledger.release(connection, job.id)
            if beside:
                await beside(connection)

    async def finish(
        self,
        job: Job,
        now: float,
        *,
        error: JobError | None,
        outcome: JobOutcome | None,
        billed: int | None = None,
    ) -> bool:
        """End a job once, and tell whether this did: a second ending changes nothing.

        `billed` is what counts of it against budgets; None is all that it has reserved.
        """
        started = {} if job.started_at is None else {"started_at": job.started_at}
        async with self._database.begin() as connection:
            ended = await connection.execute(
                update(jobs)
                .where(jobs.c.id == job.id, jobs.c.state != JobState.DONE.value)
                .values(
                    state=JobState.DONE.value,
                    ended_at=now,
                    error=text(error) if error else None,
                    outcome=text(outcome) if outcome else None,
                    **started,
                )
            )
            if ended.rowcount:
                await ledger.settle(connection, job.id, billed)
        return bool(ended.rowcount)

    async def widen_record(self, job: Job, outcome: JobOutcome) -> None:
        """Note that more of a finished job's rows are on record."""
        async with self._database.begin() as connection:
            await connection.execute(
                update(jobs).where(jobs.c.id == job.id).values(outcome=text(outcome))
            )

    async def claim(self, now: float, states: tuple[JobState, ...]) -> list[Job]:
        """Take over jobs in these states that no live replica carries."""
        free = and_(
            jobs.c.state.in_([state.value for state in states]),
            or_(jobs.c.lease == "", jobs.c.lease_until < now),
        )
        query = select(jobs).where(free).limit(20)
        # Most calls find nothing, and then no writer needs to wait for this one.
        async with self._database.read() as connection:
            if (await connection.execute(query)).first() is None:
                return []
        async with self._database.begin() as connection:
            rows = (await connection.execute(query)).all()
            claimed = []
            for row in rows:
                taken = await connection.execute(
                    update(jobs)
                    .where(jobs.c.id == row.id, free)
                    .values(lease=self._replica, lease_until=now + self._lease_seconds)
                )
                if taken.rowcount:
                    claimed.append(job_of(row))
        return claimed

    async def take(self, job: Job, now: float) -> bool:
        """Take a pending job out of waiting, for this replica to carry; only one replica can."""
        async with self._database.begin() as connection:
            taken = await connection.execute(
                update(jobs)
                .where(jobs.c.id == job.id, jobs.c.state == JobState.PENDING.value)
                .values(
                    state=JobState.READY.value,
                    lease=self._replica,
                    lease_until=now + self._lease_seconds,
                )
            )
        return bool(taken.rowcount)

    async def renew(self, ids: list[str], now: float) -> None:
        """Keep the leases of jobs that this replica is carrying."""
        if not ids:
            return
        async with self._database.begin() as connection:
            await connection.execute(
                update(jobs)
                .where(jobs.c.id.in_(ids), jobs.c.lease == self._replica)
                .values(lease_until=now + self._lease_seconds)
            )

    async def release(self, ids: list[str]) -> None:
        """Give this replica's leases back, so that another one need not wait for their end."""
        async with self._database.begin() as connection:
            await connection.execute(
                update(jobs)
                .where(jobs.c.id.in_(ids), jobs.c.lease == self._replica)
                .values(lease="", lease_until=0.0)
            )

    async def live(self, agents: Collection[str]) -> list[Job]:
        """Give every job of these agents that has not ended, for whomever it is: see `agent_of`."""
        alive = jobs.c.state.in_([s.value for s in JobState if s is not JobState.DONE])
        async with self._database.read() as connection:
            busy = await connection.execute(select(jobs.c.owner).where(alive).distinct())
            # Few have any, whereas one agent may be known by many subjects.
            wanted = [owner for owner in busy.scalars() if agent_of(owner) in agents]
            query = select(jobs).where(alive, jobs.c.owner.in_(wanted))
            return [job_of(row) for row in (await connection.execute(query)).all()]

    async def all_live(self) -> list[Job]:
        """Give every job that has not ended, whoever it is of."""
        query = select(jobs).where(jobs.c.state != JobState.DONE.value)
        async with self._database.read() as connection:
            return [job_of(row) for row in (await connection.execute(query)).all()]

    async def count_live(self) -> dict[str, int]:
        """Count the jobs that have not ended, by owner."""
        alive = jobs.c.state.in_([s.value for s in JobState if s is not JobState.DONE])
        query = select(jobs.c.owner, func.count()).where(alive).group_by(jobs.c.owner)
        async with self._database.read() as connection:
            return {row[0]: row[1] for row in await connection.execute(query)}

    async def pending(self) -> list[Job]:
        """Give every job that waits for people."""
        if not self._database.look_up(_ANY_OF_STATE, (JobState.PENDING.value,)):
            return []
        query = select(jobs).where(jobs.c.state == JobState.PENDING.value)
        async with self._database.read() as connection:
            return [job_of(row) for row in (await connection.execute(query)).all()]

    async def oldest_running(self) -> float | None:
        """Say since when the oldest job that runs, or may run at once, was accepted."""
        states = (JobState.READY.value, JobState.RUNNING.value)
        query = select(func.min(jobs.c.created_at)).where(jobs.c.state.in_(states))
        async with self._database.read() as connection:
            oldest: float | None = (await connection.execute(query)).scalar_one()
        return oldest

    async def count_pending(self, owner: str) -> int:
        """Count the owner's jobs that wait for people."""
        query = select(func.count()).where(
            jobs.c.owner == owner, jobs.c.state == JobState.PENDING.value
        )
        async with self._database.read() as connection:
            return int((await connection.execute(query)).scalar_one())

    async def _find(self, owner: str, project: str, job_id: str) -> Row[Any] | None:
        query = select(jobs).where(
            jobs.c.owner == owner, jobs.c.project == project, jobs.c.job_id == job_id
        )
        async with self._database.read() as connection:
            return (await connection.execute(query)).first()


def _of_request(owner: str, project: str, request_id: str, now: float) -> Select[Any]:
    return (
        select(jobs)
        .where(
            jobs.c.owner == owner,
            jobs.c.project == project,
            jobs.c.request_id == request_id,
            jobs.c.request_id != "",
            jobs.c.created_at > now - _REQUEST_ID_SECONDS,
        )
        .order_by(jobs.c.created_at.desc())
    )


def _repeated(job: Job) -> Select[Any]:
    request = job.request
    return _of_request(job.principal.key, request.project, request.request_id, job.created_at)


def _duplicate(project: str, job_id: str) -> DuplicateError:
    return DuplicateError(f"Already Exists: Job {project}:{job_id}", hint="use a new job id")
