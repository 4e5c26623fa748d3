from __future__ import annotations

from typing import Any

import msgspec
import pytest

from keystile.gate.plan import bytes_ceiling, digest_of
from keystile.model.decision import Decision, Effect
from keystile.model.principal import Principal
from keystile.model.schema import (
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
from keystile.wire.into import Into
from keystile.wire.requests import QueryRequest

WHO = Principal("https://issuer.example", "s", "demo-agent", "run-1", groups=("a", "b"))
ASKED = QueryRequest("SELECT 1", "acme-shop", default_dataset="shop")
DECISION = Decision(Effect.REQUIRE_APPROVAL, (), "p1")
TABLE = Table(TableId("acme-shop", "shop", "customers"), TableKind.TABLE, (), "e1")
ROUTINE = Routine(RoutineId("acme-shop", "fn", "f"), RoutineKind.SCALAR, "SQL", (), "1", etag="e1")
SQL = "SELECT 1"


def digest(**changes: Any) -> str:
    values: dict[str, Any] = {
        "principal": WHO,
        "request": ASKED,
        "sql": SQL,
        "decision": DECISION,
        "objects": (TABLE, ROUTINE),
    }
    return digest_of(**(values | changes))


def replaced(old: Any, /, **changes: Any) -> Any:
    return msgspec.structs.replace(old, **changes)


LAB = TableId("acme-shop", "lab", "kept")
INTO = Into(LAB, {"destinationTable": {}, "writeDisposition": "WRITE_APPEND"})
NUMBER = Parameter("n", SqlType("INT64"), {"value": "1"})
CHANGES: dict[str, dict[str, Any]] = {
    "the text": {"sql": "SELECT 2"},
    "a parameter": {"request": replaced(ASKED, parameters=(NUMBER,))},
    "where the result goes": {"request": replaced(ASKED, into=INTO)},
    "the project": {"request": replaced(ASKED, project="other")},
    "the location": {"request": replaced(ASKED, location="EU")},
    "the default dataset": {"request": replaced(ASKED, default_dataset="hr")},
    "the default project": {"request": replaced(ASKED, default_project="other")},
    "who asks": {"principal": replaced(WHO, subject="t")},
    "the issuer": {"principal": replaced(WHO, issuer="https://other.example")},
    "a group": {"principal": replaced(WHO, groups=("a",))},
    "an attribute": {"principal": replaced(WHO, attributes={"purpose": "support"})},
    "on whose behalf": {"principal": replaced(WHO, on_behalf_of="developer")},
    "the service account": {"principal": replaced(WHO, service_account="x@example.com")},
    "the policy": {"decision": replaced(DECISION, policy_digest="p2")},
    "a table's columns": {"objects": (replaced(TABLE, fields=(Field("ssn", "STRING"),)), ROUTINE)},
    "a table's kind": {"objects": (replaced(TABLE, kind=TableKind.VIEW), ROUTINE)},
    "the tables": {"objects": (ROUTINE,)},
    "a routine's text": {"objects": (TABLE, replaced(ROUTINE, body="SESSION_USER()"))},
    "the routines": {"objects": (TABLE,)},
}


@pytest.mark.parametrize("what", CHANGES)
def test_an_approval_does_not_fit_when_this_changes(what: str) -> None:
    assert digest(**CHANGES[what]) != digest()


def test_a_parameters_value_counts() -> None:
    two = replaced(NUMBER, value={"value": "2"})
    asked = [replaced(ASKED, parameters=(parameter,)) for parameter in (NUMBER, two)]
    assert digest(request=asked[0]) != digest(request=asked[1])


def test_what_changes_nothing_keeps_the_approval() -> None:
    other = Table(TableId("acme-shop", "shop", "a"), TableKind.TABLE, (), "e9")
    assert digest(objects=(TABLE, other)) == digest(objects=(other, TABLE))
    assert digest(principal=replaced(WHO, groups=("b", "a"))) == digest()
    assert digest(principal=replaced(WHO, session="run-2")) == digest()
    # New rows change an etag too; an approval of a table in use would never hold.
    assert digest(objects=(replaced(TABLE, etag="e2"), replaced(ROUTINE, etag="e2"))) == digest()
    assert digest(request=replaced(ASKED, job_id="j", timeout_ms=1)) == digest()


def test_the_ceiling_is_twice_the_estimate_and_leaves_room_for_small_ones() -> None:
    assert bytes_ceiling(1 << 30) == 2 << 30
    assert bytes_ceiling(0) == bytes_ceiling(50 << 20) == 100 << 20


def test_an_approval_was_good_for_another_table_or_disposition() -> None:
    others = [
        replaced(INTO, table=TableId("acme-shop", "lab", "other")),
        replaced(INTO, configuration={"writeDisposition": "WRITE_TRUNCATE"}),
        replaced(INTO, configuration={**INTO.configuration, "clustering": {"fields": ["a"]}}),
    ]
    digests = {digest(request=replaced(ASKED, into=one)) for one in (INTO, *others)}
    assert len(digests) == 4
