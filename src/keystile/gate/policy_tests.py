"""Runs the tests of a policy: each query is analysed, decided on and masked as in service.

Nothing is asked of BigQuery: the tables and views are those that the tests declare.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple, cast

import msgspec

from keystile.analysis.analyst import Analyst
from keystile.analysis.statement import Statement
from keystile.analysis.text import quoted
from keystile.gate.basis import context_of
from keystile.gate.decided import Decided
from keystile.gate.measuring import is_known, settled
from keystile.gate.plan import hides_bytes
from keystile.gate.planning import Planner
from keystile.gate.shares import Shares
from keystile.googlesql.task import TaskRunner
from keystile.masking.keyed import always
from keystile.masking.rewrite import Rewriter
from keystile.model.decision import Effect
from keystile.model.errors import (
    KeystileError,
    NotFoundError,
    RefusedError,
    ShutOutError,
    UnsafeConfigurationError,
)
from keystile.model.masks import Mask
from keystile.model.principal import Principal
from keystile.model.schema import Field, Routine, RoutineId, Table, TableId, TableKind
from keystile.policy.budget import Charge, Used, broken, refusal
from keystile.policy.context import Context
from keystile.policy.document import byte_count
from keystile.policy.parse import read_as
from keystile.policy.policy import Policy
from keystile.policy.policy_tests import Asking, Column, Outcome, PolicyTests, differences
from keystile.policy.ruling import rule_names
from keystile.telemetry.metrics import Metrics
from keystile.upstream.accounts import Accounts
from keystile.upstream.values import NOBODY, ListedTable
from keystile.wire.requests import QueryRequest

_NAME_PARTS = 3
_HINT = "see docs/reference/policy.md"
_CANNOT_MASK = "mask-at-read"


class Tried(NamedTuple):
    """A test that was run: where it stands, and what is not as expected; nothing where all is."""

    file: str
    line: int
    name: str
    differences: tuple[str, ...]


class Declared:
    """What the tests of one file declare, in the place of BigQuery."""

    account = NOBODY

    def __init__(self) -> None:
        """Begin with nothing."""
        self._tables: dict[TableId, Table] = {}

    def add(self, table: Table) -> None:
        """Have one more table or view."""
        self._tables[table.id] = table

    async def of(self, connection: str) -> Declared:
        """Be the same for every connection."""
        del connection
        return self

    async def table(self, id: TableId) -> Table:  # noqa: A002 - the word of the shared port
        """Give a table. Raises `NotFoundError`."""
        if id not in self._tables:
            raise NotFoundError(f"Not found: Table {id}")
        return self._tables[id]

    async def routine(self, id: RoutineId) -> Routine:  # noqa: A002 - the word of the shared port
        """Find none."""
        raise NotFoundError(f"Not found: Routine {id}")

    async def tables_like(self, id: TableId) -> tuple[Table, ...]:  # noqa: A002 - as above
        """Find none: views are analysed before anybody asks for wildcards."""
        raise NotFoundError(f"Not found: Table {id}")

    async def every_table(self, project: str, dataset: str) -> tuple[ListedTable, ...]:
        """Give all that a dataset holds."""
        home = (project, dataset)
        found = (one for one in self._tables.values() if (one.id.project, one.id.dataset) == home)
        return tuple(ListedTable(one.id, one.kind, 0) for one in found)

    async def every_dataset(self, project: str) -> tuple[str, ...]:
        """Give the names of a project's datasets."""
        return tuple(sorted({id_.dataset for id_ in self._tables if id_.project == project}))


