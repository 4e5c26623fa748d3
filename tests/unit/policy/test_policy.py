from __future__ import annotations

from typing import Any

import msgspec
import pytest

from keystile.model.decision import Effect
from keystile.model.facts import Action, ColumnUse, Opaque, QueryFacts, Redefined, Use
from keystile.model.masks import DefaultMask, EmailMask, PatternMask
from keystile.model.schema import ColumnRef, Table, TableId, TableKind
from keystile.policy.compile import assembled, compile_policy
from keystile.policy.policy import Policy

LABELS = """
labels:
  - {label: pii.ssn, columns: [customers.ssn]}
  - {label: pii.email, columns: [customers.email]}
masks:
  - {label: pii.ssn, mask: {kind: pattern, pattern: XXX}}
"""
READ = (
    "- {name: read, agents: {groups: [g]}, resources: {datasets: [acme-shop.shop]}, allow: [read]}"
)


def policy(*rules: str) -> Policy:
    # Some of these would be refused for never applying; they are decided by all the same.
    return assembled({"f": LABELS + "rules:\n" + "\n".join(rules)} if rules else {"f": LABELS})[0]


def decide(shop: Any, made: Policy, facts: QueryFacts, *groups: str, **attributes: str) -> Any:
    tables = (shop.customers, shop.orders, shop.events)
    named = {*facts.reads, *facts.writes}
    return made.decide(
        shop.agent(*groups, **attributes),
        facts,
        tuple(table for table in tables if table.id in named),
        shop.context,
    )


def writes(shop: Any, action: Action = Action.WRITE) -> QueryFacts:
    """What `INSERT INTO events SELECT … FROM orders` does."""
    return QueryFacts(
        "INSERT", (Action.READ, action), reads=(shop.orders.id,), writes=(shop.events.id,)
    )


def test_nothing_matched_is_denied_and_says_what_is_missing(shop: Any) -> None:
    decision = decide(shop, policy(), shop.selects(shop.orders, "id"), "g")
    assert decision.effect is Effect.DENY
    [reason] = decision.reasons
    assert reason.rule == "default-deny"
    assert "agent `demo` `read` on `acme-shop.shop.orders`" in reason.message


def test_an_allow_rule_allows_and_masks_every_protected_column(shop: Any) -> None:
    made = policy(READ)
    decision = decide(shop, made, shop.selects(shop.customers, "id"), "g")
    assert decision.effect is Effect.ALLOW
    assert [reason.rule for reason in decision.reasons] == ["read"]
    assert {(mask.column.path, mask.label, mask.mask) for mask in decision.masks} == {
        (("email",), "pii.email", DefaultMask()),
        (("SSN",), "pii.ssn", PatternMask("XXX")),
    }
    assert decision.policy_digest == made.digest
    assert made.labels(shop.customers) == {("email",): ("pii.email",), ("SSN",): ("pii.ssn",)}


def test_every_table_needs_a_rule(shop: Any) -> None:
    facts = QueryFacts("SELECT", (Action.READ,), reads=(shop.orders.id, shop.events.id))
    decision = decide(shop, policy(READ), facts, "g")
    assert decision.effect is Effect.DENY
    assert "acme-shop.analytics.events" in decision.reasons[0].message
    assert "acme-shop.shop.orders" not in decision.reasons[0].message
    second = "- {name: e, resources: {datasets: [acme-shop.analytics]}, allow: [read]}"
    assert decide(shop, policy(READ, second), facts, "g").effect is Effect.ALLOW


def test_every_action_needs_a_rule_on_what_it_is_done_to(shop: Any) -> None:
    facts = writes(shop)
    on_events = "- {name: w, resources: {datasets: [acme-shop.analytics]}, allow: [write]}"
    on_shop = "- {name: w, resources: {datasets: [acme-shop.shop]}, allow: [write]}"
    assert decide(shop, policy(READ), facts, "g").effect is Effect.DENY
    assert decide(shop, policy(READ, on_shop), facts, "g").effect is Effect.DENY
    assert decide(shop, policy(on_events), facts, "g").effect is Effect.DENY
    assert decide(shop, policy(READ, on_events), facts, "g").effect is Effect.ALLOW


