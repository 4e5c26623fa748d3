"""A session as steps: what was asked, what was decided, what came back. No BigQuery involved."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from keystile.recording.decided import DecisionBody, RestsOnBody
from keystile.recording.events import EventKind
from keystile.recording.people_events import ApprovalDecidedBody, ApprovalRequestedBody, VoteBody
from keystile.recording.query_events import (
    BadRowBody,
    ErrorBody,
    FindingBody,
    IntentBody,
    OutcomeBody,
    PageBody,
    PrincipalBody,
    RefusedBody,
    RowFaultBody,
    RunsAsBody,
    SentRowBody,
)
from keystile.recording.reader import Recorded

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Approval(msgspec.Struct, frozen=True):
    """One approval request of a step and how it ended; `state` is `pending` until then."""

    request: str
    state: str = "pending"
    demand: dict[str, Any] = {}
    votes: tuple[VoteBody, ...] = ()


class Step(msgspec.Struct, frozen=True):
    """One query of a session.

    `state` is `refused`, `running` or the outcome's state. `rows` are BigQuery's JSON rows as they
    were released, masked, by their index in the result. `sent` are rows that were put into a table
    without SQL, `bad_rows` those of them that are not in it. `found` is what was masked in
    `rows` because no label covers it. Times are UTC epoch seconds.
    """

    number: int
    at: float
    job: str
    agent: str
    sql: str
    state: str
    principal: PrincipalBody = PrincipalBody()
    on_behalf_of: str = ""
    parameters: tuple[Any, ...] = ()
    into: str = ""
    statement: str = ""
    actions: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    masked: tuple[str, ...] = ()
    rewritten_sql: str = ""
    digest: str = ""
    decision: DecisionBody = DecisionBody()
    bytes_estimate: int | None = None
    request: dict[str, Any] = {}
    rests_on: RestsOnBody = RestsOnBody()
    runs_as: RunsAsBody = RunsAsBody()
    approvals: tuple[Approval, ...] = ()
    error: ErrorBody | None = None
    schema: tuple[dict[str, Any], ...] = ()
    rows: dict[int, Any] = {}
    total_rows: int | None = None
    bytes_processed: int | None = None
    bytes_billed: int | None = None
    upstream_job: str = ""
    started_at: float | None = None
    ended_at: float | None = None
    sent: tuple[SentRowBody, ...] = ()
    bad_rows: tuple[BadRowBody, ...] = ()
    found: tuple[FindingBody, ...] = ()

    @property
    def hints(self) -> tuple[str, ...]:
        """What to do about values that were found where no label is."""
        return tuple(
            dict.fromkeys(
                f"unlabelled {one.label or one.entity} in column {column}: add a label"
                for one in self.found
                for column in one.columns
            )
        )

    @property
    def faults(self) -> dict[int, str]:
        """What is wrong with each sent row that is not in the table, by its index."""
        return {row.index: "; ".join(map(_fault, row.faults)) for row in self.bad_rows}

    @property
    def approvers(self) -> tuple[str, ...]:
        """Who approved."""
        votes = (vote for approval in self.approvals for vote in approval.votes)
        return tuple(vote.person for vote in votes if vote.approve)

    @property
    def table(self) -> tuple[tuple[str, ...], ...]:
        """The recorded rows as texts, cell by cell in the order of `schema`."""
        return tuple(cells(self.schema, self.rows[index]) for index in sorted(self.rows))


def steps(events: Iterable[Recorded]) -> tuple[Step, ...]:
    """Put the events of a session together, one step for each query, in the order of time.

    Events that belong to no query (a sign-in, a viewing) make no step.
    """
    found: dict[str, Step] = {}
    for recorded in events:
        event = recorded.event
        key = event.job or f"{recorded.chain}/{recorded.seq}"
        known = found.get(key)
        if known is None:
            if event.kind not in {EventKind.INTENT, EventKind.REFUSED}:
                continue
            known = Step(len(found) + 1, event.at, event.job, event.agent, "", "running")
        found[key] = _add(known, recorded)
    return tuple(found.values())


def _add(step: Step, recorded: Recorded) -> Step:
    body, changes = recorded.event.body, dict[str, Any]()
    match recorded.event.kind:
        case EventKind.INTENT:
            changes = msgspec.structs.asdict(msgspec.convert(body, IntentBody))
        case EventKind.REFUSED:
            changes = _refused(step, msgspec.convert(body, RefusedBody))
        case EventKind.OUTCOME:
            changes = msgspec.structs.asdict(msgspec.convert(body, OutcomeBody))
            changes["rows"] = step.rows | _rows(0, changes["rows"])
        case EventKind.PAGE:
            page = msgspec.convert(body, PageBody)
            rows = _rows(page.start, page.rows)
            changes = {"rows": step.rows | rows}
            if not rows.keys() <= step.rows.keys():
                changes["found"] = _summed((*step.found, *page.found))
        case EventKind.APPROVAL_REQUESTED:
            asked = msgspec.convert(body, ApprovalRequestedBody)
            changes = _approval(step, Approval(asked.request, demand=asked.demand))
        case EventKind.APPROVAL_DECIDED:
            decided = msgspec.convert(body, ApprovalDecidedBody)
            changes = _approval(step, Approval(decided.request, decided.state, votes=decided.votes))
    return msgspec.structs.replace(step, **changes)


def _refused(step: Step, body: RefusedBody) -> dict[str, Any]:
    return {
        "sql": body.sql or step.sql,
        "principal": body.principal if body.principal.issuer else step.principal,
        "on_behalf_of": body.on_behalf_of or step.on_behalf_of,
        "parameters": body.parameters or step.parameters,
        "into": body.into or step.into,
        "statement": body.statement or step.statement,
        "actions": body.actions or step.actions,
        "tables": body.tables or step.tables,
        "state": "refused",
        "decision": body.decision or step.decision,
        "rests_on": body.rests_on if body.rests_on.context else step.rests_on,
        "runs_as": body.runs_as if body.runs_as.account else step.runs_as,
        "request": body.request or step.request,
        "error": ErrorBody(reason=body.reason, message=body.message),
        "sent": body.sent or step.sent,
    }


def _fault(fault: RowFaultBody) -> str:
    words = (fault.location, fault.message or fault.reason)
    return ": ".join(filter(None, words))


def _approval(step: Step, new: Approval) -> dict[str, Any]:
    by_request = {approval.request: approval for approval in step.approvals}
    known = by_request.get(new.request)
    if known and not new.demand:
        new = msgspec.structs.replace(new, demand=known.demand)
    by_request[new.request] = new
    return {"approvals": tuple(by_request.values())}


def _summed(found: Iterable[FindingBody]) -> tuple[FindingBody, ...]:
    counts: dict[FindingBody, int] = {}
    for one in found:
        where = msgspec.structs.replace(one, count=0)
        counts[where] = counts.get(where, 0) + one.count
    return tuple(msgspec.structs.replace(one, count=count) for one, count in counts.items())


def _rows(start: int, rows: tuple[Any, ...]) -> dict[int, Any]:
    return dict(enumerate(rows, start=start))


def cells(schema: tuple[dict[str, Any], ...], row: Any) -> tuple[str, ...]:
    """Give a row's cells as texts: `NULL` for null, JSON for records and arrays.

    `row` is BigQuery's `{"f": [{"v": …}]}`; `schema` its fields.
    """
    values = [cell.get("v") for cell in row.get("f", [])] if isinstance(row, dict) else [row]
    fields = [*schema, *({} for _ in values[len(schema) :])]
    return tuple(_text(_plain(field, value)) for field, value in zip(fields, values, strict=False))


def _plain(field: dict[str, Any], value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, list):
        single = {**field, "mode": "NULLABLE"}
        return [_plain(single, one.get("v") if isinstance(one, dict) else one) for one in value]
    if isinstance(value, dict):
        fields = field.get("fields") or []
        parts = [cell.get("v") for cell in value.get("f", [])]
        names = [one.get("name") or str(place) for place, one in enumerate(fields)]
        names += [str(place) for place in range(len(names), len(parts))]
        inner = [*fields, *({} for _ in parts[len(fields) :])]
        return {
            name: _plain(one, part) for name, one, part in zip(names, inner, parts, strict=False)
        }
    return _moment(value) if field.get("type") == "TIMESTAMP" else value


def _moment(value: Any) -> Any:
    """Give a timestamp cell in ISO: whole numbers are microseconds, others are seconds."""
    try:
        whole = str(value).lstrip("-").isdigit()
        span = timedelta(microseconds=int(value)) if whole else timedelta(seconds=float(value))
        return (_EPOCH + span).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError):
        return value


def _text(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, (list, dict)):
        return msgspec.json.encode(value).decode()
    return str(value)
