from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from tests.support.accounts import ACCOUNT

from keystile.analysis.statement import Statement
from keystile.gate.at_once import AtOnce
from keystile.gate.decided import Decided
from keystile.gate.read_results import Understood
from keystile.gate.recorder import Recorder
from keystile.gate.streaming import Streaming
from keystile.model.decision import Decision, Effect, Reason
from keystile.model.errors import (
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    RecordingUnavailableError,
    RefusedError,
)
from keystile.model.facts import Action, QueryFacts
from keystile.model.schema import TableId
from keystile.recording.query_events import IntentBody, OutcomeBody, RefusedBody
from keystile.wire.streaming import BadRow, NewRow, NewRows, RowFault

TABLE = TableId("acme-shop", "shop", "customers")
ROWS = NewRows(TABLE, (NewRow('{"id":1.10}', "a"), NewRow('{"AGE":2}', "b")), ("id", "AGE"))
FACTS = QueryFacts("INSERT", (Action.WRITE,), writes=(TABLE,))
WRITES = "rules: [{name: write, allow: [write]}]"
NAMED = "INSERT INTO `acme-shop`.`shop`.`customers`"


class FakePlanner:
    """Decides as told, and keeps what was asked."""

    def __init__(self, bench: Any) -> None:
        self.effect, self.facts, self.asked = Effect.ALLOW, FACTS, list[str]()
        self.rewrite_fails: Exception | None = None
        self.decide_fails: Exception | None = None
        self._demand = bench.demand

    async def decide(self, principal: Any, request: Any, context: Any) -> Decided:
        del context
        self.asked.append(request.sql)
        if self.decide_fails:
            raise self.decide_fails
        demands = (self._demand,) if self.effect is Effect.REQUIRE_APPROVAL else ()
        reasons = (Reason("no-writes", self.effect, "agents only read"),)
        decision = Decision(self.effect, reasons, "p1", approvals=demands)
        analysed: Any = SimpleNamespace(
            facts=self.facts, statement=Statement(request.sql, "acme-shop")
        )
        return Decided(
            principal, analysed, decision, {}, Understood(analysed.facts, ()), account=ACCOUNT
        )

    async def rewrite(self, _decided: Decided) -> None:
        if self.rewrite_fails:
            raise self.rewrite_fails


class World:
    """Rows on their way to a BigQuery that writes down what it gets and what is on record then."""

    def __init__(self, bench: Any, one: Any) -> None:
        self.bench, self.planner, self.log = bench, FakePlanner(bench), one.log
        self.got: list[NewRows] = []
        self.on_record: list[str] = []
        self.bad: tuple[BadRow, ...] = ()
        self.fails: BaseException | None = None
        bench.policy = WRITES
        bench.bigquery.insert_rows = self.take
        planner: Any = self.planner
        recorder = Recorder(one.log, one.metrics)
        at_once = AtOnce(planner, recorder, bench.bigquery)
        self.streaming = Streaming(at_once, bench.bigquery, bench.current_policy)

    async def take(self, rows: NewRows) -> tuple[BadRow, ...]:
        self.got.append(rows)
        self.on_record = self.bench.kinds
        if self.fails:
            raise self.fails
        return self.bad

    async def insert(self, rows: NewRows = ROWS) -> tuple[BadRow, ...]:
        return await self.streaming.insert(self.bench.principal(), rows)

    async def refused(self, kind: type[Exception], words: str, rows: NewRows = ROWS) -> RefusedBody:
        """Check that nothing is sent, and give what is on record."""
        with pytest.raises(kind, match=words):
            await self.insert(rows)
        assert self.got == []
        (event,) = self.bench.events
        assert event.kind == "refused"
        return msgspec.convert(event.body, RefusedBody)


@pytest.fixture
def world(bench: Any, one: Any) -> World:
    return World(bench, one)


async def test_rows_are_on_record_before_the_first_is_sent(world: World) -> None:
    assert await world.insert() == ()
    assert world.got == [ROWS]
    assert world.on_record == ["intent"]
    intent, outcome = world.bench.events
    asked = msgspec.convert(intent.body, IntentBody)
    assert asked.sql == f"-- 2 rows by tabledata.insertAll\n{NAMED} (`id`, `age`)"
    assert [(row.insert_id, row.json) for row in asked.sent] == [
        ("a", '{"id":1.10}'),
        ("b", '{"AGE":2}'),
    ]
    assert (asked.statement, asked.tables) == ("INSERT", (str(TABLE),))
    assert asked.decision.effect == "allow"
    assert asked.request["method"] == "tabledata.insertAll"
    assert outcome.kind == "outcome"
    assert outcome.job == intent.job != ""
    assert (intent.agent, intent.session) == ("demo-agent", "run-1")
    told = msgspec.convert(outcome.body, OutcomeBody)
    assert (told.state, told.bad_rows) == ("done", ())


async def test_what_is_decided_on_is_an_insert_of_constants(world: World) -> None:
    await world.insert()
    await world.insert(msgspec.structs.replace(ROWS, names=("nobody", "`) SELECT 1 --")))
    assert world.planner.asked == [
        f"{NAMED} (`id`, `age`) VALUES (NULL, NULL)",
        f"{NAMED} (`id`, `Name`, `age`) VALUES (NULL, NULL, NULL)",
    ]


