"""Writes recordings as a gateway does for agents of the sample shop, without running anything."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, cast
from uuid import UUID

import msgspec
from demo.stack import POLICY
from prove.agent_queries import PROJECT, Agent, AgentQueries, AgentQuery

from keystile.analysis.analyst import Analyst
from keystile.config.policy_folder import read_policy
from keystile.gate import records
from keystile.gate.basis import Basis, RestsOn, SchemaLog, context_of
from keystile.gate.decided import Decided, refuse_denied
from keystile.gate.jobs import Job, JobState
from keystile.gate.plan import Plan
from keystile.gate.planning import Planner
from keystile.gate.policy_tests import Declared
from keystile.gate.protecting import seen_masked
from keystile.gate.shares import Shares
from keystile.googlesql.inline import InlineRunner
from keystile.masking.keyed import always
from keystile.masking.rewrite import Rewriter
from keystile.model.errors import KeystileError, RefusedError
from keystile.model.principal import Principal
from keystile.model.schema import Table, TableId, TableKind
from keystile.policy.compile import compile_policy
from keystile.recording.events import Event
from keystile.recording.writer import canonical, claim
from keystile.sandbox.sample_data import files
from keystile.telemetry.metrics import Metrics
from keystile.upstream.accounts import Accounts
from keystile.upstream.values import JobStatus
from keystile.wire.job_bodies import parse_insert
from keystile.wire.requests import QueryRequest
from keystile.wire.schema import fields_from_json

_AT_ONCE = 2000
_ROWS = 20
_ROW = {"f": [{"v": "4711"}, {"v": "J. Doe"}, {"v": "j***@example.com"}]}
_SEGMENT_BYTES = 64 << 20


class _Decided(NamedTuple):
    """What was found for the first query of a shape and an agent; `error` is set for a refusal."""

    found: Plan | Decided | Basis
    error: KeystileError | None = None


def shop() -> Declared:
    """Give the tables and the view of the sample shop."""
    declared, texts = Declared(), dict(files())
    for name, text in texts.items():
        project, dataset, file = name.split("/")
        id_ = TableId(project, dataset, file.split(".")[0])
        if file.endswith(".schema.json"):
            fields = fields_from_json(json.loads(text))
            declared.add(Table(id_, TableKind.TABLE, fields, "1"))
        elif file.endswith(".view.sql"):
            columns = [("city", "STRING"), ("orders", "INTEGER"), ("total", "NUMERIC")]
            listed = [{"name": one, "type": type_} for one, type_ in columns]
            fields = fields_from_json({"fields": listed})
            declared.add(Table(id_, TableKind.VIEW, fields, "1", view_query=text))
    return declared


class Recordings:
    """Makes a folder of recordings under the policy of the demo."""

    def __init__(self, folder: Path, since: float) -> None:
        """Write to `folder`, a query each two seconds from `since` on."""
        self._folder = folder
        self._at = since
        self._planner = Planner(
            Analyst(runner := InlineRunner(), 1 << 18),
            lambda: policy,
            Rewriter(runner, always(bytes(32))),
            cast("Accounts", shop()),
            Shares(1, 1),
            Metrics(),
        )
        policy = compile_policy(read_policy(POLICY))
        self._decided: dict[tuple[str, str], _Decided] = {}
        self._schemas = SchemaLog(lambda: self._at)
        self._number = 0

    async def write(
        self, queries: int, asked: AgentQueries, told: Callable[[int], None] = lambda _: None
    ) -> int:
        """Write so many queries with their results. Gives how many texts were distinct.

        `told` is called with how many are written.
        """
        writer, texts = claim(self._folder, segment_bytes=_SEGMENT_BYTES), set[int]()
        lines: list[bytes] = []
        try:
            for number in range(queries):
                query = asked.query()
                texts.add(hash(json.dumps(query.configuration)))
                lines += [canonical(event) for event in await self._events(query)]
                if len(lines) >= _AT_ONCE:
                    writer.append(lines)
                    lines = []
                    told(number + 1)
            if lines:
                writer.append(lines)
        finally:
            writer.close()
        return len(texts)

    async def _events(self, query: AgentQuery) -> list[Event]:
        self._at += 2.0
        self._number += 1
        principal = _principal(query.agent)
        body = json.dumps({"configuration": query.configuration}).encode()
        request = parse_insert(PROJECT, body)
        key = (query.agent.name, query.shape)
        if key not in self._decided:
            self._decided[key], schemas = await self._decide(principal, request)
        else:
            schemas = ()
        return [*schemas, *self._of(principal, request, self._decided[key])]

    async def _decide(
        self, principal: Principal, request: QueryRequest
    ) -> tuple[_Decided, tuple[Event, ...]]:
        found: Plan | Decided | Basis = Basis(context_of(request))
        rests_on = RestsOn()
        try:
            found = decided = await self._planner.decide(principal, request)
            rests_on = decided.rests_on
            refuse_denied(decided.decision)
            rewritten = await self._planner.masked(request, decided)
        except KeystileError as error:
            made = _Decided(found, error)
        else:
            plan = Plan(
                facts=decided.facts,
                decision=decided.decision,
                sql=rewritten.sql,
                masked=seen_masked(decided, rewritten),
                schema=(),
                bytes_estimate=1 << 20,
                digest="0" * 64,
                basis=rests_on.basis,
            )
            made = _Decided(plan)
        due = self._schemas.due(rests_on)
        self._schemas.written(due)
        return made, due

    def _of(self, principal: Principal, request: QueryRequest, made: _Decided) -> Iterator[Event]:
        if made.error or not isinstance(made.found, Plan):
            error = made.error or RefusedError("refused")
            yield records.refused(principal, request, error, made.found, self._at)
            return
        job = Job(
            id=UUID(int=self._number).hex,
            principal=principal,
            request=request,
            plan=made.found,
            job_id=f"job_{self._number}",
            location="US",
            state=JobState.DONE,
            created_at=self._at,
        )
        yield records.intent(job, self._at)
        row = msgspec.Raw(msgspec.json.encode(_ROW))
        status = JobStatus(done=True, total_rows=_ROWS)
        yield records.done(job, status, (row,) * _ROWS, (), self._at + 1)


def _principal(agent: Agent) -> Principal:
    return Principal(
        issuer="https://issuer.example",
        subject=agent.name,
        agent=agent.name,
        session="run",
        service_account=agent.name,
        groups=agent.groups,
        attributes=dict(agent.attributes),
    )