def test_reading_a_table_needs_the_right_even_where_no_read_is_stated(shop: Any) -> None:
    facts = msgspec.structs.replace(writes(shop), actions=(Action.WRITE,))
    write_all = "- {name: w, allow: [write]}"
    assert decide(shop, policy(write_all), facts, "g").effect is Effect.DENY
    assert decide(shop, policy(write_all, READ), facts, "g").effect is Effect.ALLOW


def test_the_same_query_is_judged_anew_when_its_tables_changed(shop: Any) -> None:
    made, facts = policy(READ), shop.selects(shop.customers, "email")

    def asked(*tables: Table) -> Any:
        return made.decide(shop.agent("g"), facts, tables, shop.context)

    first = asked(shop.customers)
    assert first.effect is Effect.ALLOW
    assert asked(shop.customers) == first
    without = msgspec.structs.replace(shop.customers, fields=shop.customers.fields[:2])
    assert asked(without).effect is Effect.DENY
    assert asked().effect is Effect.DENY
    assert asked(shop.customers) == first


def test_export_is_done_to_what_is_read(shop: Any) -> None:
    facts = QueryFacts("EXPORT_DATA", (Action.READ, Action.EXPORT), reads=(shop.orders.id,))
    elsewhere = "- {name: x, resources: {datasets: [acme-shop.analytics]}, allow: [export]}"
    here = "- {name: x, resources: {datasets: [acme-shop.shop]}, allow: [export]}"
    assert decide(shop, policy(READ, elsewhere), facts, "g").effect is Effect.DENY
    assert decide(shop, policy(READ, here), facts, "g").effect is Effect.ALLOW


def test_a_query_of_no_table_needs_any_read_rule(shop: Any) -> None:
    facts = QueryFacts("SELECT", (Action.READ,))
    assert decide(shop, policy(READ), facts, "g").effect is Effect.ALLOW
    assert decide(shop, policy(READ), facts, "other").effect is Effect.DENY


def test_a_change_to_no_known_table_needs_a_rule_about_all(shop: Any) -> None:
    facts = QueryFacts("CREATE_SCHEMA", (Action.SCHEMA_CHANGE,))
    some = "- {name: s, resources: {projects: [acme-shop]}, allow: [schema_change]}"
    every = "- {name: s, allow: [schema_change]}"
    deny = "- {name: d, resources: {projects: [other]}, deny: [schema_change]}"
    assert decide(shop, policy(some), facts, "g").effect is Effect.DENY
    assert decide(shop, policy(every), facts, "g").effect is Effect.ALLOW
    assert decide(shop, policy(every, deny), facts, "g").effect is Effect.DENY


def test_any_deny_wins_and_all_that_deny_are_named(shop: Any) -> None:
    denials = [
        "- {name: b, deny: [read], message: not this way}",
        "- {name: a, deny: [write, read], resources: {tables: [acme-shop.shop.ORDERS]}}",
        "- {name: c, deny: [write]}",
        "- {name: ask, require_approval: {from: [p]}}",
        "- {name: alter, allow: [schema_change]}",
    ]
    decision = decide(shop, policy(READ, *denials), shop.selects(shop.orders, "id"), "g")
    assert decision.effect is Effect.DENY
    assert [(reason.rule, reason.message) for reason in decision.reasons] == [
        (
            "a",
            "rule `a` denies `read` on `acme-shop.shop.orders`; ask its owner if you need it",
        ),
        ("b", "not this way"),
    ]
    assert decision.masks == decision.approvals == ()


def test_every_required_approval_applies_and_unlocks(shop: Any) -> None:
    rules = [
        """- name: two
  when: query.touches('pii.ssn')
  require_approval: {from: [stewards, owners], count: 2, expires: 2h, unmask: [pii.ssn]}""",
        "- {name: one, when: query.touches('pii'), require_approval: {from: [leads]}}",
    ]
    decision = decide(shop, policy(READ, *rules), shop.selects(shop.customers, "SSN"), "g")
    assert decision.effect is Effect.REQUIRE_APPROVAL
    assert [
        (demand.rule, demand.approvers, demand.count, demand.expires_seconds, demand.unmask)
        for demand in decision.approvals
    ] == [
        ("one", ("leads",), 1, 1800, ()),
        ("two", ("stewards", "owners"), 2, 7200, ("pii.ssn",)),
    ]
    assert [mask.label for mask in decision.masks] == ["pii.email"]
    assert [reason.rule for reason in decision.reasons] == ["one", "two", "read"]
    untouched = decide(shop, policy(READ, *rules), shop.selects(shop.customers, "id"), "g")
    assert untouched.effect is Effect.ALLOW
    assert {mask.label for mask in untouched.masks} == {"pii.ssn", "pii.email"}


