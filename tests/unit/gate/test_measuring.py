"""Decisions on what a query reads, by the real planner; only BigQuery is played."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from keystile.analysis.analyst import Analyst
from keystile.gate.measuring import bytes_of, refuse_for_size, settled
from keystile.gate.planning import Planner
from keystile.gate.policy_tests import Declared
from keystile.gate.shares import Shares
from keystile.googlesql.inline import InlineRunner
from keystile.masking.keyed import always
from keystile.masking.rewrite import Rewriter
from keystile.model.decision import Effect
from keystile.model.errors import InvalidQueryError, RefusedError
from keystile.model.facts import Action, QueryFacts
from keystile.model.principal import Principal
from keystile.model.schema import Field, Table, TableId, TableKind
from keystile.policy.compile import compile_policy
from keystile.policy.policy import Policy
from keystile.telemetry.metrics import Metrics
from keystile.upstream.values import DryRun, UpstreamQuery
from keystile.wire.requests import QueryRequest

FIELDS = (Field("id", "INT64"), Field("ssn", "STRING"))
TABLE = Table(TableId("p", "d", "t"), TableKind.TABLE, FIELDS, "e1")
PLAIN = Table(TableId("p", "d", "u"), TableKind.TABLE, FIELDS[:1], "e1")
AGENT = Principal("https://issuer.example", "s", "a", "run-1", groups=("g",))
LABELS = [{"label": "pii", "columns": ["ssn"]}]
READ = {"name": "read", "allow": ["read", "script", "model", "schema_change"]}
LARGE = {"name": "large", "deny": ["read"], "when": "query.bytes > 5000"}


class Sized(Declared):
    """Says of every query that it reads so many bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.add(TABLE)
        self.add(PLAIN)
        self.count, self.is_bound = 1000, True
        self.sent: list[UpstreamQuery] = []
        self.fails: Exception | None = None

    def at(self, _account: Any) -> Sized:
        return self

    async def dry_run(self, query: UpstreamQuery) -> DryRun:
        self.sent.append(query)
        if self.fails:
            raise self.fails
        table, fields = (PLAIN, FIELDS[:1]) if "`u`" in query.sql or "d.u" in query.sql else (
            TABLE, FIELDS)  # fmt: skip
        return DryRun("SELECT", (table.id,), fields, self.count, is_bound=self.is_bound)


class Room:
    """A planner under a policy that can be changed."""

    def __init__(self, *rules: Any) -> None:
        self.bigquery, self.metrics = Sized(), Metrics()
        self.policy = self.of(*rules)
        runner = InlineRunner()
        self.planner = Planner(
            Analyst(runner, 1 << 18),
            lambda: self.policy,
            Rewriter(runner, always(bytes(32))),
            self.bigquery,  # type: ignore[arg-type]  # the part of it that is asked
            Shares(2, 2),
            self.metrics,
        )

    @staticmethod
    def of(*rules: Any) -> Policy:
        return compile_policy({"f": json.dumps({"labels": LABELS, "rules": [*rules]})})

    async def decided(self, sql: str = "SELECT * FROM d.t") -> Any:
        return await self.planner.decide(AGENT, QueryRequest(sql, "p"), unmeasured=True)

    async def measured(self, decided: Any, sql: str = "SELECT * FROM d.t") -> Any:
        return await self.planner.measured(QueryRequest(sql, "p"), decided)


async def test_a_large_query_is_denied_once_its_size_is_known() -> None:
    room = Room(READ, LARGE)
    first = await room.decided()
    assert (first.decision.effect, room.bigquery.sent) == (Effect.ALLOW, [])
    small = await room.measured(first)
    assert small.decision.effect is Effect.ALLOW
    assert "XXX" not in room.bigquery.sent[0].sql
    assert room.bigquery.sent[0].sql != "SELECT * FROM d.t"  # it is masked by then
    room.bigquery.count = 5001
    large = await room.measured(first)
    assert large.decision.effect is Effect.DENY
    assert [reason.rule for reason in large.decision.reasons] == ["large"]
    context = large.rests_on.basis.context
    assert context.bytes == 5001
    again = room.policy.decide(AGENT, large.facts, large.understood.tables, context)
    assert again == large.decision  # so that it can be replayed
    counted = room.metrics.decisions.labels
    assert [counted(effect)._value.get() for effect in ("allow", "deny")] == [1, 1]


