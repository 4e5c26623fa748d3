from __future__ import annotations

from typing import Any

import msgspec
import pytest

from keystile.analysis.analysed import Analysed
from keystile.analysis.analyst import Analyst
from keystile.analysis.scope import Scope
from keystile.analysis.statement import Statement
from keystile.gate.budgets import bounded, charge_of, in_own_words, most_rows
from keystile.gate.ledger import Grant, Ledger
from keystile.gate.policy_tests import Declared
from keystile.googlesql.inline import InlineRunner
from keystile.model.decision import ColumnMask, Decision, Effect, Limits
from keystile.model.errors import (
    BytesBilledError,
    InvalidQueryError,
    LimitError,
    RateLimitError,
    RefusedError,
)
from keystile.model.facts import Action, QueryFacts
from keystile.model.masks import NullMask
from keystile.model.schema import ColumnRef, TableId
from keystile.policy.budget import Charge
from keystile.upstream.values import DryRun, UpstreamQuery
from keystile.wire.requests import PageRequest, QueryRequest

MIB = 1 << 20
TABLE = TableId("acme-shop", "shop", "customers")
DAY = Limits("cost", "agent", "a", bytes_per_day=100, message="ask #data-platform")
ALLOWED = Decision(Effect.ALLOW, (), "p", limits=(DAY,))
ASKED = UpstreamQuery(project="acme-shop", sql="SELECT 1")


def charged(
    bytes_processed: int, *tables: TableId, facts: Any = None, bound: bool = True, **more: Any
) -> Charge:
    facts = facts or QueryFacts("SELECT", (Action.READ,), reads=tables)
    request = QueryRequest("SELECT 1", "acme-shop", **more)
    found = Analysed(Statement("SELECT 1", "acme-shop", "", ()), "SELECT 1", Scope(), facts)
    witness = DryRun(facts.statement, tables, (), bytes_processed, is_bound=bound)
    return charge_of(found, request, witness, ALLOWED)


def test_a_query_is_billed_in_whole_mebibytes_and_ten_of_each_table_at_least() -> None:
    other = TableId("acme-shop", "shop", "orders")
    assert charged(0) == Charge(0, 0)
    assert charged(0, TABLE) == Charge(0, 10 * MIB)
    assert charged(1, TABLE) == Charge(10 * MIB, 11 * MIB)
    assert charged(50 * MIB + 1, TABLE, other) == Charge(51 * MIB, 71 * MIB)


def test_nobody_knows_what_scripts_models_and_external_tables_cost(bench: Any) -> None:
    script = QueryFacts("SCRIPT", (Action.READ,), reads=(TABLE,))
    model = QueryFacts("CREATE_MODEL", (Action.MODEL,), reads=(TABLE,))
    assert charged(MIB, TABLE, facts=script, bound=False) == Charge(10 * MIB, None)
    assert charged(MIB, TABLE, facts=model).most is None
    assert charged(MIB, TABLE, bound=False).most is None
    assert charged(MIB, TABLE, into=bench.into).most is None


@pytest.mark.parametrize(
    ("sql", "statements"),
    [
        ("SELECT 1; SELECT 2", 2),
        ("IF TRUE THEN SELECT 1; ELSE SELECT 2; END IF", 3),
        ("LOOP SELECT 1; END LOOP", 0),
        ("WHILE TRUE DO SELECT 1; END WHILE", 0),
        ("BEGIN REPEAT SELECT 1; UNTIL TRUE END REPEAT; END", 0),
        ("FOR r IN (SELECT 1 AS x) DO SELECT r.x; END FOR", 0),
    ],
)
async def test_how_many_statements_run_is_known_without_loops(sql: str, statements: int) -> None:
    analyst = Analyst(InlineRunner(), 1 << 18)
    found = await analyst.analyse(Statement(sql, "p", "", ()), Declared())
    witness = DryRun("SCRIPT", (), (), 0, is_bound=False)
    charge = charge_of(found, QueryRequest(sql, "p"), witness, ALLOWED)
    assert charge == Charge(0, None, statements)


@pytest.mark.parametrize(
    ("asked", "grant", "statements", "most"),
    [
        (None, None, 1, None),
        (7, None, 1, 7),
        (None, 100, 1, 100),
        (7, 100, 1, 7),
        (200, 100, 1, 100),
        (None, 100, 3, 33),
        (None, 0, 1, 1),
    ],
)
def test_the_lowest_bound_goes_to_bigquery(
    asked: int | None, grant: int | None, statements: int, most: int | None
) -> None:
    query = msgspec.structs.replace(ASKED, maximum_bytes_billed=asked)
    sent = bounded(query, Grant(grant), Charge(statements=statements))
    assert sent.maximum_bytes_billed == most


