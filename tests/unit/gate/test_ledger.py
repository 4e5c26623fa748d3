"""The ledger over a real store: one process, a machine of states, and several processes at once."""

from __future__ import annotations

import asyncio
import multiprocessing
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule
from sqlalchemy import func, select

from keystile.gate import ledger
from keystile.gate.ledger import Ledger, release, reserve, settle
from keystile.model.decision import Limits
from keystile.model.errors import LimitError, RateLimitError
from keystile.policy.budget import Charge
from keystile.store.database import Database
from keystile.store.tables import budget_entries

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()
DAY = Limits("cost", "agent", "a", bytes_per_day=100)


class Clock:
    """The clock of the machine, as far as the ledger sees it."""

    def __init__(self) -> None:
        self.now = NOON

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(ledger, "time", clock)
    return clock


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'keystile.db'}")
    await database.open()
    yield database
    await database.close()


async def reserved(
    store: Database, least: int, most: int | None = -1, *limits: Limits, **more: Any
) -> tuple[str, int | None]:
    """Let a job in; without `most` it is billed `least` exactly."""
    job, charge = uuid4().hex, Charge(least, least if most == -1 else most)
    async with store.begin() as connection:
        grant = await reserve(connection, job, limits or (DAY,), charge, **more)
    return job, grant.most_billed


async def settled(store: Database, job: str, billed: int | None) -> None:
    async with store.begin() as connection:
        await settle(connection, job, billed)


async def used(store: Database) -> Any:
    [found] = await Ledger(store).budgets()
    return found.used


@pytest.mark.usefixtures("clock")
async def test_what_is_reserved_and_spent_never_goes_beyond_the_limit(store: Database) -> None:
    first, _ = await reserved(store, 60)
    await reserved(store, 40)
    with pytest.raises(LimitError, match="100 B are used and 0 B are left"):
        await reserved(store, 1)
    await settled(store, first, 10)
    assert (await used(store)).day == 50
    _, most = await reserved(store, 30, 80)
    assert most == 50
    assert (await used(store)).day == 100


@pytest.mark.usefixtures("clock")
async def test_a_job_counts_once_however_often_it_ends(store: Database) -> None:
    job, _ = await reserved(store, 60)
    for billed in (10, 10, None, 99):
        await settled(store, job, billed)
    assert (await used(store)).day == 10


@pytest.mark.usefixtures("clock")
async def test_where_nobody_knows_what_was_billed_all_that_was_reserved_is(store: Database) -> None:
    job, _ = await reserved(store, 60)
    await settled(store, job, None)
    assert (await used(store)).day == 60


@pytest.mark.usefixtures("clock")
async def test_a_query_of_unknown_size_reserves_all_that_is_left(store: Database) -> None:
    await reserved(store, 60)
    job, most = await reserved(store, 0, None)
    assert most == 40
    with pytest.raises(LimitError):
        await reserved(store, 0, None)
    assert (await reserved(store, 0, 0))[1] == 0  # what reads nothing goes on
    await settled(store, job, 5)
    assert (await used(store)).day == 65


@pytest.mark.usefixtures("clock")
async def test_what_waits_again_holds_nothing(store: Database) -> None:
    job, _ = await reserved(store, 60)
    async with store.begin() as connection:
        await release(connection, job)
    assert (await used(store)).day == 0
    async with store.begin() as connection:
        await reserve(connection, job, (DAY,), Charge(70, 70))
    assert (await used(store)).day == 70


@pytest.mark.usefixtures("clock")
async def test_a_refused_query_takes_part_of_no_budget(store: Database) -> None:
    wide = Limits("wide", "group", "g", bytes_per_day=1000)
    with pytest.raises(LimitError, match="of rule `cost` is 100 B"):
        await reserved(store, 101, 101, wide, DAY)
    assert await Ledger(store).budgets() == []