async def test_a_plan_is_made_of_the_one_dry_run_that_there_was() -> None:
    room = Room(READ, LARGE)
    decided = await room.measured(await room.decided())
    planned = await room.planner.plan(AGENT, QueryRequest("SELECT * FROM d.t", "p"), decided)
    assert (len(room.bigquery.sent), planned.query) == (1, room.bigquery.sent[0])
    assert planned.plan.bytes_estimate == 1000
    assert planned.plan.basis.context.bytes == 1000


async def test_what_no_condition_asks_for_is_measured_by_the_plan_alone() -> None:
    room = Room(READ)
    decided = await room.decided()
    assert decided.once_measured is None
    planned = await room.planner.plan(AGENT, QueryRequest("SELECT * FROM d.t", "p"), decided)
    assert len(room.bigquery.sent) == 1
    assert planned.plan.basis.context.bytes == 1000  # a draft may ask for it one day


async def test_what_is_denied_anyway_costs_no_dry_run() -> None:
    room = Room(READ, LARGE, {"name": "no", "deny": ["read"], "when": "agent.name == 'a'"})
    decided = await room.decided()
    assert (decided.decision.effect, decided.once_measured) == (Effect.DENY, None)
    assert room.bigquery.sent == []


async def test_the_policy_of_the_first_decision_makes_the_second() -> None:
    room = Room(READ, LARGE)
    first = await room.decided()
    room.policy, room.bigquery.count = room.of(READ), 5001
    second = await room.measured(first)
    assert second.decision.effect is Effect.DENY
    assert second.decision.policy_digest == first.decision.policy_digest


async def test_a_query_that_bigquery_refuses_is_refused_so() -> None:
    room = Room(READ, LARGE)
    first = await room.decided()
    room.bigquery.fails = InvalidQueryError("no such thing")
    with pytest.raises(InvalidQueryError, match="no such thing"):
        await room.measured(first)


async def test_an_agent_hears_the_size_unless_it_is_hidden() -> None:
    room = Room(READ, LARGE)
    room.bigquery.count = 5001
    for sql, told in (("SELECT id FROM d.u", True), ("SELECT * FROM d.t", False)):
        first = await room.decided(sql)
        second = await room.measured(first, sql)
        with pytest.raises(RefusedError, match="rule `large`") as refused:
            refuse_for_size(first, second)
        assert ("it would read 5.001 KB" in str(refused.value)) is told
        assert ("5.001" in str(refused.value)) is told


async def test_an_agent_hears_that_nobody_knows_the_size() -> None:
    room = Room(READ, LARGE)
    room.bigquery.is_bound = False
    first = await room.decided("SELECT id FROM d.u")
    second = await room.measured(first, "SELECT id FROM d.u")
    with pytest.raises(RefusedError, match="bytes it reads is not known before it runs"):
        refuse_for_size(first, second)
    script = first._replace(
        understood=first.understood._replace(facts=QueryFacts("SCRIPT", (Action.SCRIPT,)))
    )
    with pytest.raises(RefusedError, match="send its statements one by one"):
        refuse_for_size(script, second)


def test_what_nobody_knows_is_no_number() -> None:
    dry = DryRun("SELECT", (), (), 7)
    assert bytes_of(QueryFacts("SELECT", (Action.READ,)), dry) == 7
    assert bytes_of(QueryFacts("SCRIPT", (Action.SCRIPT,)), dry) is None
    assert bytes_of(QueryFacts("CREATE_MODEL", (Action.MODEL,)), dry) is None
    open_ = msgspec.structs.replace(dry, is_bound=False)
    assert bytes_of(QueryFacts("SELECT", (Action.READ,)), open_) is None


async def test_a_decision_that_would_hide_less_by_now_is_none() -> None:
    """The text that was measured is masked for the first decision: it must not run by another."""
    room = Room(READ, LARGE)
    first = await room.decided()
    bare = msgspec.structs.replace(first.decision, masks=())
    with pytest.raises(RefusedError):
        settled(first._replace(once_measured=lambda _: bare), 1)