def test_an_approval_is_no_right_to_read(shop: Any) -> None:
    made = policy("- {name: one, require_approval: {from: [leads], unmask: [pii]}}")
    assert decide(shop, made, shop.selects(shop.customers, "id"), "g").effect is Effect.DENY


@pytest.mark.parametrize(
    ("rule", "effect", "labels"),
    [
        ("allow: [read], unmask: [pii]", Effect.ALLOW, {"pii.ssn", "pii.email"}),
        ("deny: [read]", Effect.DENY, set()),
        (
            "require_approval: {from: [p], unmask: [pii]}",
            Effect.REQUIRE_APPROVAL,
            {"pii.ssn", "pii.email"},
        ),
    ],
)
def test_a_condition_that_fails_is_read_safely(
    shop: Any, rule: str, effect: Effect, labels: set[str]
) -> None:
    made = policy(READ, f"- {{name: x, when: agent.attributes.purpose == 'a', {rule}}}")
    facts = shop.selects(shop.customers, "SSN")
    decision = decide(shop, made, facts, "g")
    assert decision.effect is effect
    assert {mask.label for mask in decision.masks} == labels
    assert all(not demand.unmask for demand in decision.approvals)
    false = decide(shop, made, facts, "g", purpose="b")
    assert (false.effect, len(false.masks)) == (Effect.ALLOW, 2)


def test_an_allow_rule_whose_condition_fails_allows_nothing(shop: Any) -> None:
    made = policy("- {name: x, when: agent.attributes.purpose == 'a', allow: [read]}")
    facts = shop.selects(shop.orders, "id")
    assert decide(shop, made, facts).effect is Effect.DENY
    assert decide(shop, made, facts, purpose="a").effect is Effect.ALLOW


@pytest.mark.parametrize(
    ("rule", "masked"),
    [
        ("allow: [read], unmask: [pii.ssn]", {"pii.email"}),
        ("allow: [read], unmask: [pii]", set()),
        ("allow: [read, write], unmask: [pii], agents: {groups: [h]}", {"pii.email", "pii.ssn"}),
        (
            "allow: [read], unmask: [pii], resources: {tables: [acme-shop.shop.orders]}",
            {"pii.email", "pii.ssn"},
        ),
        ("allow: [read], unmask: [pii], when: query.outputs('pii')", {"pii.email", "pii.ssn"}),
    ],
)
def test_unmask_rights_hold_where_the_rule_does(shop: Any, rule: str, masked: set[str]) -> None:
    facts = shop.selects(shop.customers, "SSN", use=Use.FILTER)
    decision = decide(shop, policy(READ, f"- {{name: x, {rule}}}"), facts, "g")
    assert {mask.label for mask in decision.masks} == masked


@pytest.mark.parametrize(
    ("use", "true", "false"),
    [
        (Use.OUTPUT, "query.outputs('pii.ssn')", "query.filters('pii.ssn')"),
        (Use.FILTER, "query.filters('pii.ssn')", "query.outputs('pii.ssn')"),
        (Use.JOIN, "query.filters('pii')", "query.touches('pii.email')"),
        (Use.ORDER, "query.touches('pii')", "query.filters('pii')"),
    ],
)
def test_conditions_see_how_columns_are_used(shop: Any, use: Use, true: str, false: str) -> None:
    facts = shop.selects(shop.customers, "SSN", use=use)
    for condition, effect in ((true, Effect.DENY), (false, Effect.ALLOW)):
        made = policy(READ, f'- {{name: x, when: "{condition}", deny: [read]}}')
        assert decide(shop, made, facts, "g").effect is effect


def test_what_is_opaque_is_denied_whatever_policy_says(shop: Any) -> None:
    facts = msgspec.structs.replace(
        shop.selects(shop.orders, "id"), opaque=(Opaque("the view `v`", 1, 15),)
    )
    decision = decide(shop, policy("- {name: all, allow: [read]}"), facts, "g")
    assert decision.effect is Effect.DENY
    assert decision.reasons[0].rule == "not-understood"
    assert "the view `v` at [1:15]" in decision.reasons[0].message


