"""What the gate records of each step: pure functions from the gate's values to event bodies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from keystile.approvals.machine import ApprovalRequest
from keystile.detecting.rows import Rows
from keystile.gate.basis import Basis, detectors_of, protection_of
from keystile.gate.decided import Decided
from keystile.gate.jobs import Job
from keystile.gate.looking import Caught, Finding
from keystile.gate.plan import Plan
from keystile.model.decision import Decision
from keystile.model.errors import KeystileError, UnmaskableError, because
from keystile.model.facts import QueryFacts
from keystile.model.principal import Principal
from keystile.recording.events import Event, EventKind
from keystile.upstream.values import JobStatus
from keystile.wire.requests import QueryRequest
from keystile.wire.responses import JobError
from keystile.wire.schema import field_json, parameter_json
from keystile.wire.streaming import BadRow, NewRow

_ASKED = frozenset((EventKind.INTENT, EventKind.REFUSED))


class Direct(NamedTuple):
    """What BigQuery does at once, without a job: `id` stands where a job's would.

    `sql` says what it is, `request` how it was asked for, and `sent` has the rows that came along.
    """

    id: str
    principal: Principal
    sql: str
    request: dict[str, object]
    sent: Sequence[NewRow] = ()


def intent(job: Job, at: float) -> Event:
    """Tell of a query that is about to run or to wait, or of a script's statement that has run."""
    request, plan = job.request, job.plan
    body = {
        **_asked(request),
        **_found(plan),
        "masked": [str(column) for column in plan.masked],
        "rewritten_sql": plan.sql,
        "digest": plan.digest,
        "bytes_estimate": plan.bytes_estimate,
        "request": {
            **_request(request),
            "job_id": job.job_id,
            "location": job.location,
            **({"script": job.child.parent} if job.child else {}),
        },
    }
    return _event(EventKind.INTENT, job.principal, job.id, at, body)


def refused(
    principal: Principal,
    request: QueryRequest,
    error: KeystileError,
    found: Plan | Decided | Basis,
    at: float,
) -> Event:
    """Tell of a query that never ran; `found` is a basis where it was not even understood."""
    body = {
        **_asked(request),
        **_why(error),
        **_found(found),
        "request": {**_request(request), "job_id": request.job_id, "location": request.location},
    }
    return _event(EventKind.REFUSED, principal, "", at, body)


def ended(job: Job, state: str, error: JobError, at: float) -> Event:
    """Tell of a job that ended without a result: `failed`, `cancelled`, `denied`, `expired`."""
    body = {
        "state": state,
        "error": {"reason": error.reason, "message": error.message},
        "upstream_job": job.upstream_id,
        "started_at": job.started_at,
        "ended_at": job.ended_at or at,
    }
    return _event(EventKind.OUTCOME, job.principal, job.id, at, body)


def done(job: Job, status: JobStatus, rows: Rows, findings: Sequence[Finding], at: float) -> Event:
    """Tell of a job that ended well, with the first page of its masked rows.

    `findings` are what was masked in them because no label covers it.
    """
    body = {
        "state": "done",
        "schema": _schema(job.plan, status),
        "rows": rows,
        "total_rows": status.total_rows,
        "bytes_processed": status.bytes_processed,
        "bytes_billed": status.bytes_billed,
        "upstream_job": job.upstream_id,
        "started_at": job.started_at,
        "ended_at": job.ended_at or at,
    }
    if findings:
        body["found"] = msgspec.to_builtins(findings)
    if status.moved:
        body["moved"] = status.moved
    return _event(EventKind.OUTCOME, job.principal, job.id, at, body)


def page(job: Job, start: int, caught: Caught, at: float) -> Event:
    """Tell of further rows that are about to be released."""
    body: dict[str, Any] = {"start": start, "rows": caught.rows}
    if caught.findings:
        body["found"] = msgspec.to_builtins(caught.findings)
    return _event(EventKind.PAGE, job.principal, job.id, at, body)


def direct_intent(direct: Direct, decided: Decided, at: float) -> Event:
    """Tell of what is about to be done without a job."""
    body = {**_directly_asked(direct, decided), **_found(decided)}
    return _event(EventKind.INTENT, direct.principal, direct.id, at, body)


def direct_refused(direct: Direct, error: KeystileError, found: Decided | None, at: float) -> Event:
    """Tell of what was never sent."""
    body = {**_directly_asked(direct, found), **_why(error), **_found(found or Basis())}
    return _event(EventKind.REFUSED, direct.principal, "", at, body)


def direct_failed(direct: Direct, error: JobError, started: float, at: float) -> Event:
    """Tell of what BigQuery refused as a whole, or of which nothing is known any more."""
    body = {
        "state": "failed",
        "error": {"reason": error.reason, "message": error.message},
        "started_at": started,
        "ended_at": at,
    }
    return _event(EventKind.OUTCOME, direct.principal, direct.id, at, body)


def direct_done(direct: Direct, bad: Sequence[BadRow], started: float, at: float) -> Event:
    """Tell that it is done, and of rows which are not in the table; all others are in it."""
    body: dict[str, Any] = {"state": "done", "started_at": started, "ended_at": at}
    if direct.sent:
        body["bad_rows"] = msgspec.to_builtins(bad)
    if direct.sent and len({row.index for row in bad}) >= len(direct.sent):
        message = "no row is in the table: the request has rows that do not fit it"
        body |= {"state": "failed", "error": {"reason": "invalid", "message": message}}
    return _event(EventKind.OUTCOME, direct.principal, direct.id, at, body)