async def test_rows_that_are_not_in_the_table_are_on_record(world: World) -> None:
    world.bad = (BadRow(1, (RowFault("invalid", "age", "no number"),)),)
    assert await world.insert() == world.bad
    told = msgspec.convert(world.bench.events[-1].body, OutcomeBody)
    assert told.state == "done"
    assert [(row.index, row.faults[0].message) for row in told.bad_rows] == [(1, "no number")]
    world.bad += (BadRow(0, (RowFault("stopped"),)),)
    await world.insert()
    told = msgspec.convert(world.bench.events[-1].body, OutcomeBody)
    assert told.error
    assert (told.state, told.error.reason) == ("failed", "invalid")
    assert "no row is in the table" in told.error.message


async def test_what_policy_denies_is_not_sent(world: World) -> None:
    world.planner.effect = Effect.DENY
    told = await world.refused(RefusedError, r"agents only read \(rule `no-writes`\)")
    assert told.decision
    assert told.decision.effect == "deny"
    assert [row.json for row in told.sent] == ['{"id":1.10}', '{"AGE":2}']


async def test_what_needs_approval_does_not_pass_unasked(world: World) -> None:
    world.planner.effect = Effect.REQUIRE_APPROVAL
    told = await world.refused(RefusedError, "`raw-ssn`.* INSERT statement, which waits")
    assert told.decision
    assert told.decision.effect == "require_approval"


async def test_what_an_insert_statement_would_be_refused_for_is_refused(world: World) -> None:
    world.planner.rewrite_fails = RefusedError("its mask would be written over the values")
    await world.refused(RefusedError, "its mask would be written")


@pytest.mark.parametrize(
    "facts",
    [
        QueryFacts("SELECT", (Action.READ,), writes=(TABLE,)),
        QueryFacts("INSERT", (Action.WRITE,), writes=(TableId("acme-shop", "shop", "other"),)),
        QueryFacts("INSERT", (Action.WRITE,), writes=(TABLE,), reads=(TABLE,)),
        QueryFacts("INSERT", (Action.WRITE,)),
    ],
)
async def test_a_decision_on_something_else_lets_no_row_through(
    world: World, facts: QueryFacts
) -> None:
    world.planner.facts = facts
    await world.refused(RefusedError, "is not understood")


@pytest.mark.parametrize(
    ("place", "kind", "words"),
    [
        (("acme-shop", "shop", "absent"), NotFoundError, "shop.absent was not found"),
        (("acme-shop", "_anon", "x"), NotFoundError, "_anon.x was not found"),
        (("acme-shop", "shop", "customers$20240101"), NotFoundError, "was not found"),
        (("acme-shop", "shop", "custom*"), NotFoundError, "was not found"),
        (("acme-shop", "shop", "INFORMATION_SCHEMA.TABLES"), NotFoundError, "was not found"),
        (("acme-shop", "INFORMATION_SCHEMA", "TABLES"), NotFoundError, "was not found"),
        (("acme-shop", "shop", "view"), InvalidRequestError, "rows to a table of type VIEW"),
    ],
)
async def test_rows_go_into_plain_tables_alone(
    world: World, place: tuple[str, str, str], kind: type[Exception], words: str
) -> None:
    rows = msgspec.structs.replace(ROWS, table=TableId(*place))
    await world.refused(kind, words, rows)
    assert world.planner.asked == []


async def test_a_hidden_table_is_absent_in_the_same_words(world: World) -> None:
    world.bench.policy = (
        "rules: [{name: r, allow: [write], resources: {datasets: [acme-shop.other]}}]"
    )
    told = await world.refused(NotFoundError, "Table acme-shop:shop.customers was not found")
    assert "id" not in told.sql  # nor does the record tell its columns
    assert told.decision is None


async def test_a_table_without_columns_takes_no_rows(world: World) -> None:
    plain = world.bench.bigquery.table

    async def bare(id_: TableId) -> Any:
        return msgspec.structs.replace(await plain(id_), fields=())

    world.bench.bigquery.table = bare
    await world.refused(InvalidRequestError, "has no schema")


async def test_nothing_is_sent_that_cannot_be_recorded(world: World) -> None:
    await world.log.close()
    with pytest.raises(RecordingUnavailableError):
        await world.insert()
    assert world.got == []


async def test_no_client_hears_of_rows_whose_end_is_not_on_record(world: World) -> None:
    async def take(rows: NewRows) -> tuple[BadRow, ...]:
        world.got.append(rows)
        await world.log.close()
        return ()

    world.bench.bigquery.insert_rows = take
    with pytest.raises(RecordingUnavailableError):
        await world.insert()
    assert world.got == [ROWS]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RefusedError("BigQuery did not answer"), "BigQuery did not answer"),
        (asyncio.CancelledError(), "did not get to BigQuery's answer"),
        (ZeroDivisionError("in 10.0.0.7"), "did not get to BigQuery's answer"),
    ],
)
async def test_what_was_begun_has_an_end_on_record(
    world: World, error: BaseException, message: str
) -> None:
    world.fails = error
    with pytest.raises(type(error)):
        await world.insert()
    assert world.bench.kinds == ["intent", "outcome"]
    told = msgspec.convert(world.bench.events[-1].body, OutcomeBody)
    assert told.error
    assert told.state == "failed"
    assert message in told.error.message
    assert "10.0.0.7" not in told.error.message


async def test_an_overload_is_no_refusal(world: World) -> None:
    world.planner.decide_fails = OverloadedError("too much work")
    with pytest.raises(OverloadedError):
        await world.insert()
    assert (world.got, world.bench.events) == ([], [])


async def test_the_gate_takes_rows_by_the_same_way(world: World, one: Any) -> None:
    world.bench.planner.decide_fails = RefusedError("agents only read")
    with pytest.raises(RefusedError, match="agents only read"):
        await one.gate.insert_rows(world.bench.principal(), ROWS)
    assert world.bench.kinds == ["refused"]
