"""A plan with the query that carries it out, and the job that is made of them."""

from __future__ import annotations

from typing import NamedTuple
from uuid import uuid4

import msgspec

from keystile.analysis.analysed import Analysed
from keystile.analysis.statement import Earlier
from keystile.gate.decided import Decided
from keystile.gate.jobs import Job, JobState
from keystile.gate.measuring import bytes_of, sized
from keystile.gate.plan import Plan, digest_of, job_labels
from keystile.gate.sessions import Left, QuerySession
from keystile.gate.statements import statements_of
from keystile.masking.rewrite import Rewritten
from keystile.model.principal import Principal
from keystile.model.schema import ColumnRef, Routine, Table
from keystile.policy.budget import Charge
from keystile.upstream.values import DryRun, UpstreamQuery
from keystile.wire.requests import QueryRequest


class Planned(NamedTuple):
    """A plan, and the query that carries it out.

    `query` holds hidden parameters, so it is never stored. In a `session`, `left` is what others
    will find there after it. `charge` is what it is going to be billed.
    """

    plan: Plan
    query: UpstreamQuery
    location: str
    session: QuerySession | None = None
    left: Left = Left()
    charge: Charge = Charge()


def plan_of(
    request: QueryRequest,
    decided: Decided,
    rewritten: Rewritten,
    masked: tuple[ColumnRef, ...],
    witness: DryRun,
) -> Plan:
    """Make the plan of what the second witness has agreed to.

    `masked` are the columns that the query uses and its agent sees masked.
    """
    analysed, decision, account = decided.analysed, decided.decision, decided.account
    objects = _stands_on(decided)
    return Plan(
        facts=decided.facts,
        decision=decision,
        sql=rewritten.sql,
        masked=masked,
        schema=witness.schema,
        bytes_estimate=witness.bytes_processed,
        digest=digest_of(decided.principal, request, rewritten.sql, decision, objects, account),
        labels=decided.labels,
        results=analysed.results,
        statements=statements_of(analysed, rewritten.parts, masked),
        instead=decided.instead,
        account=account,
        basis=sized(decided.rests_on.basis, bytes_of(decided.facts, witness)),
        inherits=decided.inherits,
    )


def query_of(principal: Principal, request: QueryRequest, rewritten: Rewritten) -> UpstreamQuery:
    """Give the query that is sent for a request: its rewritten text, and nothing of its labels."""
    return UpstreamQuery(
        project=request.project,
        sql=rewritten.sql,
        location=request.location,
        default_project=request.default_project,
        default_dataset=request.default_dataset,
        parameters=rewritten.parameters,
        hidden=frozenset(rewritten.hidden_parameters),
        labels=job_labels(principal),
        maximum_bytes_billed=request.maximum_bytes_billed,
        use_query_cache=request.use_query_cache,
        timeout_ms=request.job_timeout_ms,
    )


def left_by(analysed: Analysed, request: QueryRequest, rewritten: Rewritten) -> Left:
    """Say what a text leaves in its session."""
    session = analysed.session
    if session is None or not session.leaves:
        return Left()
    parameters = tuple(msgspec.structs.replace(one, value={}) for one in request.parameters)
    sql, sent = request.sql + session.ending, rewritten.sql + session.ending
    return Left(Earlier(sql, sent, parameters), session.several)


def new_job(
    principal: Principal, request: QueryRequest, planned: Planned, state: JobState, now: float
) -> Job:
    """Make a new job of a plan, under the id that its client has given or one of its own."""
    if planned.session:
        request = msgspec.structs.replace(request, session=planned.session.id)
    return Job(
        id=uuid4().hex,
        principal=principal,
        request=request,
        plan=planned.plan,
        job_id=request.job_id or f"job_{uuid4().hex}",
        location=planned.location,
        state=state,
        created_at=now,
    )


def _stands_on(decided: Decided) -> tuple[Table | Routine, ...]:
    """Give all objects that a plan changes with."""
    named = {one.named for one in decided.own}
    own = tuple(table for table in decided.analysed.tables if table.id in named)
    return (*decided.understood.tables, *own, *decided.analysed.routines)
