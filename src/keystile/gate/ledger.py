"""What has been spent of each budget, in the store: exact whichever replica lets a query in.

```
reserved (with the job: what it may be billed) -> settled (with the job's end: what it was billed)
```
INVARIANT: a job takes its part in the transaction that lets it run, and its part is settled in the
one that ends it. So whatever ends a process, nothing is lost and nothing counts twice: whoever
carries the job on settles it. Transactions take turns, so what all have reserved and spent never
goes beyond a limit. The clock is that of the machine that has the store, read inside them.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, and_, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from keystile.model.decision import Limits
from keystile.policy.budget import Broken, Charge, Used, broken, day_of, left_of, month_of, refusal
from keystile.store.database import Database
from keystile.store.tables import budget_entries as entries
from keystile.store.tables import budget_totals as totals
from keystile.store.tables import budgets

PASSING = frozenset({"queries_per_minute", "concurrent_queries"})
"""Limits that are soon free again."""

_MINUTE = 60.0
_KEPT_SECONDS = 3600.0
_TOTALS_KEPT_SECONDS = 40 * 86_400.0


class Grant(NamedTuple):
    """What a job may be billed in all; None where no limit is about bytes."""

    most_billed: int | None


class Budget(NamedTuple):
    """A holder's limits, as they were for its last query, and what counts against them now."""

    limits: Limits
    used: Used


async def reserve(
    connection: AsyncConnection,
    job: str,
    limits: Collection[Limits],
    charge: Charge,
    *,
    but: Collection[str] = (),
) -> Grant:
    """Take a job's part of every budget, in a writing transaction, or of none.

    Limits whose words are in `but` are counted and not held to. Raises `LimitError`.
    """
    now = time.time()
    used = [await _used(connection, one, now) for one in limits]
    _refuse(zip(limits, used, strict=True), charge, but)
    left = [left_of(one, spent) for one, spent in zip(limits, used, strict=True)]
    most = min((max(one, 0) for one in left if one is not None), default=None)
    taken = most or 0
    if most is not None and charge.most is not None:
        taken = min(most, charge.most)
        if any(_periods(one, now) for one in limits):
            most = taken
    for one in limits:
        await _enter(connection, job, one, now, taken, most, hidden=charge.hidden)
    return Grant(most)


async def settle(connection: AsyncConnection, job: str, billed: int | None) -> None:
    """Count what a job was billed in the place of what it reserved; None is all of that.

    A second time changes nothing.
    """
    for row in await _open(connection, job):
        if billed is not None:
            await _add(connection, row, billed - row.bytes)
        await connection.execute(
            update(entries)
            .where(entries.c.job == job, entries.c.account == row.account)
            .values(open=False)
        )
        old = and_(entries.c.open.is_(False), entries.c.at < time.time() - _KEPT_SECONDS)
        await connection.execute(delete(entries).where(entries.c.account == row.account, old))


async def release(connection: AsyncConnection, job: str) -> None:
    """Give back all that a job has reserved: it has not run, and waits again to be let in."""
    for row in await _open(connection, job):
        await _add(connection, row, -row.bytes)
    await connection.execute(delete(entries).where(entries.c.job == job, entries.c.open))


def holders_of(agent: str, groups: Iterable[str]) -> set[tuple[str, str]]:
    """Give whose budgets an agent spends, as `whose` and `holder`, but for people's."""
    return {("agent", agent), *(("group", group) for group in groups)}


class Ledger:
    """Reads what is spent."""

    def __init__(self, database: Database) -> None:
        """Read from an open database."""
        self._database = database

    async def check(
        self, limits: Collection[Limits], charge: Charge, *, but: Collection[str] = ()
    ) -> None:
        """Raise `LimitError` as `reserve` would by now. Nothing is taken."""
        async with self._database.read() as connection:
            now = time.time()
            used = [await _used(connection, one, now) for one in limits]
        _refuse(zip(limits, used, strict=True), charge, but)

    async def grant(self, job: str) -> Grant:
        """Give what a job was let in with."""
        query = select(func.min(entries.c.most_billed)).where(entries.c.job == job)
        async with self._database.read() as connection:
            return Grant((await connection.execute(query)).scalar_one())

    async def budgets(self, holders: Collection[tuple[str, str]] | None = None) -> list[Budget]:
        """Give the budgets of these holders, as `whose` and `holder` of `Limits`, or all."""
        now, query = time.time(), select(budgets).order_by(budgets.c.account)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
            found = [msgspec.json.decode(row.limits, type=Limits) for row in rows]
            return [
                Budget(one, await _used(connection, one, now))
                for one in found
                if holders is None or (one.whose, one.holder) in holders
            ]


