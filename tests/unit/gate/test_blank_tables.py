from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from tests.support.accounts import ACCOUNT, OneAccount

from keystile.analysis.statement import Statement
from keystile.gate.at_once import AtOnce
from keystile.gate.blank_tables import BlankTables
from keystile.gate.decided import Decided
from keystile.gate.read_results import Understood
from keystile.gate.recorder import Recorder
from keystile.model.decision import Decision, Effect, Reason
from keystile.model.errors import DuplicateError, InvalidRequestError, RefusedError
from keystile.model.facts import Action, QueryFacts
from keystile.model.schema import TableId
from keystile.recording.query_events import IntentBody
from keystile.wire.resources import NewTable, Partitioning, Words

TABLE = TableId("acme-shop", "lab", "blank")
NEW = NewTable(TABLE, Words("All of it", labels={"team": "data"}), partitioning=Partitioning("DAY"))
SHOWN = "OPTIONS (description = 'All of it', labels = [('team', 'data')])"


class World(OneAccount):
    """Blank tables on their way to a BigQuery that writes down what it gets."""

    def __init__(self, bench: Any, one: Any) -> None:
        super().__init__()
        self.bench = bench
        self.effect = Effect.ALLOW
        self.facts = QueryFacts("CREATE_TABLE", (Action.SCHEMA_CHANGE,), writes=(TABLE,))
        self.asked, self.got, self.on_record = list[str](), list[NewTable](), list[str]()
        self.fails: Exception | None = None
        planner: Any = self
        bigquery: Any = self
        self.blank = BlankTables(AtOnce(planner, Recorder(one.log, one.metrics), bigquery))

    async def decide(self, principal: Any, request: Any, context: Any) -> Decided:
        del context
        self.asked.append(request.sql)
        demands = (self.bench.demand,) if self.effect is Effect.REQUIRE_APPROVAL else ()
        reasons = (Reason("no-tables", self.effect, "agents make no tables"),)
        decision = Decision(self.effect, reasons, "p1", approvals=demands)
        analysed: Any = SimpleNamespace(
            facts=self.facts, statement=Statement(request.sql, "acme-shop")
        )
        return Decided(
            principal, analysed, decision, {}, Understood(self.facts, ()), account=ACCOUNT
        )

    async def rewrite(self, _decided: Decided) -> None: ...

    async def create_table(self, new: NewTable) -> None:
        self.got.append(new)
        self.on_record = self.bench.kinds
        if self.fails:
            raise self.fails

    async def make(self, new: NewTable = NEW) -> None:
        await self.blank.make(self.bench.principal(), new)


@pytest.fixture
def world(bench: Any, one: Any) -> World:
    return World(bench, one)


async def test_it_is_on_record_before_it_is_made(world: World) -> None:
    await world.make()
    assert world.got == [NEW]
    assert world.on_record == ["intent"]
    assert world.bench.kinds == ["intent", "outcome"]
    intent, outcome = world.bench.events
    body = msgspec.convert(intent.body, IntentBody)
    assert body.sql == (
        "-- a table without columns, by tables.insert\n"
        f"CREATE TABLE `acme-shop`.`lab`.`blank` PARTITION BY _PARTITIONDATE {SHOWN}"
    )
    assert body.request == {
        "project": "acme-shop",
        "method": "tables.insert",
        "statement": world.asked[0],
        "table": {
            "tableReference": {
                "projectId": "acme-shop",
                "datasetId": "lab",
                "tableId": "blank",
            },
            "description": "All of it",
            "labels": {"team": "data"},
            "timePartitioning": {"type": "DAY"},
        },
    }
    assert (outcome.job, outcome.body["state"]) == (intent.job, "done")
    assert "bad_rows" not in outcome.body


async def test_what_is_decided_on_is_create_table(world: World) -> None:
    await world.make()
    assert world.asked == [
        (
            "CREATE TABLE `acme-shop`.`lab`.`blank` (`nothing` INT64)"
            f" PARTITION BY _PARTITIONDATE {SHOWN}"
        )
    ]


async def test_what_policy_denies_is_not_made(world: World) -> None:
    world.effect = Effect.DENY
    with pytest.raises(RefusedError, match="agents make no tables"):
        await world.make()
    assert (world.got, world.bench.kinds) == ([], ["refused"])


async def test_what_needs_approval_is_not_made_unasked(world: World) -> None:
    world.effect = Effect.REQUIRE_APPROVAL
    with pytest.raises(RefusedError, match="which waits until people have decided"):
        await world.make()
    assert (world.got, world.bench.kinds) == ([], ["refused"])


@pytest.mark.parametrize(
    "change",
    [
        {"statement": "CREATE_TABLE_AS_SELECT"},
        {"writes": (TableId("acme-shop", "lab", "other"),)},
        {"reads": (TABLE,)},
    ],
)
async def test_a_decision_on_something_else_makes_nothing(
    world: World, change: dict[str, Any]
) -> None:
    world.facts = msgspec.structs.replace(world.facts, **change)
    with pytest.raises(RefusedError, match="is not understood"):
        await world.make()
    assert world.got == []


async def test_places_of_columns_that_are_not_there_are_refused(world: World) -> None:
    with pytest.raises(InvalidRequestError, match="`day`"):
        await world.make(msgspec.structs.replace(NEW, partitioning=Partitioning("DAY", "day")))
    await world.make(msgspec.structs.replace(NEW, clustering=("a",)))
    assert world.asked[-1].partition(" OPTIONS")[0].endswith("CLUSTER BY `a`")


async def test_one_that_is_there_already_is_on_record_as_failed(world: World) -> None:
    world.fails = DuplicateError("Already Exists: Table acme-shop:lab.blank")
    with pytest.raises(DuplicateError):
        await world.make()
    assert world.bench.events[-1].body["error"]["reason"] == "duplicate"