def approval_requested(job: Job, request: ApprovalRequest) -> Event:
    """Tell of a demand that people have been asked."""
    body = {
        "request": request.id,
        "demand": msgspec.to_builtins(request.demand),
        "summary": msgspec.to_builtins(request.summary),
    }
    at = request.requested_at
    return _event(EventKind.APPROVAL_REQUESTED, job.principal, job.id, at, body)


def approval_decided(job: Job, request: ApprovalRequest, at: float) -> Event:
    """Tell how a demand ended, with who decided what, when and why."""
    body = {
        "request": request.id,
        "state": str(request.state),
        "votes": msgspec.to_builtins(request.votes),
    }
    return _event(EventKind.APPROVAL_DECIDED, job.principal, job.id, at, body)


def _event(
    kind: EventKind, principal: Principal, job: str, at: float, body: dict[str, Any]
) -> Event:
    if kind in _ASKED:
        body = {**body, "principal": _claims(principal)}
        if principal.on_behalf_of:
            body["on_behalf_of"] = principal.on_behalf_of
    return Event(
        kind=kind, at=at, session=principal.session, agent=principal.agent, job=job, body=body
    )


def _claims(principal: Principal) -> dict[str, Any]:
    return {
        "issuer": principal.issuer,
        "subject": principal.subject,
        "service_account": principal.service_account,
        "groups": principal.groups,
        "attributes": principal.attributes,
        "address": principal.address,
        "client": principal.client,
    }


def _asked(request: QueryRequest) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "sql": request.sql,
        "parameters": [parameter_json(parameter) for parameter in request.parameters],
    }
    return {**asked, "into": request.into.text} if request.into else asked


def _request(request: QueryRequest) -> dict[str, Any]:
    """Give what a query's meaning and the decision on it depend on."""
    limit = request.maximum_bytes_billed
    return {
        "project": request.project,
        "default_project": request.default_project,
        "default_dataset": request.default_dataset,
        "dry_run": request.dry_run,
        **({"maximum_bytes_billed": limit} if limit is not None else {}),
        **({"session": request.session} if request.session else {}),
        **({"transfer": True} if request.transfer else {}),
        **({"creates_session": True} if request.creates_session else {}),
    }


def _why(error: KeystileError) -> dict[str, Any]:
    unmaskable = {"unmaskable": True} if isinstance(error, UnmaskableError) else {}
    why = {"reason": error.reason, "message": str(error), **unmaskable}
    hides = because(error)
    return {**why, "decision": _decision(hides, QueryFacts("", ()))} if hides else why


def _found(found: Plan | Decided | Basis) -> dict[str, Any]:
    if isinstance(found, Basis):
        return {"rests_on": msgspec.to_builtins(found)}
    facts, basis = found.facts, found.basis if isinstance(found, Plan) else found.rests_on.basis
    tables = dict.fromkeys(map(str, (*facts.reads, *facts.writes)))
    return {
        "statement": facts.statement,
        "actions": [str(action) for action in facts.actions],
        "tables": [*tables],
        "decision": _decision(found.decision, facts),
        "rests_on": msgspec.to_builtins(basis),
        "runs_as": {"connection": found.account.connection, "account": found.account.name},
    }


def _directly_asked(direct: Direct, found: Decided | None) -> dict[str, Any]:
    sent = {"sent": msgspec.to_builtins(direct.sent)} if direct.sent else {}
    # What was decided on is a whole statement; `sql` says what was asked for.
    statement = {"statement": found.analysed.statement.sql} if found else {}
    return {"sql": direct.sql, "request": {**direct.request, **statement}, **sent}


def _schema(plan: Plan, status: JobStatus) -> list[dict[str, Any]]:
    """Give the result's columns, each with the masked columns that its values come from."""
    masked = set(plan.masked)
    sources = [set(column.sources) & masked for column in plan.facts.output]
    if len(sources) != len(status.schema):
        sources = [masked] * len(status.schema)
    return [
        {**field_json(field), "masked": sorted(map(str, behind))}
        for field, behind in zip(status.schema, sources, strict=True)
    ]


def _decision(decision: Decision, facts: QueryFacts) -> dict[str, Any]:
    used = {use.column for use in facts.columns}
    return {
        "effect": str(decision.effect),
        "rules": msgspec.to_builtins(decision.reasons),
        "policy_digest": decision.policy_digest,
        "limits": msgspec.to_builtins(decision.limits),
        "masks": [
            {
                "column": str(one.column),
                "label": one.label,
                "mask": msgspec.to_builtins(one.mask),
            }
            for one in decision.masks
            if one.column in used
        ],
        "approvals": msgspec.to_builtins(decision.approvals),
        "row_filters": [
            {"table": str(one.table), "rule": one.rule, "where": one.where}
            for one in decision.row_filters
        ],
        "protection": protection_of(decision),
        **({"detectors": detectors_of(decision)} if decision.detections else {}),
        **({"shadows": msgspec.to_builtins(decision.shadows)} if decision.shadows else {}),
    }