@pytest.mark.parametrize(
    "change",
    [
        {"actions": ()},
        {"reads": (TableId("acme-shop", "shop", "unseen"),)},
        {"writes": (TableId("acme-shop", "shop", "unseen"),)},
        {
            "columns": (
                ColumnUse(ColumnRef(TableId("acme-shop", "shop", "orders"), ("new",)), (Use.JOIN,)),
            )
        },
    ],
)
def test_facts_that_do_not_fit_the_tables_are_denied(shop: Any, change: dict[str, Any]) -> None:
    facts = msgspec.structs.replace(shop.selects(shop.orders, "id"), **change)
    decision = decide(shop, policy("- {name: all, allow: [read, write]}"), facts, "g")
    assert (decision.effect, decision.reasons[0].rule) == (Effect.DENY, "not-understood")


@pytest.mark.parametrize(
    ("rule", "group", "table", "dataset"),
    [
        ("agents: {groups: [g]}, allow: [read]", "g", True, True),
        ("agents: {groups: [g]}, allow: [read]", "h", False, False),
        ("resources: {tables: [acme-shop.shop.orders]}, allow: [write]", "g", True, True),
        ("resources: {tables: [acme-shop.shop.other]}, allow: [read]", "g", False, True),
        ("resources: {datasets: [acme-shop.other]}, allow: [read]", "g", False, False),
        ("when: agent.name == 'x', allow: [read]", "g", False, False),
        ("when: agent.attributes.x == 'x', allow: [read]", "g", False, False),
        ("when: query.filters('pii'), allow: [read]", "g", True, True),
        ("deny: [read]", "g", False, False),
        ("require_approval: {from: [p]}", "g", False, False),
    ],
)
def test_only_what_some_rule_allows_can_be_seen(
    shop: Any, rule: str, group: str, *, table: bool, dataset: bool
) -> None:
    made = policy(f"- {{name: x, {rule.replace('when: ', 'when: ')}}}")
    agent = shop.agent(group)
    assert made.may_see_table(agent, shop.orders.id, shop.context) is table
    assert made.may_see_dataset(agent, "acme-shop", "shop", shop.context) is dataset


@pytest.mark.parametrize("dataset", ["_0123abc", "INFORMATION_SCHEMA", "Information_Schema"])
def test_no_rule_opens_the_results_of_other_agents(shop: Any, dataset: str) -> None:
    made = policy("- {name: all, allow: [read, write]}")
    table = TableId("acme-shop", dataset, "anon1")
    assert not made.may_see_table(shop.agent("g"), table, shop.context)
    assert not made.may_see_dataset(shop.agent("g"), "acme-shop", dataset, shop.context)


def test_masks_of_one_label_unite_to_the_strongest(shop: Any) -> None:
    more = "masks: [{label: pii.ssn, mask: {kind: email}}]"
    made = compile_policy({"a": more, "b": LABELS, "c": f"rules:\n{READ}"})
    decision = decide(shop, made, shop.selects(shop.customers, "SSN"), "g")
    assert EmailMask() not in [mask.mask for mask in decision.masks]


def test_an_unmask_right_on_one_table_shows_no_other(shop: Any) -> None:
    facts = QueryFacts("SELECT", (Action.READ,), reads=(shop.customers.id, shop.orders.id))
    for where, masked in (("orders", 2), ("customers", 0)):
        scope = f"resources: {{tables: [acme-shop.shop.{where}]}}"
        made = policy(READ, f"- {{name: x, {scope}, allow: [read], unmask: [pii]}}")
        assert len(decide(shop, made, facts, "g").masks) == masked


def test_what_is_neither_read_nor_change_is_done_to_every_table(shop: Any) -> None:
    facts = writes(shop, Action.MODEL)
    rule = "- {name: m, resources: {tables: [acme-shop.analytics.events]}, allow: [model]}"
    assert decide(shop, policy(READ, rule), facts, "g").effect is Effect.DENY
    every = "- {name: m, allow: [model]}"
    assert decide(shop, policy(READ, every), facts, "g").effect is Effect.ALLOW


def test_what_is_denied_anyway_is_denied_in_the_rules_own_words(shop: Any) -> None:
    """A new table is in no catalog, yet "no schema changes" is what its agent should read."""
    made = policy(READ, "- {name: no-ddl, deny: [schema_change], message: ask for a migration}")
    new = QueryFacts(
        "CREATE_TABLE", (Action.SCHEMA_CHANGE,), writes=(TableId("acme-shop", "shop", "new"),)
    )
    decision = decide(shop, made, new, "g")
    assert decision.effect is Effect.DENY
    assert [reason.rule for reason in decision.reasons] == ["no-ddl"]


