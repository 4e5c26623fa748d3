"""Copies of protected values: what one agent writes as it is, another sees masked.

Random queries are what a trusted agent makes tables of, in two worlds that differ in protected
values alone. Where no protected value chooses or orders rows, an agent that sees none must find the
two tables the same.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest
from prove.evaluator import Answer, Content, World, runnable
from prove.queries.generator import PARAMETERS, Generator
from prove.schemas import NUMBERS, SMALL, Schema
from prove.shop import DATASET, PROJECT
from prove.trial import Court

from keystile.analysis.analysed import Analysed
from keystile.analysis.schema import result_schema
from keystile.analysis.statement import Statement
from keystile.gate.lineage_labels import inherited
from keystile.gate.read_results import Understood
from keystile.googlesql.engine import Engine
from keystile.googlesql.inline import InlineRunner
from keystile.model.errors import KeystileError
from keystile.model.facts import Use
from keystile.model.principal import Principal
from keystile.model.schema import Inherited, Parameter, Table, TableId, TableKind
from keystile.policy.compile import compile_policy
from keystile.policy.context import Context
from keystile.policy.policy import Policy

CASES = 150
COPY = TableId(PROJECT, DATASET, "copy")
CONTEXT = Context(PROJECT, datetime(2026, 11, 26, tzinfo=UTC))
READS = (
    "SELECT * FROM copy",
    "SELECT TO_JSON_STRING(c) AS j FROM copy AS c",
    "SELECT COUNT(*) AS n, COUNT(DISTINCT TO_JSON_STRING(c)) AS d FROM copy AS c",
)
_CHOOSING = {Use.FILTER, Use.JOIN, Use.GROUP, Use.ORDER, Use.WINDOW}


def policy_of(schema: Schema) -> Policy:
    """Label what the schema masks, and let one agent see it."""
    columns = ", ".join(f"'{mask.column}'" for mask in schema.masks)
    return compile_policy(
        {
            "p.yaml": f"""
labels: [{{label: secret, columns: [{columns}]}}]
masks: [{{label: secret, mask: {{kind: default}}}}]
rules:
  - {{name: all, allow: [read, write, schema_change, routine]}}
  - {{name: trusted, agents: {{names: [trusted]}}, allow: [read], unmask: [secret]}}
"""
        }
    )


def agent(name: str) -> Principal:
    return Principal("https://issuer.example", name, name, "run")


class Copied(NamedTuple):
    """A table that the trusted agent has made, and its rows in each world."""

    table: Table
    worlds: tuple[World, ...]


class Copies:
    """Makes tables of queries, and reads them as another agent does."""

    def __init__(self, schema: Schema) -> None:
        self.court = Court(InlineRunner(), Engine(), schema)
        self.policy = policy_of(schema)

    async def made(self, sql: str) -> Copied | None:
        """Make a table of a query; None where that tells of values by other ways than these."""
        found = await self._analysed(f"CREATE TABLE copy AS {sql}")
        if found is None or found.facts.opaque or self._chooses(found):
            return None
        decision = self.policy.decide(agent("trusted"), found.facts, found.tables, CONTEXT)
        assert decision.masks == ()
        labels = inherited(found, Understood(found.facts, found.tables), decision, self.policy)
        answers = self.court._run(sql, PARAMETERS)
        if any(answer.error for answer in answers):
            return None
        table = Table(
            COPY,
            TableKind.TABLE,
            result_schema(found.facts.output),
            "1",
            inherited=tuple(sorted({_inherited(one) for one in labels})),
        )
        return Copied(table, tuple(self._world(table, answer) for answer in answers))

    async def differs(self, copied: Copied, sql: str, *, masked: bool = True) -> bool:
        """Tell whether a query of the copy tells the worlds apart."""
        self.court.source._tables[COPY] = copied.table
        analysed = await self.court.analyst.analyse(
            Statement(sql, PROJECT, DATASET), self.court.source
        )
        masks = self.policy.decide(agent("other"), analysed.facts, analysed.tables, CONTEXT).masks
        text = (await self.court.rewriter.rewrite(analysed, masks if masked else ())).sql
        text = runnable(text, (copied.table,))
        first, second = [world.run(text) for world in copied.worlds]
        return not first.same(second)

    async def _analysed(self, sql: str) -> Analysed | None:
        parameters = tuple(Parameter(one.name, one.type, {}) for one in PARAMETERS)
        statement = Statement(sql, PROJECT, DATASET, parameters)
        try:
            return await self.court.analyst.analyse(statement, self.court.source)
        except KeystileError:
            return None

    def _chooses(self, found: Analysed) -> bool:
        labelled = {table.id: self.policy.labels(table) for table in found.tables}
        return any(
            use.column.path in labelled.get(use.column.table, ()) and _CHOOSING & set(use.uses)
            for use in found.facts.columns
        )

    def _world(self, table: Table, answer: Answer) -> World:
        return World(self.court.engine, [Content(table, [tuple(r.cell) for r in answer.rows])])


def _inherited(label: Any) -> Inherited:
    path = tuple(name.lower() for name in label.column.path)
    return Inherited(path, label.label, label.derived)


@pytest.mark.parametrize("schema", [SMALL, NUMBERS], ids=lambda schema: schema.name)
async def test_what_a_trusted_agent_copied_told_another_nothing(schema: Schema) -> None:
    copies, generator = Copies(schema), Generator(random.Random(1), schema)  # noqa: S311 - reproducible
    made = raw = 0
    for _ in range(CASES):
        sql = generator.query().sql
        copied = await copies.made(sql)
        if copied is None:
            continue
        made += 1
        for read in READS:
            assert not await copies.differs(copied, read), (sql, read, copied.table.inherited)
            raw += await copies.differs(copied, read, masked=False)
        for world in copied.worlds:
            world.close()
    assert made > CASES / 20
    assert raw > made / 5
