"""The real analysis, policy and masking; only BigQuery is played."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.accounts import OneAccount

from keystile.analysis.analyst import Analyst
from keystile.config.policy_folder import read_policy
from keystile.gate import shares
from keystile.gate.decided import refuse_denied
from keystile.gate.planning import Planner
from keystile.gate.shares import Shares
from keystile.googlesql.inline import InlineRunner
from keystile.masking.keyed import always
from keystile.masking.rewrite import Rewriter
from keystile.model.decision import Effect
from keystile.model.errors import InvalidQueryError, NotFoundError, RefusedError
from keystile.model.principal import Principal
from keystile.model.schema import Field, Table, TableId, TableKind
from keystile.policy.compile import compile_policy
from keystile.telemetry.metrics import Metrics
from keystile.upstream.values import DryRun, UpstreamQuery
from keystile.wire.requests import QueryRequest

CUSTOMERS = Table(
    TableId("acme-shop", "shop", "customers"),
    TableKind.TABLE,
    (Field("id", "INT64"), Field("name", "STRING"), Field("ssn", "STRING")),
    "e1",
)
READER = Principal("https://issuer.example", "s", "Demo_Agent", "run-1", groups=("coding-agents",))
SSN = (Field("ssn", "STRING"),)


class FakeBigQuery(OneAccount):
    """Knows one table, and says of every query what `says` says."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[TableId] = []
        self.dry_runs: list[UpstreamQuery] = []
        self.says = DryRun("SELECT", (CUSTOMERS.id,), SSN, 1234, "EU")

    async def table(self, id: TableId) -> Table:  # noqa: A002 - the word of the port
        self.asked.append(id)
        if id != CUSTOMERS.id:
            raise NotFoundError(f"Not found: Table {id}, says BigQuery in words of its own")
        return CUSTOMERS

    async def dry_run(self, query: UpstreamQuery) -> DryRun:
        self.dry_runs.append(query)
        return self.says


@pytest.fixture(scope="session")
def runner() -> InlineRunner:
    return InlineRunner()


@pytest.fixture
def bigquery() -> FakeBigQuery:
    return FakeBigQuery()


@pytest.fixture
def planner(runner: InlineRunner, bigquery: Any) -> Planner:
    policy = compile_policy(read_policy(Path(__file__).parents[3] / "examples" / "policy"))
    rewriter = Rewriter(runner, always(bytes(range(32))))
    return Planner(
        Analyst(runner, 262_144), lambda: policy, rewriter, bigquery, Shares(2, 2), Metrics()
    )


def asked(sql: str, **more: Any) -> QueryRequest:
    return QueryRequest(sql, "acme-shop", **more)


async def planned(planner: Planner, request: QueryRequest, who: Principal = READER) -> Any:
    return await planner.plan(who, request, await planner.decide(who, request))


async def test_a_plan_masks_at_read_and_is_dry_run_in_exactly_its_own_text(
    planner: Planner, bigquery: FakeBigQuery
) -> None:
    plan, query, location, *_ = await planned(planner, asked("SELECT ssn FROM shop.customers"))
    assert "XXX-XX-XXXX" in plan.sql
    assert bigquery.dry_runs == [query]
    assert query.sql == plan.sql
    assert [str(column) for column in plan.masked] == ["acme-shop.shop.customers.ssn"]
    assert plan.labels == {"acme-shop.shop.customers.ssn": ("pii.ssn",)}
    assert (plan.bytes_estimate, location) == (1234, "EU")


async def test_masked_columns_that_a_query_does_not_use_are_not_counted(
    planner: Planner, bigquery: FakeBigQuery
) -> None:
    bigquery.says = DryRun("SELECT", (CUSTOMERS.id,), (Field("id", "INT64"),), 1)
    plan, *_ = await planned(planner, asked("SELECT id FROM shop.customers"))
    assert plan.masked == ()


async def test_a_limit_on_bytes_does_not_measure_masked_values(
    planner: Planner, bigquery: FakeBigQuery
) -> None:
    for sql in ("SELECT ssn FROM shop.customers", "SELECT id FROM shop.customers"):
        with pytest.raises(RefusedError, match=r"`maximumBytesBilled` would tell .*; leave it out"):
            await planned(planner, asked(sql, maximum_bytes_billed=10))
    assert bigquery.dry_runs == []


async def test_the_same_request_makes_the_same_plan(planner: Planner) -> None:
    request = asked("SELECT ssn FROM shop.customers")
    first, second = [await planned(planner, request) for _ in range(2)]
    assert first.plan.digest == second.plan.digest


async def test_no_hidden_value_is_in_the_plan(planner: Planner, bigquery: FakeBigQuery) -> None:
    bigquery.says = DryRun("SELECT", (CUSTOMERS.id,), (Field("name", "STRING"),), 1)
    plan, query, *_ = await planned(planner, asked("SELECT name FROM shop.customers"))
    hidden = [p for p in query.parameters if p.name in query.hidden]
    assert len(hidden) == 2
    for parameter in hidden:
        assert str(parameter.value["value"]) not in repr(plan)
        assert str(parameter.value["value"]) not in repr(query)


async def test_a_witness_that_disagrees_is_refused(
    planner: Planner, bigquery: FakeBigQuery
) -> None:
    secret = TableId("acme-shop", "payroll", "salaries")
    bigquery.says = DryRun("SELECT", (CUSTOMERS.id, secret), SSN, 1)
    with pytest.raises(RefusedError, match="do not read this query alike"):
        await planned(planner, asked("SELECT ssn FROM shop.customers"))


