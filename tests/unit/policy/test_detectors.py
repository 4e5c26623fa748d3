from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.unit.policy.conftest import agent

from keystile.model.decision import Decision, Detection, Effect
from keystile.model.errors import UnsafeConfigurationError
from keystile.model.facts import Action, ColumnUse, OutputColumn, QueryFacts, Use
from keystile.model.masks import ConstantMask, EmailMask
from keystile.model.schema import ColumnRef, Field, SqlType, Table, TableId, TableKind
from keystile.policy.compile import compile_policy
from keystile.policy.context import Context

TICKETS = Table(
    TableId("p", "shop", "tickets"),
    TableKind.TABLE,
    (Field("body", "STRING"), Field("title", "STRING")),
    "e",
)
LOGS = Table(TableId("p", "ops", "logs"), TableKind.TABLE, (Field("line", "STRING"),), "e")
BODY, TITLE = (ColumnRef(TICKETS.id, (name,)) for name in ("body", "title"))
LINE = ColumnRef(LOGS.id, ("line",))
FACTS = QueryFacts(
    "SELECT",
    (Action.READ,),
    reads=(TICKETS.id, LOGS.id),
    columns=tuple(ColumnUse(column, (Use.OUTPUT,)) for column in (BODY, TITLE, LINE)),
    output=tuple(
        OutputColumn(column.path[0], SqlType("STRING"), (column,)) for column in (BODY, TITLE, LINE)
    ),
)
READS = "rules: [{name: all, allow: [read]}]\n"


def decided(policy: str, *groups: str) -> Decision:
    compiled = compile_policy({"p.yaml": policy})
    context = Context("p", datetime(2026, 1, 1, tzinfo=UTC))
    return compiled.decide(agent(*groups), FACTS, (TICKETS, LOGS), context)


def found(policy: str, *groups: str) -> tuple[Detection, ...]:
    return decided(policy, *groups).detections


def test_without_the_section_nothing_is_looked_for() -> None:
    assert found(READS) == ()


def test_an_entity_becomes_its_name_unless_something_else_is_said() -> None:
    policy = f"""{READS}
masks: [{{label: pii.email, mask: {{kind: email}}}}]
detectors:
  - {{name: a, find: [ssn]}}
  - {{name: b, find: [email], label: pii.email}}
  - {{name: c, find: [phone], label: pii.phone}}
  - {{name: d, patterns: {{badge: "B[0-9]{{3}}"}}, mask: {{kind: constant, value: "#"}}}}
"""
    assert [(one.entity, one.mask, one.label, one.pattern) for one in found(policy)] == [
        ("ssn", ConstantMask("[SSN]"), "", ""),
        ("email", EmailMask(), "pii.email", ""),
        ("phone", ConstantMask("[PHONE]"), "pii.phone", ""),
        ("badge", ConstantMask("#"), "", "B[0-9]{3}"),
    ]


def test_an_entry_is_about_the_agents_that_it_names() -> None:
    policy = f"{READS}detectors: [{{name: a, find: [ssn], agents: {{groups: [bots]}}}}]"
    assert [len(found(policy)), len(found(policy, "bots"))] == [0, 1]


@pytest.mark.parametrize(
    ("exempt", "shown"),
    [
        ("{datasets: [p.ops]}", (LINE,)),
        ("{projects: [p]}", (LINE, BODY, TITLE)),
        ("{tables: [p.shop.tickets]}", (BODY, TITLE)),
        ("{columns: [title, logs.line]}", (LINE, TITLE)),
        ("{datasets: [p.SHOP]}", ()),
    ],
)
def test_what_is_left_out_is_not_looked_at(exempt: str, shown: tuple[ColumnRef, ...]) -> None:
    (one,) = found(f"{READS}detectors: [{{name: a, find: [ssn], except: {exempt}}}]")
    assert one.shown == shown


def test_who_may_see_the_label_sees_the_values_where_it_may() -> None:
    policy = """
rules:
  - {name: all, allow: [read]}
  - name: sees
    agents: {groups: [sees]}
    resources: {datasets: [p.shop]}
    allow: [read]
    unmask: [pii]
detectors: [{name: a, find: [ssn], label: pii.ssn}, {name: b, find: [ip]}]
"""
    assert [one.shown for one in found(policy)] == [(), ()]
    assert [one.shown for one in found(policy, "sees")] == [(BODY, TITLE), ()]


def test_an_approval_lifts_it_too() -> None:
    policy = """
rules:
  - {name: all, allow: [read]}
  - {name: ask, require_approval: {from: [dpo], unmask: [pii.ssn]}}
detectors: [{name: a, find: [ssn], label: pii.ssn}]
"""
    decision = decided(policy)
    assert decision.effect is Effect.REQUIRE_APPROVAL
    assert decision.detections[0].shown == (LINE, BODY, TITLE)


def test_another_detector_is_another_policy() -> None:
    texts = ("", "detectors: [{name: a, find: [ssn]}]", "detectors: [{name: a, find: [ip]}]")
    assert len({compile_policy({"p.yaml": READS + text}).digest for text in texts}) == 3


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{name: a}", "looks for nothing"),
        ("{name: all, find: [ssn]}", "`all` is taken"),
        ("{name: a, find: [ssn], deny: true, mask: {kind: email}}", "both `deny` and `mask`"),
        ("{name: a, find: [ssn], mask: {kind: constant, value: 3}}", "leaves nothing to read"),
        ("{name: a, find: [ssn], agents: {}}", "`agents` names nothing"),
        ("{name: a, find: [name]}", "unknown value `name`|Invalid"),
        ("{name: a, patterns: {ssn: 'x'}}", "entity `ssn` is taken"),
        ("{name: a, patterns: {x: 'a+'}}", "no upper bound"),
        ("{name: a, find: [ssn], except: {tables: [x]}}", "`except` is not understood"),
        ("{name: a, find: [ssn], except: {columns: ['']}}", "length|empty"),
    ],
)
def test_what_is_wrong_is_said(entry: str, said: str) -> None:
    with pytest.raises(UnsafeConfigurationError, match=said):
        compile_policy({"p.yaml": f"{READS}detectors: [{entry}]"})


def test_an_entry_more_never_shows_more() -> None:
    one: Any = f"{READS}detectors: [{{name: a, find: [ssn], label: pii}}]"
    more = one[:-1] + ", {name: b, find: [ssn, ip], except: {projects: [p]}}]"
    assert set(found(one)) <= set(found(more))