@pytest.mark.usefixtures("clock")
async def test_the_lowest_of_several_limits_holds_and_each_broken_one_is_named(
    store: Database,
) -> None:
    group = Limits("shared", "group", "g", bytes_per_month=70)
    assert (await reserved(store, 50, 500, group, DAY))[1] == 70
    with pytest.raises(LimitError, match=r"rule `shared` for group `g`.*rule `cost`"):
        await reserved(store, 40, 40, group, DAY)


async def test_a_query_counts_in_the_day_in_which_it_was_let_in(
    store: Database, clock: Clock
) -> None:
    limits = msgspec.structs.replace(DAY, bytes_per_month=150)
    clock.now = datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC).timestamp()
    job, _ = await reserved(store, 90, 90, limits)
    with pytest.raises(LimitError, match="resets at 2026-12-01 00:00 UTC"):
        await reserved(store, 90, 90, limits)
    clock.now += 1
    await settled(store, job, 80)
    assert (await used(store))[1:3] == (0, 0)  # another day, and another month
    await reserved(store, 90, 90, limits)
    clock.now += 86_400
    with pytest.raises(LimitError, match=r"`bytes_per_month`.*2027-01-01") as refused:
        await reserved(store, 90, 90, limits)
    assert "`bytes_per_day`" not in str(refused.value)


async def test_days_are_those_of_the_time_zone(store: Database, clock: Clock) -> None:
    limits = msgspec.structs.replace(DAY, time_zone="Asia/Tokyo")
    clock.now = datetime(2026, 11, 30, 14, 59, tzinfo=UTC).timestamp()
    await reserved(store, 90, 90, limits)
    clock.now += 60  # midnight in Tokyo
    await reserved(store, 90, 90, limits)


async def test_queries_of_a_minute_are_counted_to_the_second(store: Database, clock: Clock) -> None:
    limits = Limits("rate", "agent", "a", queries_per_minute=2)
    for _ in range(2):
        job, most = await reserved(store, 0, 0, limits)
        assert most is None
        await settled(store, job, 0)
        clock.now += 10
    with pytest.raises(RateLimitError, match="for 40 seconds") as refused:
        await reserved(store, 0, 0, limits)
    assert refused.value.retry_after == 40
    await reserved(store, 0, 0, limits, but=ledger.PASSING)
    clock.now += 50
    await reserved(store, 0, 0, limits)


async def test_as_many_run_at_once_as_may(store: Database, clock: Clock) -> None:
    limits = Limits("few", "agent", "a", concurrent_queries=1)
    job, _ = await reserved(store, 0, 0, limits)
    clock.now += 86_400 * 3  # a lease would be over by then; the job is not
    with pytest.raises(RateLimitError):
        await reserved(store, 0, 0, limits)
    await settled(store, job, 0)
    await reserved(store, 0, 0, limits)


async def test_old_entries_go_and_budgets_stay(store: Database, clock: Clock) -> None:
    for _ in range(3):
        job, _ = await reserved(store, 10)
        await settled(store, job, 10)
        clock.now += 3601
    async with store.read() as connection:
        count = (
            await connection.execute(select(func.count()).select_from(budget_entries))
        ).scalar()
    assert count == 1
    assert (await used(store)).day == 30


@pytest.mark.usefixtures("clock")
async def test_what_queries_of_masked_columns_take_is_marked(store: Database) -> None:
    async with store.begin() as connection:
        await reserve(connection, "j", (DAY,), Charge(5, 5, hidden=True))
    assert (await used(store)).hidden
    with pytest.raises(LimitError) as refused:
        await reserved(store, 98)
    assert "5 B" not in str(refused.value)
    assert "95 B" not in str(refused.value)


