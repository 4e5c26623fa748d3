from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.accounts import ACCOUNT, OneAccount

from keystile.analysis.statement import Statement
from keystile.gate.at_once import AtOnce
from keystile.gate.clustering import Clustering
from keystile.gate.decided import Decided
from keystile.gate.read_results import Understood
from keystile.gate.recorder import Recorder
from keystile.model.decision import Decision, Effect, Reason
from keystile.model.errors import InvalidRequestError, RefusedError
from keystile.model.facts import Action, QueryFacts
from keystile.model.schema import Field, Table, TableId, TableKind
from keystile.policy.compile import compile_policy
from keystile.policy.policy import Policy

NOTES = TableId("acme-shop", "lab", "notes")
POLICY = "labels: [{label: pii.ssn, columns: [ssn]}]\nrules: [{name: r, allow: [read]}]"


class World(OneAccount):
    """Clustering on its way to a BigQuery that writes down what it gets."""

    def __init__(self, bench: Any, one: Any) -> None:
        super().__init__()
        self.bench = bench
        self.effect = Effect.ALLOW
        self.asked, self.got, self.on_record = list[str](), list[Any](), list[str]()
        self.fails: Exception | None = None
        myself: Any = self
        at_once = AtOnce(myself, Recorder(one.log, one.metrics), myself)
        self._clustering = Clustering(at_once, myself, self._policy)

    def _policy(self) -> Policy:
        return compile_policy({"p.yaml": POLICY})

    async def decide(self, principal: Any, request: Any, context: Any) -> Decided:
        del context
        self.asked.append(request.sql)
        demands = (self.bench.demand,) if self.effect is Effect.REQUIRE_APPROVAL else ()
        reasons = (Reason("no-changes", self.effect, "agents change no tables"),)
        decision = Decision(self.effect, reasons, "p1", approvals=demands)
        facts = QueryFacts("ALTER_TABLE", (Action.SCHEMA_CHANGE,), writes=(NOTES,))
        analysed: Any = SimpleNamespace(facts=facts, statement=Statement(request.sql, "acme-shop"))
        return Decided(principal, analysed, decision, {}, Understood(facts, ()), account=ACCOUNT)

    async def rewrite(self, _decided: Decided) -> None: ...

    async def table(self, id: TableId) -> Table:  # noqa: A002 - the word of the port
        return Table(id, TableKind.TABLE, (Field("n", "INT64"), Field("ssn", "STRING")), "e")

    async def cluster_table(self, id: TableId, columns: tuple[str, ...]) -> None:  # noqa: A002
        self.on_record = self.bench.kinds
        if self.fails:
            raise self.fails
        self.got.append((id, columns))

    async def set(self, *columns: str) -> None:
        await self._clustering.set(self.bench.principal(), NOTES, columns)


@pytest.fixture
def world(bench: Any, one: Any) -> World:
    return World(bench, one)


async def test_it_is_decided_on_as_alter_table_and_on_record_before_it_is_sent(
    world: World,
) -> None:
    await world.set("n")
    assert world.got == [(NOTES, ("n",))]
    altered = "ALTER TABLE `acme-shop`.`lab`.`notes` SET OPTIONS ()"
    assert world.asked == [altered]
    assert world.on_record == ["intent"]
    assert world.bench.kinds == ["intent", "outcome"]
    body = world.bench.events[0].body
    assert body["sql"] == f"-- clustering by `n`, by tables.patch\n{altered}"
    named = {"projectId": "acme-shop", "datasetId": "lab", "tableId": "notes"}
    assert body["request"] == {
        "project": "acme-shop",
        "method": "tables.patch",
        "statement": altered,
        "table": {"tableReference": named, "clustering": {"fields": ["n"]}},
    }


async def test_clustering_is_taken_away(world: World) -> None:
    await world.set()
    assert world.got == [(NOTES, ())]
    assert world.bench.events[0].body["request"]["table"]["clustering"] is None


@pytest.mark.parametrize("effect", [Effect.DENY, Effect.REQUIRE_APPROVAL])
async def test_what_alter_table_would_not_do_at_once_is_not_done(
    world: World, effect: Effect
) -> None:
    world.effect = effect
    with pytest.raises(RefusedError):
        await world.set("n")
    assert (world.got, world.bench.kinds) == ([], ["refused"])


@pytest.mark.parametrize("columns", [("ssn",), ("n", "SSN"), ("ssn.x",)])
async def test_the_order_of_rows_tells_nothing_of_a_labelled_column(
    world: World, columns: tuple[str, ...]
) -> None:
    with pytest.raises(RefusedError, match="the order of its rows would tell"):
        await world.set(*columns)
    assert (world.asked, world.got, world.bench.kinds) == ([], [], ["refused"])


async def test_what_bigquery_refuses_is_on_record_as_failed(world: World) -> None:
    world.fails = InvalidRequestError("no such column")
    with pytest.raises(InvalidRequestError):
        await world.set("m")
    assert world.bench.events[-1].body["error"]["reason"] == "invalid"
