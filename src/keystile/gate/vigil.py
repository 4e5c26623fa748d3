"""Watch over jobs that wait for people."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import NamedTuple

from keystile.approvals.machine import ApprovalRequest, ApprovalState, Summary, TouchedColumn
from keystile.approvals.requests import Approvals
from keystile.gate import records
from keystile.gate.jobs import Job
from keystile.gate.plan import bytes_ceiling
from keystile.gate.planned import Planned
from keystile.gate.recorder import Recorder
from keystile.model.decision import ApprovalDemand
from keystile.model.errors import RefusedError, StoppedError
from keystile.wire.responses import JobError


class Verdict(StrEnum):
    """What people have made of a waiting job."""

    WAIT = "wait"
    ASK = "ask"
    RELEASE = "release"
    DENIED = "denied"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class Seen(NamedTuple):
    """A verdict and the requests that it comes from."""

    verdict: Verdict
    requests: tuple[ApprovalRequest, ...]


class Vigil:
    """Asks people and reads their answers."""

    def __init__(self, approvals: Approvals, recorder: Recorder) -> None:
        """Ask through `approvals`; everything asked and answered goes on record."""
        self._approvals = approvals
        self._recorder = recorder

    async def ask(self, job: Job) -> None:
        """Open one request for each demand of the job's plan; open ones stay as they are."""
        for demand in job.plan.decision.approvals:
            request = await self._approvals.open(
                job=job.id,
                digest=job.plan.digest,
                session=job.principal.session,
                principal=job.principal,
                summary=_summary(job, demand),
                demand=demand,
                now=time.time(),
            )
            await self._recorder.record(records.approval_requested(job, request))

    async def look(self, job: Job) -> Seen:
        """Read how people have answered for exactly this plan of the job."""
        requests = tuple(
            request
            for request in await self._approvals.for_job(job.id)
            if request.digest == job.plan.digest
        )
        return Seen(_verdict(job, requests), requests)

    def fits(self, job: Job, planned: Planned) -> bool:
        """Tell whether what would run now is what people approved.

        Raises `RefusedError` where it is, but would read far more than they saw.
        """
        plan, ceiling = planned.plan, bytes_ceiling(job.plan.bytes_estimate)
        if plan.digest != job.plan.digest:
            return False
        if plan.bytes_estimate > ceiling:
            raise RefusedError(
                "the query would read far more bytes by now than were approved",
                hint="run it again, so that people decide on its new size",
            )
        return True

    async def note(self, job: Job, seen: Seen) -> None:
        """Put on record how people decided."""
        for request in seen.requests:
            if request.state is not ApprovalState.PENDING:
                now = time.time()
                await self._recorder.record(records.approval_decided(job, request, now))

    async def withdraw(self, job: Job) -> None:
        """Close what is open of a job that its agent has cancelled."""
        now = time.time()
        for request in await self._approvals.cancel_for_job(job.id, now):
            await self._recorder.record(records.approval_decided(job, request, now))


def refusal(seen: Seen) -> JobError:
    """Say to the client, in the approver's own words, why its query will not run."""
    if seen.verdict is Verdict.CANCELLED:
        return JobError.of(withdrawn())
    for request in seen.requests:
        if request.state is ApprovalState.DENIED:
            vote = next(vote for vote in request.votes if not vote.approve)
            return _refused(
                f"denied by `{vote.person}`: {vote.comment or 'no reason given'}",
                request,
                f"ask `{vote.person}` what would be approved",
            )
    expired = next(r for r in seen.requests if r.state is not ApprovalState.APPROVED)
    groups = " or ".join(f"`{group}`" for group in expired.demand.approvers)
    hint = f"run it again when somebody of {groups} can decide"
    return _refused("nobody approved the query in time", expired, hint)


def withdrawn() -> StoppedError:
    """Say that the agent itself has cancelled what waited."""
    return StoppedError(
        "the job was cancelled while it waited for approval",
        hint="run it again to ask once more",
    )


def _refused(sentence: str, request: ApprovalRequest, hint: str) -> JobError:
    where = f"(rule `{request.demand.rule}`, request `{request.id}`)"
    return JobError.of(RefusedError(f"{sentence} {where}", hint=hint))


def _verdict(job: Job, requests: tuple[ApprovalRequest, ...]) -> Verdict:
    states = [request.state for request in requests]
    if ApprovalState.DENIED in states:
        return Verdict.DENIED
    if ApprovalState.CANCELLED in states:
        return Verdict.CANCELLED
    if ApprovalState.EXPIRED in states:
        return Verdict.EXPIRED
    approved = {r.demand for r in requests if r.state is ApprovalState.APPROVED}
    if approved.issuperset(job.plan.decision.approvals):
        # INVARIANT: only demands that were met for this very digest release a job.
        return Verdict.RELEASE
    asked = {request.demand for request in requests}
    return Verdict.WAIT if asked.issuperset(job.plan.decision.approvals) else Verdict.ASK


def _summary(job: Job, demand: ApprovalDemand) -> Summary:
    plan, request = job.plan, job.request
    masked = {mask.column for mask in plan.decision.masks}
    reason = next((r.message for r in plan.decision.reasons if r.rule == demand.rule), "")
    columns = []
    for use in plan.facts.columns:
        labels = plan.labels.get(str(use.column), ())
        columns.append(
            TouchedColumn(
                column=str(use.column),
                labels=labels,
                uses=tuple(str(how) for how in use.uses),
                masked=use.column in masked,
                unlocked=bool(labels) and use.column not in masked,
            )
        )
    return Summary(
        sql=request.sql,
        parameters=request.parameters,
        rewritten_sql=plan.sql,
        into=request.into.text if request.into else "",
        statement=plan.facts.statement,
        reads=tuple(map(str, plan.facts.reads)),
        writes=tuple(map(str, plan.facts.writes)),
        uris=plan.facts.uris,
        columns=tuple(columns),
        bytes=None if request.transfer else plan.bytes_estimate,
        rule=demand.rule,
        reason=reason,
        claims=job.principal.attributes,
        instead=plan.instead,
    )