def test_bigquerys_own_refusal_tells_no_size_of_what_is_masked(bench: Any) -> None:
    plan = bench.a_job().plan
    error = BytesBilledError("Query exceeded limit for bytes billed: 1. 10485760 or higher")
    assert "10485760" in str(in_own_words(plan, error))
    mask = ColumnMask(ColumnRef(TABLE, ("ssn",)), "pii.ssn", NullMask())
    hiding = msgspec.structs.replace(plan, decision=Decision(Effect.ALLOW, (), "p", (mask,)))
    assert "10485760" not in str(in_own_words(hiding, error))
    assert in_own_words(hiding, other := InvalidQueryError("x")) is other


async def used(bench: Any) -> tuple[int, int]:
    """Give what is used of the day, and how many run."""
    everywhere = msgspec.structs.replace(DAY, concurrent_queries=9)
    bench.planner.limits = (everywhere,)
    [found] = await Ledger(bench.database).budgets()
    return found.used.day, found.used.running


def limited(bench: Any, charge: Charge = Charge(30, 60), **limits: Any) -> None:  # noqa: B008 - frozen
    bench.planner.limits = (msgspec.structs.replace(DAY, concurrent_queries=9, **limits),)
    bench.planner.charge = charge


async def test_a_query_reserves_before_it_runs_and_settles_what_it_was_billed(
    bench: Any, one: Any
) -> None:
    limited(bench)
    bench.bigquery.hold, bench.bigquery.billed = True, 40
    await one.gate.insert(bench.principal(), bench.request())
    assert await used(bench) == (60, 1)
    assert bench.bigquery.queries[0].maximum_bytes_billed == 60
    bench.bigquery.finish()
    await one.settle()
    assert await used(bench) == (40, 0)
    assert bench.events[-1].body["bytes_billed"] == 40
    assert bench.events[0].body["decision"]["limits"][0]["bytes_per_day"] == 100


async def test_what_does_not_fit_is_refused_on_record_and_nothing_runs(
    bench: Any, one: Any
) -> None:
    limited(bench, Charge(101, 101))
    for ask in (one.gate.insert, one.query):
        with pytest.raises(LimitError, match="`bytes_per_day` of rule `cost` is 100 B") as refused:
            await ask(bench.principal(), bench.request())
        assert refused.value.hint.endswith(", or wait until then; ask #data-platform")
    assert bench.kinds == ["refused", "refused"]
    assert bench.events[0].body["reason"] == "quotaExceeded"
    assert bench.bigquery.started == []
    assert one.metrics.limit_refusals.labels("quotaExceeded")._value.get() == 2


async def test_a_race_for_the_rest_is_won_by_one(bench: Any, one: Any) -> None:
    limited(bench, Charge(60, 60))
    bench.bigquery.hold = True
    await one.gate.insert(bench.principal(), bench.request())
    # The other has looked before, as another replica may.
    one.pipeline._ledger.check = _nothing
    with pytest.raises(LimitError):
        await one.gate.insert(bench.principal(), bench.request())
    assert bench.kinds == ["intent", "intent", "outcome"]
    assert bench.events[-1].body["error"]["reason"] == "quotaExceeded"
    assert len(bench.bigquery.started) == 1


async def _nothing(*_: Any, **__: Any) -> None:
    return


async def test_a_dry_run_counts_nothing(bench: Any, one: Any) -> None:
    limited(bench, Charge(101, 101), queries_per_minute=1)
    for _ in range(2):
        view = await one.query(bench.principal(), bench.request(dry_run=True))
        assert view.bytes_processed == 1000


async def test_a_query_that_bigquery_does_not_take_gives_all_back(bench: Any, one: Any) -> None:
    limited(bench)
    bench.bigquery.start_fails = [InvalidQueryError("no")]
    await one.gate.insert(bench.principal(), bench.request())
    await one.settle()
    assert await used(bench) == (0, 0)


async def test_a_query_of_which_nobody_knows_the_end_counts_in_full(bench: Any, one: Any) -> None:
    limited(bench)
    bench.bigquery.hold = True
    await one.gate.insert(bench.principal(), bench.request())
    [job] = await one.jobs.live({bench.principal().key})
    await one.duties.stop()
    await one.pipeline.endings.fail(job, RefusedError("BigQuery cannot be reached"))
    assert await used(bench) == (60, 0)


