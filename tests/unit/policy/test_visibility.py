from __future__ import annotations

from typing import Any

import msgspec
import pytest

from keystile.model.decision import Effect
from keystile.model.facts import Action, QueryFacts
from keystile.model.schema import TableId
from keystile.policy.compile import assembled, compile_policy
from keystile.policy.policy import Policy

BROAD = "agents: {groups: [g]}, allow: [read, write, export, script]"
ALL = (
    "[read, write, schema_change, access_change, export, external, model, routine, session, script]"
)
SALARIES = TableId("acme-shop", "payroll", "salaries")
OPEN = TableId("acme-shop", "shop", "orders")
IN_PAYROLL = "resources: {datasets: [acme-shop.payroll]}"


def policy(*rules: str) -> Policy:
    named = [f"- {{name: r{number}, {rule}}}" for number, rule in enumerate(rules)]
    return compile_policy({"f": "\n".join(["rules:", *named])})


@pytest.mark.parametrize(
    ("denials", "hidden"),
    [
        ([f"{IN_PAYROLL}, deny: {ALL}"], True),
        ([f"{IN_PAYROLL}, deny: [read, write]"], True),  # exports and scripts read, too
        (["resources: {datasets: [ACME-shop.PayRoll]}, deny: [read, write]"], True),
        (["resources: {tables: ['acme-shop.pay*.*']}, deny: [read, write]"], True),
        ([f"{IN_PAYROLL}, deny: [read]", f"{IN_PAYROLL}, deny: [write]"], True),
        ([f"{IN_PAYROLL}, agents: {{groups: [g, h]}}, deny: [read, write]"], True),
        ([f"{IN_PAYROLL}, when: 'agent.name != \"x\"', deny: [read, write]"], True),
        ([f"{IN_PAYROLL}, when: 'agent.name == \"x\"', deny: [read, write]"], False),
        # What an agent lacks makes it fail, and a condition of a deny that fails counts as met.
        ([f"{IN_PAYROLL}, when: 'agent.attributes.team == \"x\"', deny: [read, write]"], True),
        ([f"{IN_PAYROLL}, when: 'has(agent.attributes.team)', deny: [read, write]"], False),
        ([f"{IN_PAYROLL}, agents: {{groups: [h]}}, deny: [read, write]"], False),
        ([f"{IN_PAYROLL}, deny: [read]"], False),  # it may be written to
        ([f"{IN_PAYROLL}, when: query.statement == 'SELECT', deny: [read, write]"], False),
        ([f"{IN_PAYROLL}, when: '!request.dry_run', deny: [read, write]"], False),
        ([f"{IN_PAYROLL}, when: 'request.time.getHours() < 24', deny: [read, write]"], False),
        ([f"{IN_PAYROLL}, deny: [read, write], shadow: true"], False),
    ],
)
def test_a_deny_hides_what_it_leaves_nothing_of(
    shop: Any, denials: list[str], *, hidden: bool
) -> None:
    made, agent = policy(BROAD, *denials), shop.agent("g")
    assert made.may_see_table(agent, SALARIES, shop.context) is not hidden
    assert made.may_see_dataset(agent, "acme-shop", "payroll", shop.context) is not hidden
    assert made.may_see_table(agent, OPEN, shop.context)
    assert made.may_see_dataset(agent, "acme-shop", "shop", shop.context)
    assert made.may_see_project(agent, "acme-shop", shop.context)
    decision = made.hidden_by(agent, SALARIES, shop.context)
    by = [reason.rule for reason in decision.reasons if reason.untold] if decision else []
    assert by == [f"r{number + 1}" for number in range(len(denials)) if hidden]
    assert made.hidden_by(agent, OPEN, shop.context) is None


@pytest.mark.parametrize(
    ("allow", "deny", "dataset", "project"),
    [
        ("datasets: [acme-shop.payroll]", "tables: [acme-shop.payroll.salaries]", True, True),
        ("tables: [acme-shop.payroll.s*]", "tables: [acme-shop.payroll.sal*]", True, True),
        ("tables: [acme-shop.payroll.sal*]", "tables: [acme-shop.payroll.s*]", False, False),
        ("tables: ['acme-shop.*.salaries']", "datasets: [acme-shop.payroll]", False, True),
        ("tables: ['*.*.*']", "projects: [acme-shop]", False, False),
        ("projects: [acme-shop]", "datasets: ['acme-shop.*']", False, False),
        ("projects: ['acme*']", "tables: ['ACME-SHOP.pay*.*']", False, True),
    ],
)
def test_a_home_is_seen_while_one_name_in_it_may_be(
    shop: Any, allow: str, deny: str, *, dataset: bool, project: bool
) -> None:
    made, agent = _unchecked(allow, deny), shop.agent("g")
    assert not made.may_see_table(agent, SALARIES, shop.context)
    assert made.may_see_dataset(agent, "acme-shop", "payroll", shop.context) is dataset
    assert made.may_see_project(agent, "acme-shop", shop.context) is project


