"""The labels of what tables hold, over a real store."""

from __future__ import annotations

import time
from typing import Any

import pytest

from keystile.gate.inherited_labels import InheritedLabels
from keystile.gate.jobs import Job, JobOutcome
from keystile.gate.plan import Plan
from keystile.model.decision import Decision, Effect, NewLabel
from keystile.model.errors import InvalidQueryError, NotFoundError, StoreUnavailableError
from keystile.model.facts import Action, QueryFacts
from keystile.model.schema import ColumnRef, Inherited, Table, TableId, TableKind
from keystile.store.notes import Notes
from keystile.wire.responses import JobError

T, OTHER = TableId("p", "d", "t"), TableId("p", "d", "other")
SSN = ColumnRef(TableId("p", "d", "people"), ("ssn",))
DONE = JobOutcome((), 0, 0, cache_hit=False, recorded_rows=0)


def new(path: str = "a", table: TableId = T, label: str = "pii") -> NewLabel:
    return NewLabel(ColumnRef(table, tuple(path.split("."))), label, SSN)


class Kept:
    """The store of a bench, with jobs in it."""

    def __init__(self, bench: Any, replica: Any) -> None:
        self.bench, self.jobs = bench, replica.jobs
        self.labels = InheritedLabels(bench.database)

    async def job(
        self, *inherits: NewLabel, anew: tuple[TableId, ...] = (), statement: str = "INSERT"
    ) -> Job:
        facts = QueryFacts(statement, (Action.WRITE,), writes=(T,), anew=anew)
        plan = Plan(facts, Decision(Effect.ALLOW, (), "p1"), "", (), (), 0, "d", inherits=inherits)
        job: Job = self.bench.a_job(plan=plan)
        await self.jobs.add(job)
        await self.labels.note(job)
        return job

    async def end(self, job: Job, *, well: bool = True) -> None:
        await self.labels.settle(job, well=well)
        outcome = DONE if well else None
        error = None if well else JobError.of(InvalidQueryError("no"))
        await self.jobs.finish(job, time.time(), error=error, outcome=outcome)

    def of(self, table: TableId = T) -> list[tuple[str, str]]:
        found = self.labels.noted(Table(table, TableKind.TABLE, (), ""))
        return [(".".join(one.path), one.label) for one in found.inherited]

    def former(self, table: TableId = T) -> tuple[Inherited, ...]:
        return self.labels.noted(Table(table, TableKind.TABLE, (), "")).former


@pytest.fixture
async def kept(bench: Any, one: Any) -> Kept:
    return Kept(bench, one)


async def test_a_label_is_there_from_before_the_job_runs(kept: Kept) -> None:
    plain = Table(T, TableKind.TABLE, (), "")
    assert kept.labels.noted(plain) is plain
    job = await kept.job(new("C.Ssn"), new("b", OTHER))
    assert kept.of() == [("c.ssn", "pii")]
    assert kept.of(OTHER) == [("b", "pii")]
    await kept.labels.note(job)
    await kept.end(job)
    assert kept.of() == [("c.ssn", "pii")]
    found = await kept.labels.every()
    assert [(str(one.table), one.source, one.job, one.agent) for one in found] == [
        ("p.d.other", "p.d.people.ssn", job.id, "demo-agent"),
        ("p.d.t", "p.d.people.ssn", job.id, "demo-agent"),
    ]


async def test_another_replica_sees_it_at_once(kept: Kept) -> None:
    other = InheritedLabels(kept.bench.database)
    await kept.job(new())
    assert other.noted(Table(T, TableKind.TABLE, (), "")).inherited == (Inherited(("a",), "pii"),)


async def test_what_failed_wrote_nothing(kept: Kept) -> None:
    await kept.end(await kept.job(new()), well=False)
    assert kept.of() == []


async def test_a_script_that_failed_may_have_written_something(kept: Kept) -> None:
    await kept.end(await kept.job(new(), statement="SCRIPT"), well=False)
    assert kept.of() == [("a", "pii")]


async def test_a_table_that_is_made_anew_holds_nothing_of_before(kept: Kept) -> None:
    await kept.end(await kept.job(new("a"), new("b")))
    await kept.end(await kept.job(new("c"), new("x", OTHER), anew=(T,)))
    assert kept.of() == [("c", "pii")]
    assert kept.of(OTHER) == [("x", "pii")]
    # Its older states do.
    assert kept.former() == (Inherited(("a",), "pii"), Inherited(("b",), "pii"))