class LedgerMachine(RuleBasedStateMachine):
    """Replicas that let jobs in, die in the middle, and take each other's jobs up.

    A transaction that is rolled back is a process that was killed before it committed.
    """

    jobs: Bundle[str] = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.loop = asyncio.new_event_loop()
        self.store = Database(f"sqlite+aiosqlite:///{self.folder.name}/keystile.db")
        self.run(self.store.open)
        self.open: dict[str, int] = {}
        self.spent = 0

    def run(self, work: Callable[[], Awaitable[Any]]) -> Any:
        async def done() -> Any:
            return await work()

        return self.loop.run_until_complete(done())

    @rule(target=jobs, least=st.integers(0, 60), extra=st.integers(0, 30), dies=st.booleans())
    def let_in(self, least: int, extra: int, dies: bool) -> Any:  # noqa: FBT001 - a drawn value
        job, used = uuid4().hex, self.spent + sum(self.open.values())

        async def reserving() -> int | None:
            async with self.store.begin() as connection:
                grant = await reserve(connection, job, (DAY,), Charge(least, least + extra))
                if dies:
                    raise InterruptedError
                return grant.most_billed

        try:
            most = self.run(reserving)
        except InterruptedError:
            return multiple()
        except LimitError:
            # INVARIANT: what fits is let in.
            assert used + least > 100
            return multiple()
        assert used + least <= 100 or not least
        assert most == min(max(100 - used, 0), least + extra)
        self.open[job] = most
        return job

    @rule(job=jobs, billed=st.integers(0, 100), dies=st.booleans())
    def end(self, job: str, billed: int, dies: bool) -> None:  # noqa: FBT001 - a drawn value
        """Settle, perhaps once more: whoever takes a job up does not know who was there before."""
        billed = min(billed, self.open.get(job, 100))

        async def settling() -> None:
            async with self.store.begin() as connection:
                await settle(connection, job, billed)
                if dies:
                    raise InterruptedError

        try:
            self.run(settling)
        except InterruptedError:
            return
        if self.open.pop(job, None) is not None:
            self.spent += billed

    @rule(job=consumes(jobs))
    def ask_again(self, job: str) -> None:
        async def releasing() -> None:
            async with self.store.begin() as connection:
                await release(connection, job)

        self.run(releasing)
        self.open.pop(job, None)

    @invariant()
    def the_sum_is_exact_and_within_the_limit(self) -> None:
        budgets = self.run(Ledger(self.store).budgets)
        used = budgets[0].used.day if budgets else 0
        assert used == self.spent + sum(self.open.values())
        assert used <= 100

    def teardown(self) -> None:
        self.run(self.store.close)
        self.loop.close()
        self.folder.cleanup()


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


MOST, EACH = 1000, 7


def hammer(file: str, ready: Any, found: Any) -> None:
    """Let in as many as there are, as a process of its own; half of them settle for less."""
    limits = Limits("cost", "group", "g", bytes_per_month=MOST, time_zone="Asia/Tokyo")

    async def work() -> int:
        store = Database(f"sqlite+aiosqlite:///{file}")
        await store.open()
        ready.wait()
        spent = 0
        for number in range(200):
            job = uuid4().hex
            try:
                async with store.begin() as connection:
                    await reserve(connection, job, (limits,), Charge(EACH, EACH))
            except LimitError:
                break
            billed = EACH - number % 2
            async with store.begin() as connection:
                await settle(connection, job, billed)
            spent += billed
        await store.close()
        return spent

    found.put(asyncio.run(work()))


@pytest.fixture
def processes() -> Iterator[list[Any]]:
    started: list[Any] = []
    yield started
    for process in started:
        process.kill()
        process.join()


async def test_several_processes_never_spend_more_than_the_budget_and_all_of_it(
    store: Database, tmp_path: Path, processes: list[Any]
) -> None:
    context = multiprocessing.get_context("spawn")
    ready, found = context.Barrier(3), context.Queue()
    for _ in range(3):
        arguments = (str(tmp_path / "keystile.db"), ready, found)
        processes.append(context.Process(target=hammer, args=arguments, daemon=True))
        processes[-1].start()
    spent = sum([await asyncio.to_thread(found.get, timeout=120) for _ in range(3)])
    assert (await used(store)).month == spent
    assert MOST - EACH < spent <= MOST
