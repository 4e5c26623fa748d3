from __future__ import annotations

from typing import Any

import pytest

from keystile.recording.events import Event, EventKind
from keystile.recording.reader import Recorded
from keystile.recording.replay import cells, steps

SCHEMA = ({"name": "id", "type": "INTEGER"}, {"name": "ssn", "type": "STRING"})


def recorded(*events: tuple[EventKind, str, dict[str, Any]]) -> list[Recorded]:
    return [
        Recorded("c", number, Event(kind, float(number), "s", "demo-agent", job, body))
        for number, (kind, job, body) in enumerate(events, start=1)
    ]


def row(*values: object) -> dict[str, object]:
    return {"f": [{"v": value} for value in values]}


def test_a_query_with_approval_and_pages_is_one_step() -> None:
    rule = {"rule": "raw-pii", "effect": "require_approval", "message": "a steward must approve"}
    decision = {"effect": "require_approval", "rules": [rule], "policy_digest": "d"}
    vote = {"person": "operator", "approve": True, "comment": "ok", "via": "cli", "at": 3.0}
    intent = {
        "sql": "SELECT id, ssn FROM t",
        "parameters": [{"name": "x"}],
        "statement": "SELECT",
        "actions": ["read"],
        "tables": ["p.d.t"],
        "decision": decision,
        "masked": ["p.d.t.ssn"],
        "rewritten_sql": "SELECT …",
        "digest": "abc",
        "bytes_estimate": 5,
        "request": {"project": "p"},
    }
    outcome = {
        "state": "done",
        "schema": list(SCHEMA),
        "rows": [row("1", "XXX"), row("2", None)],
        "total_rows": 4,
        "bytes_processed": 10,
        "bytes_billed": 20,
        "upstream_job": "u",
        "started_at": 4.0,
        "ended_at": 5.0,
    }
    found = steps(
        recorded(
            (EventKind.INTENT, "j1", intent),
            (EventKind.APPROVAL_REQUESTED, "j1", {"request": "r", "demand": {"count": 1}}),
            (
                EventKind.APPROVAL_DECIDED,
                "j1",
                {"request": "r", "state": "approved", "votes": [vote]},
            ),
            (EventKind.SIGNED_IN, "", {"person": "operator"}),
            (EventKind.OUTCOME, "j1", outcome),
            (EventKind.PAGE, "j1", {"start": 2, "rows": [row("3", "XXX")]}),
            (EventKind.PAGE, "j1", {"start": 2, "rows": [row("3", "XXX"), row("4", "XXX")]}),
        )
    )
    (step,) = found
    assert (step.number, step.state, step.at) == (1, "done", 1.0)
    assert (step.decision.effect, step.decision.rules[0].rule) == ("require_approval", "raw-pii")
    assert step.approvers == ("operator",)
    assert step.approvals[0].demand == {"count": 1}
    assert step.table == (("1", "XXX"), ("2", "NULL"), ("3", "XXX"), ("4", "XXX"))
    assert (step.total_rows, step.bytes_processed, step.masked) == (4, 10, ("p.d.t.ssn",))


def test_refused_and_unfinished_queries_are_steps_too() -> None:
    refused = {
        "sql": "DROP TABLE t",
        "reason": "accessDenied",
        "message": "no schema changes",
        "statement": "DROP_TABLE",
        "actions": ["schema_change"],
        "tables": ["p.d.t"],
    }
    first, second, third = steps(
        recorded(
            (EventKind.REFUSED, "", refused),
            (EventKind.REFUSED, "", refused),
            (EventKind.INTENT, "j", {"sql": "SELECT 1"}),
        )
    )
    assert (first.number, first.state, first.sql) == (1, "refused", "DROP TABLE t")
    assert (first.statement, first.actions) == ("DROP_TABLE", ("schema_change",))
    assert first.tables == ("p.d.t",)
    assert first.error
    assert (first.error.reason, first.error.message) == ("accessDenied", "no schema changes")
    assert (second.number, third.number, third.state) == (2, 3, "running")


def test_a_denied_job_says_so() -> None:
    (step,) = steps(
        recorded(
            (EventKind.INTENT, "j", {"sql": "SELECT 1"}),
            (EventKind.APPROVAL_DECIDED, "j", {"request": "r", "state": "denied"}),
            (EventKind.OUTCOME, "j", {"state": "denied", "error": {"message": "not now"}}),
        )
    )
    assert (step.state, step.approvers, step.approvals[0].state) == ("denied", (), "denied")
    assert step.error
    assert step.error.message == "not now"


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ({"type": "STRING"}, "NULL\n", "NULL\n"),
        ({"type": "STRING"}, None, "NULL"),
        ({"type": "TIMESTAMP"}, "1.7671824E9", "2025-12-31T12:00:00Z"),
        ({"type": "TIMESTAMP"}, "1767182400000001", "2025-12-31T12:00:00.000001Z"),
        ({"type": "TIMESTAMP"}, "-1000000", "1969-12-31T23:59:59Z"),
        ({"type": "TIMESTAMP"}, "9" * 40, "9" * 40),
        ({"type": "INTEGER", "mode": "REPEATED"}, [{"v": "1"}, {"v": None}], '["1",null]'),
        ({"type": "RECORD", "fields": [{"name": "zip"}]}, row("7", "8"), '{"zip":"7","1":"8"}'),
        (
            {"type": "RECORD", "mode": "REPEATED", "fields": [{"name": "at", "type": "TIMESTAMP"}]},
            [{"v": row("0")}],
            '[{"at":"1970-01-01T00:00:00Z"}]',
        ),
        ({}, row("7"), '{"0":"7"}'),
    ],
)
def test_cells(field: dict[str, Any], value: object, text: str) -> None:
    assert cells((field,), row(value)) == (text,)


def test_cells_without_schema() -> None:
    assert cells((), row("1", "2")) == ("1", "2")
