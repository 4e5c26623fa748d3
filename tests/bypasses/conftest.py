"""A bench on which ways round the gateway are tried: its real analysis, policy and masking.

What gets through is run in two worlds that differ in nothing but protected values; where that
cannot be done, the text that BigQuery would get must read protected tables masked only.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from prove.evaluator import Answer, Given, World, runnable
from prove.scripts import run_in
from prove.shop import CUSTOMERS, ORDERS, world
from tests.support.accounts import OneAccount
from tests.support.front import Front

from keystile.analysis.analyst import Analyst
from keystile.gate.decided import Decided, refuse_denied
from keystile.gate.planning import Planner
from keystile.gate.shares import Shares
from keystile.googlesql.engine import Engine
from keystile.googlesql.inline import InlineRunner
from keystile.masking.keyed import always
from keystile.masking.rewrite import Rewriter
from keystile.masking.splice import ProtectedTable
from keystile.model.errors import KeystileError, NotFoundError
from keystile.model.principal import Principal
from keystile.model.schema import (
    Argument,
    Field,
    Parameter,
    Routine,
    RoutineId,
    RoutineKind,
    SqlType,
    Table,
    TableId,
    TableKind,
)
from keystile.policy.compile import compile_policy
from keystile.policy.policy import Policy
from keystile.telemetry.metrics import Metrics
from keystile.upstream.values import DryRun, ListedTable, UpstreamQuery
from keystile.wire.requests import QueryRequest

PROJECT, DATASET = "acme-shop", "shop"
POLICY = (Path(__file__).parent / "policy.yaml").read_text()


def _id(name: str, dataset: str = DATASET) -> TableId:
    return TableId(PROJECT, dataset, name)


def _like(table: Table, id_: TableId) -> Table:
    return msgspec.structs.replace(table, id=id_)


def _view(name: str, sql: str, *columns: str, kind: TableKind = TableKind.VIEW) -> Table:
    known = {field.name: field for field in CUSTOMERS.fields}
    fields = tuple(known.get(column, Field(column, "STRING")) for column in columns)
    return Table(_id(name), kind, fields, "1", sql)


_DAY = (Field("who", "STRING"), Field("ssn", "STRING"))
_TIME = (Field("_PARTITIONTIME", "TIMESTAMP"), Field("_PARTITIONDATE", "DATE"))
OTHERS = (
    _like(CUSTOMERS, _id("Orders")),  # its name differs from that of `orders` by case alone
    Table(_id("events_2023"), TableKind.TABLE, _DAY, "1"),
    Table(_id("events_2024"), TableKind.TABLE, _DAY, "1"),
    Table(_id("visits"), TableKind.TABLE, _DAY, "1", pseudo_columns=_TIME),
    Table(_id("copies"), TableKind.TABLE, CUSTOMERS.fields, "1"),
    Table(_id("log"), TableKind.TABLE, (Field("text", "STRING"), Field("n", "INT64")), "1"),
    Table(
        _id("badges"),
        TableKind.TABLE,
        (
            Field("code", "STRING", description="the code of a door [PII]"),
            Field("door", "STRUCT", fields=(Field("key", "STRING", policy_tags=("t/1",)),)),
        ),
        "1",
    ),
    Table(_id("salaries", "payroll"), TableKind.TABLE, (Field("amount", "INT64"),), "1"),
    _view("people", "SELECT id, name, ssn AS number FROM `shop.customers`", "id", "name", "number"),
    _view("rich", "SELECT amount FROM `payroll.salaries`", "amount"),
    _view(
        "cached",
        "SELECT ssn FROM `shop.customers`",
        "ssn",
        kind=TableKind.MATERIALIZED_VIEW,
    ),
)


def _routine(name: str, body: str, *arguments: str, **more: Any) -> Routine:
    given = tuple(Argument(argument, SqlType("STRING")) for argument in arguments)
    values = {"kind": RoutineKind.SCALAR, "language": "SQL"} | more
    return Routine(RoutineId(PROJECT, DATASET, name), arguments=given, body=body, **values)


_CUSTOMERS = "`acme-shop`.`shop`.`customers`"
_TEXT = SqlType("STRING")
ROUTINES = (
    _routine("same", "x", "x"),
    _routine("top", f"(SELECT MAX(ssn) FROM {_CUSTOMERS})"),  # noqa: S608 - a text of this file's own
    _routine("through", "shop.same(shop.top())"),
    _routine(
        "numbers",
        f"SELECT id, ssn FROM {_CUSTOMERS}",  # noqa: S608 - as above
        kind=RoutineKind.TABLE_VALUED,
        columns=(Field("id", "INT64"), Field("ssn", "STRING")),
    ),
    _routine("rich", "(SELECT MAX(amount) FROM payroll.salaries)"),
)
FOREIGN = (
    _routine("script", "return x", "x", language="JAVASCRIPT", returns=_TEXT),
    _routine("python", "return x", "x", language="PYTHON", returns=_TEXT),
    _routine("sent", "", "x", language="", returns=_TEXT, remote="acme-shop.us.other"),
    _routine("outer", "shop.sent(x)", "x"),
)


class FakeBigQuery(OneAccount):
    """Knows tables and routines, and remembers what it is asked to plan."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = {table.id: table for table in (CUSTOMERS, ORDERS, *OTHERS)}
        self.routines = {routine.id: routine for routine in (*ROUTINES, *FOREIGN)}
        self.planned: list[UpstreamQuery] = []
        self.says = DryRun("SELECT", (), (), 1)

    async def table(self, id: TableId) -> Table:  # noqa: A002 - the word of the port
        if id not in self.tables:
            raise NotFoundError(f"Not found: Table {id}")
        return self.tables[id]

    async def routine(self, id: RoutineId) -> Routine:  # noqa: A002 - the word of the port
        if id not in self.routines:
            raise NotFoundError(f"Not found: Routine {id}")
        return self.routines[id]

    async def every_table(self, project: str, dataset: str) -> tuple[ListedTable, ...]:
        found = [
            t for t in self.tables.values() if (t.id.project, t.id.dataset) == (project, dataset)
        ]
        return tuple(ListedTable(table.id, table.kind, n) for n, table in enumerate(found))

    async def every_dataset(self, project: str) -> tuple[str, ...]:
        return tuple(sorted({id_.dataset for id_ in self.tables if id_.project == project}))

    async def dry_run(self, query: UpstreamQuery) -> DryRun:
        self.planned.append(query)
        return self.says