async def test_a_table_that_could_not_be_replaced_lost_its_labels(kept: Kept) -> None:
    await kept.end(await kept.job(new()))
    await kept.end(await kept.job(anew=(T,)), well=False)
    assert kept.of() == [("a", "pii")]


async def test_a_write_that_went_on_beside_a_replacement_lost_its_label(kept: Kept) -> None:
    writing = await kept.job(new("a"))
    replacing = await kept.job(anew=(T,))
    await kept.end(writing)
    await kept.end(replacing)
    assert kept.of() == [("a", "pii")]


async def test_a_write_of_which_nobody_knows_the_end_lost_its_label(kept: Kept) -> None:
    writing = await kept.job(new("a"))
    error = JobError.of(kept.bench.outage())
    await kept.jobs.finish(writing, time.time(), error=error, outcome=None)
    await kept.end(await kept.job(anew=(T,)))
    assert kept.of() == [("a", "pii")]


async def test_a_dropped_dataset_holds_nothing(kept: Kept) -> None:
    await kept.end(await kept.job(new("a"), new("b", OTHER)))
    await kept.end(await kept.job(anew=(TableId("p", "d", ""),)))
    assert kept.of() == kept.of(OTHER) == []


async def test_the_same_write_every_night_leaves_one_row(kept: Kept) -> None:
    for _ in range(3):
        await kept.end(await kept.job(new("a")))
    assert len(await kept.labels.every()) == 1
    running = await kept.job(new("a"))
    await kept.end(await kept.job(new("a")))
    assert running.id in {one.job for one in await kept.labels.every()}


async def test_older_states_are_gone_after_a_week(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    await kept.end(await kept.job(new("a")))
    await kept.end(await kept.job(anew=(T,)))
    assert kept.former()
    later = time.time() + 9 * 86400
    monkeypatch.setattr("keystile.gate.inherited_labels.time.time", lambda: later)
    assert kept.former() == ()
    await kept.end(await kept.job(anew=(T,)))


async def test_what_is_made_of_values_is_told_apart_from_them(kept: Kept) -> None:
    made = NewLabel(ColumnRef(T, ("a",)), "pii", SSN, derived=True)
    await kept.end(await kept.job(new("a"), made))
    found = kept.labels.noted(Table(T, TableKind.TABLE, (), "")).inherited
    assert found == (Inherited(("a",), "pii"), Inherited(("a",), "pii", derived=True))
    await kept.end(await kept.job(new("a")))
    assert len(await kept.labels.every()) == 2


async def test_an_operator_forgets_them(kept: Kept) -> None:
    await kept.end(await kept.job(new("a"), new("b")))
    assert await kept.labels.forget(T, "ada", "cli") == ("a: pii", "b: pii")
    assert kept.of() == []
    assert len(kept.former()) == 2
    (noted,) = await Notes(kept.bench.database).take(time.time())
    assert (noted.kind, noted.body["table"]) == ("labels_forgotten", "p.d.t")
    with pytest.raises(NotFoundError):
        await kept.labels.forget(T, "ada", "cli")


async def test_without_the_store_no_table_is_known(bench: Any) -> None:
    labels = InheritedLabels(bench.database)
    await bench.database.close()
    with pytest.raises(StoreUnavailableError):
        labels.noted(Table(T, TableKind.TABLE, (), ""))
    await bench.database.open()


async def test_nothing_started_before_its_labels_were_kept(bench: Any, one: Any) -> None:
    """The whole pipeline: at the moment at which BigQuery gets the job, the store has the label."""
    labels, seen = InheritedLabels(bench.database), []
    bench.planner.inherits = (new(),)
    bench.bigquery.before_start = lambda: seen.append(
        labels.noted(Table(T, TableKind.TABLE, (), "")).inherited
    )
    await one.query(bench.principal(), bench.request())
    assert seen == [(Inherited(("a",), "pii"),)]

    bench.bigquery.error = InvalidQueryError("no")
    bench.planner.inherits = (new("b"),)
    await one.query(bench.principal(), bench.request())
    assert seen[1] == (Inherited(("a",), "pii"), Inherited(("b",), "pii"))
    assert [found.path for found in await labels.every()] == [("a",)]


async def test_what_waits_for_people_labels_nothing_before_they_agree(bench: Any, one: Any) -> None:
    labels = InheritedLabels(bench.database)
    bench.planner.inherits = (new(),)
    await bench.waiting(one)
    assert await labels.every() == ()
    await bench.vote()
    await one.watch()
    assert [found.path for found in await labels.every()] == [("a",)]