async def test_a_killed_gateways_reservation_is_settled_by_who_takes_its_job_up(
    bench: Any, one: Any
) -> None:
    limited(bench)
    bench.lease_seconds, bench.bigquery.billed = -1.0, 40
    one = await bench.replica()
    bench.bigquery.hold = True
    await one.gate.insert(bench.principal(), bench.request())
    await bench.bigquery.began.wait()
    await one.die()
    assert await used(bench) == (60, 1)
    other = await bench.replica()
    bench.bigquery.finish()
    await other.take_over()
    assert await used(bench) == (40, 0)


async def test_a_job_that_is_taken_up_unsent_keeps_to_what_it_reserved(
    bench: Any, one: Any
) -> None:
    limited(bench)
    bench.lease_seconds = -1.0
    one = await bench.replica()
    await one.gate.insert(bench.principal(), bench.request())
    await one.die()
    other = await bench.replica()
    await other.take_over()
    assert [query.maximum_bytes_billed for query in bench.bigquery.queries] == [60]
    assert await used(bench) == (0, 0)


async def test_what_waits_for_people_reserves_when_it_is_released(bench: Any, one: Any) -> None:
    limited(bench, queries_per_minute=1)
    await bench.waiting(one)
    assert await Ledger(bench.database).budgets() == []
    await bench.vote()
    bench.bigquery.billed = 40
    await one.watch()
    assert bench.bigquery.queries[0].maximum_bytes_billed == 60
    assert await used(bench) == (40, 0)


async def test_an_approval_lifts_no_limit(bench: Any, one: Any) -> None:
    limited(bench)
    view = await bench.waiting(one)
    bench.planner.charge = Charge(101, 101)
    await bench.vote()
    await one.watch()
    job = await bench.job(view)
    assert job.error.reason == "quotaExceeded"
    assert bench.bigquery.started == []
    with pytest.raises(LimitError):
        await bench.waiting(one)


async def test_writing_a_result_has_what_its_query_leaves(bench: Any, one: Any) -> None:
    limited(bench, Charge(0, None))
    bench.bigquery.billed = 30
    await one.gate.insert(bench.principal(), bench.request(into=bench.into))
    await one.settle()
    assert [query.maximum_bytes_billed for query in bench.bigquery.queries] == [100, 70]
    assert await used(bench) == (60, 0)


async def test_a_loop_may_run_any_number_of_times(bench: Any, one: Any) -> None:
    limited(bench, Charge(0, None, statements=0))
    with pytest.raises(LimitError, match="how often the statements of a loop run"):
        await one.gate.insert(bench.principal(), bench.request())
    bench.planner.limits = (Limits("rate", "agent", "a", queries_per_minute=5),)
    await one.gate.insert(bench.principal(), bench.request())


async def test_too_many_queries_may_be_sent_again(bench: Any, one: Any) -> None:
    limited(bench, Charge(), queries_per_minute=1)
    await one.gate.insert(bench.principal(), bench.request())
    with pytest.raises(RateLimitError):
        await one.gate.insert(bench.principal(), bench.request())


async def test_rows_are_read_up_to_the_limit_and_then_refused(bench: Any, one: Any) -> None:
    bench.planner.limits = (Limits("cost", "agent", "a", rows_per_query=2),)
    given = await one.gate.query(bench.principal(), bench.request(), PageRequest())
    whole = await given.whole()
    assert (len(whole.rows), given.job.total_rows, bool(whole.page_token)) == (2, 3, True)
    job_id = given.job.job_id
    for page in (PageRequest(page_token=whole.page_token), PageRequest(start_index=2)):
        with pytest.raises(LimitError, match=r"has 3 rows, and `rows_per_query`.*`LIMIT 2`"):
            await one.gate.results(bench.principal(), "acme-shop", job_id, page)
    part = await one.gate.results(
        bench.principal(), "acme-shop", job_id, PageRequest(start_index=1)
    )
    assert len((await part.whole()).rows) == 1
    assert bench.kinds[-2:] == ["refused", "refused"]


def test_a_result_that_is_not_longer_is_read_to_its_end(bench: Any) -> None:
    decision = Decision(
        Effect.ALLOW, (), "p", limits=(Limits("cost", "agent", "a", rows_per_query=3),)
    )
    job = bench.a_job()
    job = msgspec.structs.replace(job, plan=msgspec.structs.replace(job.plan, decision=decision))
    assert most_rows(job, 3) == 3


async def test_nobody_counts_the_rows_of_an_export(bench: Any, one: Any) -> None:
    bench.planner.limits = (Limits("cost", "agent", "a", rows_per_query=2),)
    bench.planner.facts = QueryFacts("EXPORT_DATA", (Action.READ, Action.EXPORT), reads=(TABLE,))
    with pytest.raises(LimitError, match="nobody counts the rows of an export"):
        await one.gate.insert(bench.principal(), bench.request())