def _unchecked(allow: str, deny: str) -> Policy:
    """Compile rules some of which would be refused for never applying."""
    rules = (
        f"{{name: a, resources: {{{allow}}}, allow: [read]}}",
        f"{{name: d, resources: {{{deny}}}, deny: [read]}}",
    )
    return assembled({"f": "\n- ".join(["rules:", *rules])})[0]


CREATE = QueryFacts("CREATE_TABLE", (Action.SCHEMA_CHANGE,), writes=(SALARIES,), unseen=(SALARIES,))


def test_of_what_is_hidden_the_agent_is_told_as_if_no_rule_were_about_it(shop: Any) -> None:
    hides = f"{IN_PAYROLL}, deny: {ALL}, message: salaries are for people"
    decision = policy(BROAD, hides).decide(shop.agent("g"), CREATE, (), shop.context)
    nowhere = policy(BROAD).decide(shop.agent("g"), CREATE, (), shop.context)
    told, untold = decision.reasons
    assert (told,) == nowhere.reasons
    assert (untold.rule, untold.message, untold.untold) == ("r1", "salaries are for people", True)


def test_a_rule_says_nothing_of_a_hidden_table_where_it_denies_another_too(shop: Any) -> None:
    made = policy(
        "allow: [read, write, schema_change]",
        f"{IN_PAYROLL}, deny: [read, write, schema_change]",
        "deny: [schema_change]",
    )
    writes = (SALARIES, OPEN)
    facts = msgspec.structs.replace(CREATE, writes=writes, unseen=writes)
    decision = made.decide(shop.agent("g"), facts, (), shop.context)
    assert decision.effect is Effect.DENY
    told = [reason for reason in decision.reasons if not reason.untold]
    assert [reason.rule for reason in told] == ["r2"]
    assert f"`{OPEN}`" in told[0].message
    assert str(SALARIES) not in told[0].message
    assert [reason.rule for reason in decision.reasons if reason.untold] == ["r1"]


def test_what_is_not_understood_tells_nothing_of_a_rule_that_hides(shop: Any) -> None:
    made = policy(BROAD, f"{IN_PAYROLL}, deny: {ALL}")
    facts = QueryFacts("INSERT", (), writes=(SALARIES,))
    decision = made.decide(shop.agent("g"), facts, (), shop.context)
    assert [reason.rule for reason in decision.reasons] == ["not-understood"]
    opaque = QueryFacts("INSERT", (Action.WRITE,), writes=(SALARIES,))
    decision = made.decide(shop.agent("g"), opaque, (), shop.context)
    assert [(one.rule, one.untold) for one in decision.reasons] == [
        ("not-understood", False),
        ("r1", True),
    ]


def test_a_decision_named_another_hidden_table_in_each_process(shop: Any) -> None:
    made, agent = policy(BROAD, f"{IN_PAYROLL}, deny: [read, write]"), shop.agent("g")
    hidden = tuple(TableId("acme-shop", "payroll", f"t{number}") for number in range(8))
    facts = QueryFacts("SELECT", (Action.READ,), reads=(OPEN, *hidden), unseen=(OPEN, *hidden))
    reasons = made.decide(agent, facts, (), shop.context).reasons
    [untold] = [reason for reason in reasons if reason.untold]
    assert untold.message.endswith(f"`{hidden[-1]}`")


def test_a_rule_about_every_table_is_told_whatever_is_named(shop: Any) -> None:
    made = policy(
        BROAD, f"{IN_PAYROLL}, deny: [read, write]", "deny: [read, write], message: closed"
    )
    agent = shop.agent("g")
    for table in (OPEN, SALARIES, TableId("acme-shop", "shop", "absent")):
        assert not made.may_see_table(agent, table, shop.context)
        hidden = made.hidden_by(agent, table, shop.context)
        assert [(one.rule, one.message, one.untold) for one in hidden.reasons] == [
            ("r2", "closed", False)
        ]
        facts = QueryFacts("SELECT", (Action.READ,), reads=(table,), unseen=(table,))
        assert not any(one.untold for one in made.decide(agent, facts, (), shop.context).reasons)