class Told(NamedTuple):
    """What came of a query: a refusal, or the text that BigQuery gets and what two worlds say."""

    decided: Decided | None = None
    refusal: str = ""
    text: str = ""
    answers: tuple[Answer, ...] = ()


class Bench:
    """Puts queries to the decision core as an agent."""

    def __init__(self, runner: InlineRunner, engine: Engine) -> None:
        self.bigquery = FakeBigQuery()
        self.policy: Policy = compile_policy({"policy.yaml": POLICY})
        self.rewriter = Rewriter(runner, always(bytes(range(32))))
        fake: Any = self.bigquery
        self.planner = Planner(
            Analyst(runner, 262_144),
            lambda: self.policy,
            self.rewriter,
            fake,
            Shares(2, 2),
            Metrics(),
        )
        tables = (CUSTOMERS, ORDERS)
        texts = [msgspec.structs.replace(r, body=runnable(r.body, tables)) for r in ROUTINES[:-1]]
        self._runner = runner
        self._contents = [world(secret) for secret in (1, 2)]
        self._worlds = [World(engine, contents, routines=texts) for contents in self._contents]

    async def ask(self, sql: str, given: Iterable[Given] = (), *, who: str = "reader") -> Told:
        """Decide and rewrite; run nothing."""
        given = tuple(given)
        parameters = tuple(Parameter(one.name, one.type, {"value": "x"}) for one in given)
        request = QueryRequest(sql, PROJECT, default_dataset=DATASET, parameters=parameters)
        agent = Principal("https://issuer", who, who, "run", groups=(who,))
        try:
            decided = await self.planner.decide(agent, request)
            refuse_denied(decided.decision)
            rewritten = await self.planner.rewrite(decided)
        except KeystileError as error:
            return Told(refusal=str(error))
        return Told(decided, text=rewritten.sql)

    def reveals(self, sql: str, given: Iterable[Given] = ()) -> bool:
        """Tell whether a query, sent as it is, tells the worlds apart."""
        first, second = self._run(sql, tuple(given))
        return not first.same(second)

    async def masked(self, sql: str, given: Iterable[Given] = (), *, who: str = "reader") -> Told:
        """Check that an attack that works without the gateway gets through it and sees masks."""
        given = tuple(given)
        assert self.reveals(sql, given), "without the gateway this tells nothing either"
        told = await self.ask(sql, given, who=who)
        assert not told.refusal, told.refusal
        answers = self._run(told.text, given)
        assert answers[0].same(answers[1]), told.text
        return told._replace(answers=answers)

    async def masked_script(self, sql: str, *, who: str = "writer") -> None:
        """Check as `masked` does that a script tells nothing: by no statement, nor by an error."""
        first, second = [await run_in(each, self._runner, sql) for each in self._contents]
        assert first != second, "without the gateway this tells nothing either"
        told = await self.ask(sql, who=who)
        assert not told.refusal, told.refusal
        first, second = [await run_in(each, self._runner, told.text) for each in self._contents]
        assert first == second, told.text
        assert "not supported by the sandbox" not in str(first)

    async def reads_masked(self, sql: str, *, who: str = "writer") -> Told:
        """Check that what cannot be run here reads protected tables through masks alone."""
        told = await self.ask(sql, who=who)
        assert not told.refusal, told.refusal
        assert told.decided
        rest = told.text
        masks = told.decided.decision.masks
        for table in told.decided.analysed.tables:
            of_table = {
                mask.column.path: mask.mask for mask in masks if mask.column.table == table.id
            }
            if of_table:
                pseudo = {f.name: f"keystile{f.name.lower()}" for f in table.pseudo_columns}
                renamed = next((pseudo for put_out in pseudo.values() if put_out in rest), {})
                reading = ProtectedTable(table, of_table, renamed).subquery()
                assert reading in rest, rest
                rest = rest.replace(reading, "")
        assert not _READS_CUSTOMERS.search(rest), rest
        return told

    async def refused(self, sql: str, *, who: str = "writer") -> str:
        """Check that a text is refused, and give the refusal."""
        told = await self.ask(sql, who=who)
        assert told.refusal, told.text
        return told.refusal

    def _run(self, sql: str, given: tuple[Given, ...]) -> tuple[Answer, ...]:
        text = runnable(sql, (CUSTOMERS, ORDERS))
        return tuple(one.run(text, given) for one in self._worlds)


_READS_CUSTOMERS = re.compile(r"(?i)\b(from|join|using)\s+[\w`.-]*\bcustomers\b")


@pytest.fixture(scope="session")
def bench() -> Iterator[Bench]:
    runner = InlineRunner()
    return Bench(runner, Engine())


@pytest.fixture
async def front(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Front]:
    """The bench behind the gateway's HTTP front; its BigQuery tells of no table in a dry run."""
    monkeypatch.setattr("keystile.gate.planning.agree", lambda *_: None)
    front = Front(tmp_path, bench)
    await front.open()
    yield front
    await front.close()
