"""Conditions on what a query reads: known, not known, and not known yet."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from keystile.model.decision import Decision, Effect, Would
from keystile.model.errors import UnsafeConfigurationError
from keystile.policy.compile import compile_policy

LABELS = [{"label": "pii", "columns": ["SSN"]}]
READ = {"name": "read", "allow": ["read"]}
LARGE = {"when": "query.bytes > 10 * 1000"}
DENY = {"name": "large", "deny": ["read"], **LARGE}
ASK = {"name": "ask", "require_approval": {"from": ["p"]}, **LARGE}
CAP = {"name": "cap", "limits": {"queries_per_minute": 5}, **LARGE}
SMALL = {"name": "small", "allow": ["read"], "when": "query.bytes <= 10000"}

ALLOW, APPROVAL, REFUSE = Effect.ALLOW, Effect.REQUIRE_APPROVAL, Effect.DENY


def decided(shop: Any, rules: list[Any], count: int | None, **more: Any) -> Decision:
    policy = compile_policy({"f": json.dumps({"labels": LABELS, "rules": rules})})
    assert policy.asks_bytes == ("query.bytes" in json.dumps(rules))
    facts = shop.selects(shop.customers, "id", "SSN")
    context = msgspec.structs.replace(shop.context, bytes=count)
    return policy.decide(shop.agent("g"), facts, (shop.customers,), context, **more)


@pytest.mark.parametrize(
    ("rules", "small", "large", "unknown", "before"),
    [
        ([READ, DENY], ALLOW, REFUSE, REFUSE, ALLOW),
        ([READ, ASK], ALLOW, APPROVAL, APPROVAL, ALLOW),
        ([SMALL], ALLOW, REFUSE, REFUSE, ALLOW),
        ([SMALL, DENY, ASK], ALLOW, REFUSE, REFUSE, ALLOW),
        ([READ, {**DENY, "when": "agent.name == 'x' && query.bytes > 1"}], *[ALLOW] * 4),
        ([READ, {**DENY, "when": "agent.name == 'demo' || query.bytes > 1"}], *[REFUSE] * 4),
        ([{**SMALL, "when": "false || query.bytes < 0"}], REFUSE, REFUSE, REFUSE, ALLOW),
        ([READ, {"name": "n", "deny": ["read"], "when": "agent.attributes.x == 'y'"}],
         *[REFUSE] * 4),
    ],
)  # fmt: skip
def test_a_condition_on_bytes_is_safe_where_they_are_not_known(  # noqa: PLR0913, PLR0917 - a table
    shop: Any, rules: list[Any], small: Effect, large: Effect, unknown: Effect, before: Effect
) -> None:
    assert decided(shop, rules, 10_000).effect is small
    assert decided(shop, rules, 10_001).effect is large
    assert decided(shop, rules, 1 << 70).effect is large
    assert decided(shop, rules, None).effect is unknown
    first = decided(shop, rules, None, unmeasured=True)
    assert first.effect is before
    if before is not REFUSE:  # what is hidden does not depend on what is read
        for count in (None, 0, 10_001):
            later = decided(shop, rules, count)
            assert later.effect is REFUSE or later.masks == first.masks


def test_limits_hold_where_bytes_are_not_known(shop: Any) -> None:
    found = [len(decided(shop, [READ, CAP], count).limits) for count in (1, 20_000, None)]
    assert found == [0, 1, 1]


def test_the_answer_for_one_size_is_not_that_for_another(shop: Any) -> None:
    """Conditions about the query alone are answered once for the same facts."""
    policy = compile_policy({"f": json.dumps({"labels": LABELS, "rules": [READ, DENY]})})
    facts, who = shop.selects(shop.customers, "id"), shop.agent("g")
    for count, effect in ((1, ALLOW), (20_000, REFUSE), (1, ALLOW), (None, REFUSE)):
        context = msgspec.structs.replace(shop.context, bytes=count)
        assert policy.decide(who, facts, (shop.customers,), context).effect is effect


def test_in_shadow_the_size_is_known_or_said_not_to_be(shop: Any) -> None:
    rule = {**DENY, "shadow": True}
    [shadow] = decided(shop, [READ, rule], 20_000).shadows
    assert (shadow.would, shadow.failed) == (Would.REFUSE, False)
    assert decided(shop, [READ, rule], 1).shadows == ()
    assert decided(shop, [READ, rule], None, unmeasured=True).shadows == ()
    denied = {"name": "no", "deny": ["read"], "when": "agent.name == 'demo'"}
    [shadow] = decided(shop, [READ, rule, denied], None, unmeasured=True).shadows
    assert shadow.failed


@pytest.mark.parametrize(
    "rule",
    [
        {**SMALL, "unmask": ["pii"]},
        {**SMALL, "unmask": ["pii"], "shadow": True},
        {**ASK, "require_approval": {"from": ["p"], "unmask": ["pii"]}},
    ],
)
def test_what_is_shown_does_not_depend_on_what_is_then_read(rule: Any) -> None:
    text = json.dumps({"labels": LABELS, "rules": [READ, rule]})
    with pytest.raises(UnsafeConfigurationError, match=r"`query.bytes` does not go with `unmask`"):
        compile_policy({"f": text})


def test_bytes_are_compared_with_whole_numbers() -> None:
    text = json.dumps({"rules": [READ, {**DENY, "when": "query.bytes > '50GB'"}]})
    with pytest.raises(UnsafeConfigurationError, match="no matching overload"):
        compile_policy({"f": text})
