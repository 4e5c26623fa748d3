from __future__ import annotations

from typing import Any

import msgspec
import pytest

from keystile.model.decision import Effect, Limits
from keystile.model.errors import UnsafeConfigurationError
from keystile.policy.compile import assembled
from keystile.policy.policy import Policy

READ = {"name": "read", "allow": ["read"]}


def compiled(*rules: dict[str, Any]) -> Policy:
    return assembled({"p.yaml": msgspec.json.encode({"rules": rules}).decode()})[0]


def found(shop: Any, rule: dict[str, Any], who: Any = None, table: Any = None) -> Any:
    """Give the limits in force for a query of one table."""
    table = table or shop.orders
    policy = compiled(READ, rule)
    facts = shop.selects(table, "id")
    return policy.decide(who or shop.agent("g"), facts, (table,), shop.context).limits


def limiting(**limits: Any) -> dict[str, Any]:
    return {"name": "cost", "agents": {"groups": ["g", "h"]}, "limits": limits}


def test_each_agent_has_the_limits_of_a_rule_for_itself(shop: Any) -> None:
    [one] = found(shop, limiting(bytes_per_day="2TB", rows_per_query=10))
    assert one == Limits(
        "cost", "agent", "https://issuer|id-demo", bytes_per_day=2 * 10**12, rows_per_query=10
    )
    assert one.amounts == {"bytes_per_day": 2 * 10**12, "rows_per_query": 10}
    [other] = found(shop, limiting(rows_per_query=10), shop.agent("h", name="other"))
    assert other.account != one.account


def test_a_person_has_them_whichever_agent_asks(shop: Any) -> None:
    rule = limiting(per="person", bytes_per_month="1GiB", time_zone="Asia/Tokyo")
    [one] = found(shop, rule)
    assert (one.whose, one.holder, one.time_zone) == ("person", "a-person", "Asia/Tokyo")
    assert one.bytes_per_month == 1 << 30
    [same] = found(shop, rule, shop.agent("g", name="other"))
    assert same.account == one.account


def test_an_agent_that_acts_for_nobody_is_its_own_person(shop: Any) -> None:
    alone = msgspec.structs.replace(shop.agent("g"), on_behalf_of="")
    [one] = found(shop, limiting(per="person", rows_per_query=1), alone)
    assert (one.whose, one.holder) == ("agent", "https://issuer|id-demo")


def test_an_agent_counts_in_each_of_its_groups_that_the_rule_names(shop: Any) -> None:
    rule = limiting(per="group", bytes_per_day="1B")
    both = found(shop, rule, shop.agent("h", "g", "other"))
    assert [(one.whose, one.holder) for one in both] == [("group", "g"), ("group", "h")]


def test_a_limit_is_about_the_tables_of_its_rule(shop: Any) -> None:
    scoped = limiting(rows_per_query=1) | {"resources": {"tables": ["*.SHOP.customers"]}}
    assert not found(shop, scoped)
    assert found(shop, scoped, table=shop.customers)


@pytest.mark.parametrize(
    ("when", "count"), [("agent.attributes.none == 'x'", 1), ("true", 1), ("false", 0)]
)
def test_a_condition_that_fails_limits(shop: Any, when: str, count: int) -> None:
    assert len(found(shop, limiting(rows_per_query=1) | {"when": when})) == count


def test_a_limit_allows_nothing(shop: Any) -> None:
    policy, facts = compiled(limiting(rows_per_query=1)), shop.selects(shop.orders, "id")
    decision = policy.decide(shop.agent("g"), facts, (shop.orders,), shop.context)
    assert (decision.effect, decision.limits) == (Effect.DENY, ())
    assert not policy.may_see_table(shop.agent("g"), shop.orders.id, shop.context)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"limits": {}}, "`limits` limits nothing"),
        ({"limits": {"bytes_per_day": "2 TX"}}, "limits.bytes_per_day"),
        ({"limits": {"rows_per_query": 0}}, "limits.rows_per_query"),
        ({"limits": {"rows_per_query": 1, "time_zone": "Mars"}}, "`Mars` is no time zone"),
        ({"limits": {"per": "group", "rows_per_query": 1}}, "needs the groups under `agents`"),
        ({"limits": {"rows_per_query": 1}, "allow": ["read"]}, "has both `allow` and `limits`"),
        ({"limits": {"rows_per_query": 1}, "unmask": ["x"]}, "unknown label `x`"),
    ],
)
def test_wrong_limits_are_refused_with_their_line(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsafeConfigurationError, match=message) as refused:
        compiled({"name": "cost", **rule})
    assert "`p.yaml` line 1" in str(refused.value)