class PolicyTester:
    """Runs tests of one policy."""

    def __init__(self, policy: Policy, runner: TaskRunner, masking_key: bytes) -> None:
        """Any `masking_key` of the right length will do: no value is ever masked with it."""
        self._policy = policy
        self._runner = runner
        self._key = masking_key
        self._analyst = Analyst(runner, 1 << 18)

    async def run(self, documents: Mapping[str, str]) -> AsyncIterator[Tried]:
        """Run the tests of all files, by name. Raises `UnsafeConfigurationError`."""
        read = {file: read_as(PolicyTests, file, text) for file, text in sorted(documents.items())}
        for file, (tests, lines) in read.items():
            planner = self._planner(await self._declared(file, tests, lines))
            for number, test in enumerate(tests.tests):
                principal, request = _principal(test.agent), QueryRequest(test.sql, tests.project)
                context = Context(tests.project, test.time) if test.time else context_of(request)
                estimate = byte_count(test.estimate)
                found = await _outcome(planner, principal, request, context, estimate)
                line = lines.get(f"$.tests[{number}]", 0)
                wrong = differences(test.expect, found, tests.project)
                yield Tried(file, line, test.name, wrong)

    def _planner(self, declared: Declared) -> Planner:
        return Planner(
            self._analyst,
            lambda: self._policy,
            Rewriter(self._runner, always(self._key)),
            # Deciding asks no more of BigQuery than what is declared.
            cast("Accounts", declared),
            Shares(1, 1),
            Metrics(),
        )

    async def _declared(self, file: str, tests: PolicyTests, lines: Mapping[str, int]) -> Declared:
        found = Declared()
        for name, columns in tests.tables.items():
            at = f"`{file}` line {lines.get(f'$.tables.{name}', 0)}"
            id_ = _id(name, tests.project, at)
            fields = await self._fields(columns, at)
            found.add(Table(id_, TableKind.TABLE, fields, "declared"))
        for name, sql in tests.views.items():
            at = f"`{file}` line {lines.get(f'$.views.{name}', 0)}"
            id_ = _id(name, tests.project, at)
            fields = await self._result(sql, tests.project, found, at)
            found.add(Table(id_, TableKind.VIEW, fields, "declared", view_query=sql))
        return found

    async def _fields(self, columns: Mapping[str, str | Column], at: str) -> tuple[Field, ...]:
        """Give columns as BigQuery has them: those of a query of such NULLs."""
        full = {
            name: Column(type=one) if isinstance(one, str) else one for name, one in columns.items()
        }
        nulls = (f"CAST(NULL AS {one.type}) AS {quoted(name)}" for name, one in full.items())
        found = await self._result(f"SELECT {', '.join(nulls)}", "declared", Declared(), at)
        if [field.name for field in found] != [*full]:
            message = f"{at}: a column or its type is not understood"
            raise UnsafeConfigurationError(message, hint="write types as in `CREATE TABLE`")
        return tuple(
            msgspec.structs.replace(
                field,
                policy_tags=full[field.name].policy_tags,
                description=full[field.name].description,
            )
            for field in found
        )

    async def _result(self, sql: str, project: str, source: Declared, at: str) -> tuple[Field, ...]:
        try:
            analysed = await self._analyst.analyse(Statement(sql, project), source)
        except KeystileError as error:
            raise UnsafeConfigurationError(f"{at}: {error.message}", hint=_HINT) from error
        if analysed.facts.statement != "SELECT" or analysed.facts.opaque:
            raise UnsafeConfigurationError(f"{at}: it is not understood", hint=_HINT)
        return analysed.schema


def _id(name: str, project: str, at: str) -> TableId:
    parts = name.rsplit(".", _NAME_PARTS - 1)
    if len(parts) == _NAME_PARTS - 1:
        parts = [project, *parts]
    if len(parts) != _NAME_PARTS or not all(parts):
        message = f"{at}: `{name}` is no table's name"
        raise UnsafeConfigurationError(message, hint="write `dataset.table`")
    return TableId(*parts)


def _principal(agent: Asking) -> Principal:
    return Principal(
        issuer=agent.issuer,
        subject=agent.subject or agent.name,
        agent=agent.name,
        session="policy-test",
        service_account=agent.service_account,
        groups=agent.groups,
        attributes=agent.attributes,
        on_behalf_of=agent.on_behalf_of,
        address=agent.address,
        client=agent.client,
    )


async def _outcome(
    planner: Planner,
    principal: Principal,
    request: QueryRequest,
    context: Context,
    estimate: int,
) -> Outcome:
    try:
        decided = await planner.decide(principal, request, context=context, unmeasured=True)
        decided = settled(decided, estimate if is_known(decided.facts) else None)
    except (NotFoundError, ShutOutError) as error:
        hiding = error.because.reasons if error.because else ()
        effect = "not_found" if isinstance(error, NotFoundError) else "deny"
        return Outcome(effect, str(error), rules=rule_names(hiding))
    except KeystileError as error:
        return Outcome("error", str(error))
    decision = decided.decision
    effect, rules = str(decision.effect), rule_names(decision.reasons)
    told = (reason.message for reason in decision.reasons if not reason.untold)
    message = "; ".join(filter(None, told))
    if decision.effect is not Effect.DENY:
        try:
            await planner.rewrite(decided)
        except RefusedError as error:
            effect, rules, message = str(Effect.DENY), (_CANNOT_MASK,), str(error)
    charge, unused = Charge(estimate, estimate, hidden=hides_bytes(decision)), Used(time.time())
    over = [(one, unused) for each in decision.limits for one in broken(each, unused, charge)]
    if over and effect != Effect.DENY:
        effect, rules = str(Effect.DENY), tuple(one.limits.rule for one, _ in over)
        message = str(refusal(over, charge))
    limits = tuple(dict.fromkeys(each.rule for each in decision.limits))
    shadows = tuple((one.rule, one.would) for one in decision.shadows)
    return Outcome(effect, message, _masks(decided), rules, _filters(decided), limits, shadows)


def _masks(decided: Decided) -> tuple[tuple[str, Mask], ...]:
    used = {use.column for use in decided.facts.columns}
    return tuple(
        (str(one.column), one.mask) for one in decided.decision.masks if one.column in used
    )


def _filters(decided: Decided) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.rule for one in decided.decision.row_filters))
