"""The labels of what tables hold: noted before a statement writes there, and kept until it is gone.

INVARIANT: before BigQuery may write a value somewhere that an agent reads unmasked, the label is in
the store, where every replica looks for it at each query.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, and_, delete, exists, select, update
from sqlalchemy.dialects.sqlite import insert

from keystile.gate.jobs import Job
from keystile.model.errors import NotFoundError
from keystile.model.schema import Inherited, Table, TableId
from keystile.recording.events import EventKind
from keystile.recording.people_events import LabelsForgottenBody
from keystile.store.database import Database
from keystile.store.notes import note
from keystile.store.tables import inherited_labels as kept
from keystile.store.tables import jobs

_OLDER_STATES_SECONDS = 8 * 86400
"""BigQuery keeps older states of a table for seven days at most."""

_LOOK_UP = """
SELECT DISTINCT path, label, derived, replaced_at IS NULL FROM inherited_labels
WHERE project = ? AND dataset = ? AND "table" = ? AND (replaced_at IS NULL OR replaced_at > ?)
"""


class Noted(NamedTuple):
    """A label that a column has, with where it comes from; `job` is the gateway's id of it."""

    table: TableId
    path: tuple[str, ...]
    label: str
    source: str
    derived: bool
    job: str
    agent: str
    noted_at: float


class InheritedLabels:
    """The table of them."""

    def __init__(self, database: Database) -> None:
        """Read from an open database."""
        self._database = database

    def noted(self, table: Table) -> Table:
        """Give a table with its labels of now. Raises `StoreUnavailableError`."""
        id_ = table.id
        since = time.time() - _OLDER_STATES_SECONDS
        rows = self._database.look_up(_LOOK_UP, (id_.project, id_.dataset, id_.table, since))
        if not rows:
            return table
        found: dict[bool, set[Inherited]] = {True: set(), False: set()}
        for path, label, derived, current in rows:
            found[bool(current)].add(Inherited(_path(path), label, bool(derived)))
        return msgspec.structs.replace(
            table, inherited=tuple(sorted(found[True])), former=tuple(sorted(found[False]))
        )

    async def note(self, job: Job) -> None:
        """Note what a job gives columns, before it is started. A second time changes nothing."""
        now = time.time()
        rows = [
            {
                **_names(one.column.table),
                "path": _text(one.column.path),
                "label": one.label,
                "source": str(one.source),
                "derived": one.derived,
                "job": job.id,
                "agent": job.principal.agent,
                "noted_at": now,
            }
            for one in job.plan.inherits
        ]
        if rows:
            async with self._database.begin() as connection:
                await connection.execute(insert(kept).on_conflict_do_nothing(), rows)

    async def settle(self, job: Job, *, well: bool) -> None:
        """Take note of a job's end, before it is told. A second time changes nothing.

        One that has not ended `well` has written nothing, unless it is a script.
        """
        plan, script = job.plan, bool(job.plan.facts.statement == "SCRIPT" or job.request.session)
        if not plan.inherits and not plan.facts.anew:
            return
        async with self._database.begin() as connection:
            if not well:
                if not script:
                    await connection.execute(delete(kept).where(kept.c.job == job.id))
                return
            for one in plan.inherits:
                same = (
                    *_of(one.column.table),
                    kept.c.path == _text(one.column.path),
                    kept.c.label == one.label,
                    kept.c.derived == one.derived,
                )
                await connection.execute(delete(kept).where(*same, *_ended_before(job)))
            now = time.time()
            for table in plan.facts.anew:
                gone = (*_of(table), kept.c.replaced_at.is_(None), *_ended_before(job))
                await connection.execute(update(kept).where(*gone).values(replaced_at=now))
            old = kept.c.replaced_at < now - _OLDER_STATES_SECONDS
            await connection.execute(delete(kept).where(old))

    async def every(self) -> tuple[Noted, ...]:
        """Give all labels of what tables hold now, by name."""
        query = select(kept).where(kept.c.replaced_at.is_(None))
        query = query.order_by(kept.c.project, kept.c.dataset, kept.c.table, kept.c.path)
        async with self._database.read() as connection:
            return tuple(
                Noted(
                    TableId(row.project, row.dataset, row.table),
                    _path(row.path),
                    row.label,
                    row.source,
                    row.derived,
                    row.job,
                    row.agent,
                    row.noted_at,
                )
                for row in await connection.execute(query)
            )

    async def forget(self, table: TableId, person: str, via: str) -> tuple[str, ...]:
        """Forget the labels of what a table held, which is noted, and give them.

        Of its older states they stay. Raises `NotFoundError` where it has none.
        """
        now = and_(*_of(table), kept.c.replaced_at.is_(None))
        async with self._database.begin() as connection:
            rows = (await connection.execute(select(kept.c.path, kept.c.label).where(now))).all()
            labels = tuple(sorted({f"{'.'.join(_path(one.path))}: {one.label}" for one in rows}))
            if not labels:
                raise NotFoundError(
                    f"`{table}` has no labels for what was written there",
                    hint="`keystile labels list` shows those that there are",
                )
            await connection.execute(update(kept).where(now).values(replaced_at=time.time()))
            body = LabelsForgottenBody(person=person, via=via, table=str(table), labels=labels)
            await note(connection, EventKind.LABELS_FORGOTTEN, msgspec.to_builtins(body))
        return labels


def _of(table: TableId) -> tuple[ColumnElement[bool], ...]:
    """Say which rows are about a table, or about all of a dataset."""
    home = (kept.c.project == table.project, kept.c.dataset == table.dataset)
    return (*home, kept.c.table == table.table) if table.table else home


def _ended_before(job: Job) -> tuple[ColumnElement[bool], ...]:
    """Say which rows are of other jobs, that had ended well before this one was asked for.

    INVARIANT: what another may still write, or may have written meanwhile, keeps its label.
    """
    theirs = (jobs.c.id == kept.c.job, jobs.c.outcome.is_not(None))
    return (kept.c.job != job.id, exists().where(*theirs, jobs.c.ended_at < job.created_at))


def _names(table: TableId) -> dict[str, Any]:
    return {"project": table.project, "dataset": table.dataset, "table": table.table}


def _text(path: tuple[str, ...]) -> str:
    return msgspec.json.encode([name.lower() for name in path]).decode()


def _path(text: str) -> tuple[str, ...]:
    return msgspec.json.decode(text, type=tuple[str, ...])