def test_what_is_not_understood_is_denied_though_no_rule_denies_it(shop: Any) -> None:
    made = policy(READ, "- {name: maybe, deny: [read], when: query.touches('pii.ssn')}")
    facts = msgspec.structs.replace(
        shop.selects(shop.customers, "SSN"), opaque=(Opaque("function `nope`"),)
    )
    decision = decide(shop, made, facts, "g")
    assert decision.effect is Effect.DENY
    assert [reason.rule for reason in decision.reasons] == ["not-understood"]


def _wildcard(shop: Any) -> tuple[Table, QueryFacts]:
    """Give a wildcard over `customers` and its archive, and what reading it does."""
    archive = msgspec.structs.replace(shop.customers, id=TableId("acme-shop", "shop", "customers1"))
    table = Table(
        TableId("acme-shop", "shop", "customers*"),
        TableKind.WILDCARD,
        shop.customers.fields,
        "1",
        members=(shop.customers, archive),
    )
    members = (shop.customers.id, archive.id)
    facts = shop.selects(table, "SSN")
    return table, msgspec.structs.replace(facts, reads=members, wildcards=(table.id,))


def _decided(shop: Any, made: Policy) -> Any:
    table, facts = _wildcard(shop)
    return made.decide(shop.agent("g"), facts, (table,), shop.context)


def test_a_wildcard_needs_a_rule_for_every_table_of_it(shop: Any) -> None:
    assert _decided(shop, policy(READ)).effect is Effect.ALLOW
    one = "- {name: one, resources: {tables: [acme-shop.shop.customers]}, allow: [read]}"
    decision = _decided(shop, policy(one))
    assert decision.effect is Effect.DENY
    assert "`acme-shop.shop.customers1`" in decision.reasons[0].message


def test_a_wildcard_has_the_masks_of_every_table_of_it(shop: Any) -> None:
    masks = {str(mask.column): mask.mask for mask in _decided(shop, policy(READ)).masks}
    assert masks == {
        "acme-shop.shop.customers*.email": DefaultMask(),
        "acme-shop.shop.customers*.SSN": PatternMask("XXX"),
    }


def test_what_is_lifted_on_one_table_of_a_wildcard_stays_masked(shop: Any) -> None:
    lifting = "- {name: l, resources: {tables: [acme-shop.shop.%s]}, allow: [read], unmask: [pii]}"
    some = policy(READ, lifting % "customers")
    assert "pii.ssn" in {mask.label for mask in _decided(shop, some).masks}
    every = policy(READ, lifting % "customers*")
    assert _decided(shop, every).masks == ()


def test_labels_of_a_wildcard_are_found_anew_when_its_tables_change(shop: Any) -> None:
    made = policy(READ)
    table, _ = _wildcard(shop)
    unlabelled = msgspec.structs.replace(
        table, members=(msgspec.structs.replace(shop.customers, id=shop.orders.id),)
    )
    assert made.labels(unlabelled) == {}
    assert made.labels(table) != {}


@pytest.mark.parametrize(
    ("scope", "denied"),
    [
        ("tables: [acme-shop.shop.orders]", True),
        ("tables: ['ACME-shop.*.ord*']", True),
        ("tables: [acme-shop.analytics.orders]", False),
        ("projects: [other]", False),
    ],
)
def test_a_table_that_a_rule_protects_was_dropped_with_its_dataset(
    shop: Any, scope: str, *, denied: bool
) -> None:
    dataset = TableId("acme-shop", "shop", "")
    made = policy(
        "- {name: free, allow: [schema_change]}",
        f"- {{name: keep, resources: {{{scope}}}, deny: [schema_change]}}",
    )
    named = QueryFacts("DROP_SCHEMA", (Action.SCHEMA_CHANGE,), writes=(dataset,), unseen=(dataset,))
    dropped = msgspec.structs.replace(named, redefined=(Redefined(ColumnRef(dataset, ())),))
    assert (decide(shop, made, dropped).effect is Effect.DENY) == denied
    # What leaves its tables where they are is not about them.
    assert decide(shop, made, named).effect is Effect.ALLOW