async def test_a_hidden_table_looks_absent_and_bigquery_is_not_asked(
    planner: Planner, bigquery: FakeBigQuery
) -> None:
    said = []
    for name in ("payroll.salaries", "shop.nothing"):
        with pytest.raises(NotFoundError) as error:
            await planner.decide(READER, asked(f"SELECT * FROM {name}"))  # noqa: S608 - a test's
        said.append(str(error.value).replace(name, "NAME"))
    assert said[0] == said[1]
    assert [str(table) for table in bigquery.asked] == ["acme-shop.shop.nothing"]


async def test_deciding_sends_no_query(planner: Planner, bigquery: FakeBigQuery) -> None:
    decided = await planner.decide(READER, asked("DROP TABLE shop.customers"))
    assert decided.decision.effect is Effect.DENY
    with pytest.raises(InvalidQueryError):
        await planner.decide(READER, asked("SELEC 1"))
    assert bigquery.dry_runs == []


async def test_the_default_dataset_gives_names_their_meaning(planner: Planner) -> None:
    request = asked("SELECT ssn FROM customers", default_dataset="shop")
    assert (await planner.decide(READER, request)).decision.effect is Effect.ALLOW
    elsewhere = asked(
        "SELECT ssn FROM customers", default_dataset="shop", default_project="other-project"
    )
    with pytest.raises(NotFoundError, match=r"other-project:shop\.customers"):
        await planner.decide(READER, elsewhere)


async def test_what_an_agent_writes_into_labels_does_not_reach_bigquery(
    planner: Planner, bigquery: FakeBigQuery
) -> None:
    request = asked("SELECT ssn FROM shop.customers", labels={"note": "hello"})
    await planned(planner, request)
    assert bigquery.dry_runs[0].labels == {"keystile-agent": "demo-agent"}


async def test_no_query_is_analysed_without_end(
    planner: Planner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def endless(*_: Any) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(shares, "_LONGEST_SECONDS", 0.05)
    monkeypatch.setattr(Analyst, "analyse", endless)
    with pytest.raises(RefusedError, match="analysing all of the query") as caught:
        await planner.decide(READER, asked("SELECT 1"))
    assert "several pieces" in caught.value.hint


NO_SSN = {
    "rules.yaml": (
        "labels:\n- {label: pii.ssn, columns: [ssn]}\n"
        "masks:\n- {label: pii.ssn, mask: {kind: pattern, pattern: XXX}}\nrules:\n"
        "- {name: read, allow: [read]}\n"
        "- {name: no-ssn, EFFECT, when: \"query.touches('pii.ssn')\"}\n"
    )
}


@pytest.mark.parametrize("effect", ["deny: [read]", "require_approval: {from: [leads]}"])
@pytest.mark.parametrize(
    ("sql", "instead"),
    [
        ("SELECT id, ssn FROM shop.customers", "SELECT id FROM shop.customers"),
        ("SELECT * FROM shop.customers", "SELECT * EXCEPT (ssn) FROM shop.customers"),
        ("SELECT id FROM shop.customers WHERE ssn = '1'", ""),
        ("SELECT ssn FROM shop.customers", ""),
        ("SELECT c.*, 1 AS one FROM shop.customers AS c JOIN shop.customers USING (ssn)", ""),
    ],
)
async def test_a_query_that_would_be_allowed_is_named(
    runner: InlineRunner, bigquery: Any, effect: str, sql: str, instead: str
) -> None:
    policy = compile_policy({name: text.replace("EFFECT", effect) for name, text in NO_SSN.items()})
    rewriter = Rewriter(runner, always(bytes(range(32))))
    planner = Planner(
        Analyst(runner, 262_144), lambda: policy, rewriter, bigquery, Shares(2, 2), Metrics()
    )

    decided = await planner.decide(READER, asked(sql))

    assert decided.decision.effect is not Effect.ALLOW
    assert decided.instead == instead
    if instead:
        assert (await planner.decide(READER, asked(instead))).decision.effect is Effect.ALLOW
    if decided.decision.effect is Effect.DENY:
        with pytest.raises(RefusedError) as caught:
            refuse_denied(decided.decision, decided.instead)
        assert (f"this would be allowed: {instead}" in str(caught.value)) is bool(instead)


@pytest.mark.parametrize("effect", ["deny: [read]", "require_approval: {from: [leads]}"])
async def test_a_query_was_named_that_is_refused_for_its_limit_on_bytes(
    runner: InlineRunner, bigquery: Any, effect: str
) -> None:
    policy = compile_policy({name: text.replace("EFFECT", effect) for name, text in NO_SSN.items()})
    planner = Planner(
        Analyst(runner, 262_144),
        lambda: policy,
        Rewriter(runner, always(bytes(range(32)))),
        bigquery,
        Shares(2, 2),
        Metrics(),
    )
    request = asked("SELECT id, ssn FROM shop.customers")
    assert (await planner.decide(READER, request)).instead
    limited = msgspec.structs.replace(request, maximum_bytes_billed=10)
    assert not (await planner.decide(READER, limited)).instead


async def test_a_query_is_looked_up_and_planned_under_the_connection_of_its_agent(
    runner: InlineRunner, bigquery: Any
) -> None:
    texts = {
        "p.yaml": """
rules: [{name: read, allow: [read]}]
connections: [{name: c, agents: {groups: [coding-agents]}, connection: coding}]
"""
    }
    policy = compile_policy(texts)
    rewriter = Rewriter(runner, always(bytes(range(32))))
    planner = Planner(
        Analyst(runner, 262_144), lambda: policy, rewriter, bigquery, Shares(2, 2), Metrics()
    )
    plan = (await planned(planner, asked("SELECT ssn FROM shop.customers"))).plan
    assert bigquery.connections == ["coding"]
    assert plan.account == bigquery.account