def _refuse(found: Iterable[tuple[Limits, Used]], charge: Charge, but: Collection[str]) -> None:
    wrong: list[tuple[Broken, Used]] = [
        (one, used)
        for limits, used in found
        for one in broken(limits, used, charge)
        if one.word not in but
    ]
    if wrong:
        raise refusal(wrong, charge)


async def _used(connection: AsyncConnection, limits: Limits, now: float) -> Used:
    mine = entries.c.account == limits.account
    spent = {}
    for period, (begins, _) in _periods(limits, now).items():
        row = (
            await connection.execute(select(totals).where(*_total(limits.account, period, begins)))
        ).first()
        spent[period] = (row.bytes, row.hidden) if row else (0, False)
    minute: tuple[float, ...] = ()
    running = 0
    if limits.queries_per_minute is not None:
        recent = select(entries.c.at).where(mine, entries.c.at > now - _MINUTE)
        minute = tuple((await connection.execute(recent.order_by(entries.c.at))).scalars())
    if limits.concurrent_queries is not None:
        query = select(func.count()).where(mine, entries.c.open)
        running = (await connection.execute(query)).scalar_one()
    day, month = spent.get("day", (0, False)), spent.get("month", (0, False))
    return Used(now, day[0], month[0], day[1] or month[1], minute, running)


def _periods(limits: Limits, now: float) -> dict[str, tuple[float, float]]:
    """Give the periods whose bytes are limited, each with its begin and its end."""
    found = {}
    if limits.bytes_per_day is not None:
        found["day"] = day_of(now, limits.time_zone)
    if limits.bytes_per_month is not None:
        found["month"] = month_of(now, limits.time_zone)
    return found


def _total(account: str, period: str, begins: float) -> tuple[ColumnElement[bool], ...]:
    return (totals.c.account == account, totals.c.period == period, totals.c.begins == begins)


async def _enter(  # noqa: PLR0913, PLR0917 - what an entry has
    connection: AsyncConnection,
    job: str,
    limits: Limits,
    now: float,
    taken: int,
    most: int | None,
    *,
    hidden: bool,
) -> None:
    periods = _periods(limits, now)
    begun = {period: begins for period, (begins, _) in periods.items()}
    row = {"job": job, "account": limits.account, "at": now, "bytes": taken, "open": True}
    row |= {"most_billed": most, "day": begun.get("day"), "month": begun.get("month")}
    await connection.execute(insert(entries).values(**row))
    text = msgspec.json.encode(limits).decode()
    known = upsert(budgets).values(account=limits.account, limits=text)
    await connection.execute(
        known.on_conflict_do_update(index_elements=["account"], set_={"limits": text})
    )
    for period, begins in begun.items():
        total: dict[str, Any] = {"account": limits.account, "period": period, "begins": begins}
        added = {"bytes": totals.c.bytes + taken, "hidden": totals.c.hidden | hidden}
        begun_already = upsert(totals).values(**total, bytes=taken, hidden=hidden)
        await connection.execute(
            begun_already.on_conflict_do_update(
                index_elements=["account", "period", "begins"], set_=added
            )
        )
    old = and_(totals.c.account == limits.account, totals.c.begins < now - _TOTALS_KEPT_SECONDS)
    await connection.execute(delete(totals).where(old))


async def _open(connection: AsyncConnection, job: str) -> list[Any]:
    query = select(entries).where(entries.c.job == job, entries.c.open)
    return [*(await connection.execute(query)).all()]


async def _add(connection: AsyncConnection, row: Any, difference: int) -> None:
    """Add to the periods in which a job was let in, whichever it is by now."""
    for period, begins in (("day", row.day), ("month", row.month)):
        if begins is not None and difference:
            await connection.execute(
                update(totals)
                .where(*_total(row.account, period, begins))
                .values(bytes=totals.c.bytes + difference)
            )
