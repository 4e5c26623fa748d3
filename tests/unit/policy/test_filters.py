from __future__ import annotations

from typing import Any

import msgspec
import pytest

from keystile.model.decision import Effect, RowFilter
from keystile.model.errors import UnsafeConfigurationError
from keystile.model.schema import TableId, TableKind
from keystile.policy.compile import compile_policy
from keystile.policy.explain import explanation
from keystile.policy.policy import Policy

ALLOW = "rules:\n- {name: read, allow: [read]}\n"
MINE = (
    "- {name: mine, agents: {groups: [g]}, tables: [acme-shop.shop.Orders],"
    " where: customer = agent.attributes.who OR name IN UNNEST(agent.groups)}"
)


def policy(*filters: str) -> Policy:
    return compile_policy({"p.yaml": f"{ALLOW}row_filters:\n" + "\n".join(filters)})


def test_a_filter_is_part_of_the_decision(shop: Any) -> None:
    facts, made = shop.selects(shop.orders, "id"), policy(MINE)

    decision = made.decide(shop.agent("g", who="7"), facts, (shop.orders,), shop.context)

    where = "customer = agent.attributes.who OR name IN UNNEST(agent.groups)"
    values = (("attributes.who", "7"), ("groups", ("g",)))
    assert decision.row_filters == (RowFilter(shop.orders.id, "mine", where, values),)
    assert "mine" in {reason.rule for reason in decision.reasons}
    assert explanation(facts, decision)["row_filters"] == [
        {"table": str(shop.orders.id), "rule": "mine", "where": where}
    ]


def test_a_filter_is_about_its_agents_and_tables_only(shop: Any) -> None:
    made, agent = policy(MINE), shop.agent("g", who="7")
    for who, table in ((shop.agent("h", who="7"), shop.orders), (agent, shop.customers)):
        facts = shop.selects(table, "id")
        assert not made.decide(who, facts, (table,), shop.context).row_filters
        assert not made.row_filters.are_on(who, table.id)
    assert made.row_filters.are_on(agent, shop.orders.id)


def test_an_attribute_that_the_agent_lacks_opens_no_row(shop: Any) -> None:
    facts = shop.selects(shop.orders, "id")
    decision = policy(MINE).decide(shop.agent("g"), facts, (shop.orders,), shop.context)
    assert decision.effect is Effect.DENY
    assert "needs the attribute `who`" in decision.reasons[0].message
    assert decision.reasons[0].rule == "mine"


def test_several_filters_all_hold(shop: Any) -> None:
    other = "- {name: other, tables: ['acme-shop.*.ord*'], where: id > 5}"
    facts = shop.selects(shop.orders, "id")
    made = policy(MINE, other)
    decision = made.decide(shop.agent("g", who="7"), facts, (shop.orders,), shop.context)
    assert [one.rule for one in decision.row_filters] == ["mine", "other"]


def test_a_filter_on_a_view_is_not_passed_over(shop: Any) -> None:
    view = msgspec.structs.replace(shop.orders, kind=TableKind.VIEW)
    facts = shop.selects(view, "id")
    decision = policy(MINE).decide(shop.agent("g", who="7"), facts, (view,), shop.context)
    assert decision.effect is Effect.DENY
    assert "belongs on the tables that the view reads" in decision.reasons[0].message


@pytest.mark.parametrize(("names", "effect"), [("shop.day_*", "allow"), ("shop.day_1", "deny")])
def test_a_wildcard_is_filtered_as_all_of_its_tables(shop: Any, names: str, effect: str) -> None:
    members = tuple(
        msgspec.structs.replace(shop.orders, id=TableId("acme-shop", "shop", f"day_{n}"))
        for n in (1, 2)
    )
    id_ = TableId("acme-shop", "shop", "day_*")
    table = msgspec.structs.replace(shop.orders, id=id_, kind=TableKind.WILDCARD, members=members)
    facts = msgspec.structs.replace(
        shop.selects(table, "id"), reads=tuple(m.id for m in members), wildcards=(id_,)
    )
    made = policy(f"- {{name: f, tables: ['acme-shop.{names}'], where: id > 5}}")
    decision = made.decide(shop.agent("g"), facts, (table,), shop.context)
    assert decision.effect == effect
    assert [one.table for one in decision.row_filters] == [id_] * (effect == "allow")


@pytest.mark.parametrize(
    ("filter_", "words"),
    [
        ("- {name: f, tables: [a.b.c], where: x = agent.attribute.y}", "no `agent.attribute`"),
        ("- {name: f, tables: [a.b.c], where: x = agent.email}", "no `agent.email`"),
        ("- {name: f, tables: [c], where: x}", "not of the form"),
        ("- {name: f, tables: [], where: x}", "at least|length"),
        ("- {name: f, tables: [a.b.c]}", "where"),
        ("- {name: read, tables: [a.b.c], where: x}", "is taken"),
        ("- {name: f, agents: {}, tables: [a.b.c], where: x}", "names nothing"),
        ("- {name: f, tables: [a.b.c], where: x, when: y}", "unknown word `when`"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(filter_: str, words: str) -> None:
    with pytest.raises(UnsafeConfigurationError, match=words) as error:
        policy(filter_)
    assert "`p.yaml` line 4" in str(error.value)


def test_the_digest_covers_filters() -> None:
    digests = {policy(MINE).digest, policy(MINE.replace("who", "whom")).digest}
    assert len({*digests, compile_policy({"p.yaml": ALLOW}).digest}) == 3
