from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from keystile.model.decision import Effect, Shadow, Would
from keystile.model.errors import UnsafeConfigurationError
from keystile.model.facts import Opaque
from keystile.policy.compile import compile_policy

LABELS = [{"label": "pii", "columns": ["email", "SSN"]}]
READ = {"name": "read", "agents": {"groups": ["g"]}, "allow": ["read"]}
OTHERS = {"name": "others", "agents": {"groups": ["h"]}, "allow": ["write"]}


def decided(shop: Any, *rules: Any, groups: tuple[str, ...] = ("g",), **sections: Any) -> Any:
    document = {"labels": LABELS, "rules": [READ, OTHERS, *rules], **sections}
    facts = shop.selects(shop.customers, "id", "SSN")
    made = compile_policy({"f": json.dumps(document)})
    return made.decide(shop.agent(*groups), facts, (shop.customers,), shop.context)


def shadows(shop: Any, *rules: Any, **more: Any) -> list[tuple[str, Would]]:
    return [(one.rule, one.would) for one in decided(shop, *rules, **more).shadows]


def test_a_deny_in_shadow_refuses_nothing_and_says_what_it_would_say(shop: Any) -> None:
    found = decided(shop, {"name": "no", "deny": ["read"], "message": "not here", "shadow": True})
    assert found.effect is Effect.ALLOW
    assert found.shadows == (Shadow("no", Would.REFUSE, "not here"),)
    assert all(reason.rule != "no" for reason in found.reasons)


def test_an_approval_in_shadow_asks_nobody(shop: Any) -> None:
    rule = {"name": "ask", "require_approval": {"from": ["p"]}, "shadow": True}
    found = decided(shop, rule)
    assert (found.effect, found.approvals) == (Effect.ALLOW, ())
    assert [(one.rule, one.would) for one in found.shadows] == [("ask", Would.ASK)]


def test_an_allow_in_shadow_opens_nothing(shop: Any) -> None:
    rule = {"name": "open", "allow": ["read"], "shadow": True}
    found = decided(shop, rule, groups=("h",))
    assert found.effect is Effect.DENY
    assert [(one.rule, one.would) for one in found.shadows] == [("open", Would.ALLOW)]
    assert shadows(shop, rule) == []  # it is allowed already


def test_an_unmask_in_shadow_shows_nothing(shop: Any) -> None:
    rule = {"name": "raw", "allow": ["read"], "unmask": ["pii"], "shadow": True}
    found = decided(shop, rule)
    assert {str(one.column).rsplit(".")[-1] for one in found.masks} >= {"SSN"}
    [shadow] = found.shadows
    assert (shadow.would, shadow.columns) == (Would.UNMASK, ("acme-shop.shop.customers.SSN",))


def test_a_mask_in_shadow_is_told_by_its_columns(shop: Any) -> None:
    masks = [
        {"label": "pii", "mask": {"kind": "keep_last", "count": 4}},
        {"label": "pii", "mask": {"kind": "null"}, "shadow": True},
    ]
    found = decided(shop, masks=masks)
    assert {one.mask.__class__.__name__ for one in found.masks} == {"KeepLastMask"}
    [shadow] = found.shadows
    assert (shadow.rule, shadow.would) == ("mask:pii", Would.MASK)
    assert shadow.columns == ("acme-shop.shop.customers.SSN",)


def test_a_row_filter_in_shadow_filters_nothing_and_may_refuse(shop: Any) -> None:
    own = {"name": "own", "tables": ["acme-shop.shop.customers"], "where": "id = 1"}
    found = decided(shop, row_filters=[{**own, "shadow": True}])
    assert found.row_filters == ()
    assert [(one.rule, one.would) for one in found.shadows] == [("own", Would.FILTER)]
    lacking = {**own, "where": "name = agent.attributes.region", "shadow": True}
    assert shadows(shop, row_filters=[lacking]) == [("own", Would.REFUSE)]


def test_a_condition_that_fails_is_reported_whatever_its_rule_would_do(shop: Any) -> None:
    failing = "agent.attributes.purpose == 'support'"
    allow = {"name": "open", "allow": ["read"], "when": failing, "shadow": True}
    deny = {"name": "no", "deny": ["read"], "when": failing, "shadow": True}
    found = {one.rule: one for one in decided(shop, allow, deny).shadows}
    assert found["open"] == Shadow("open", Would.NOTHING, failed=True)
    assert (found["no"].would, found["no"].failed) == (Would.REFUSE, True)


def test_each_is_tried_alone_so_that_none_hides_another(shop: Any) -> None:
    no = {"name": "no", "deny": ["read"], "shadow": True}
    ask = {"name": "ask", "require_approval": {"from": ["p"]}, "shadow": True}
    assert shadows(shop, no, ask) == [("ask", Would.ASK), ("no", Would.REFUSE)]


def test_a_rule_about_others_says_nothing(shop: Any) -> None:
    others = {"name": "no", "agents": {"groups": ["h"]}, "deny": ["read"], "shadow": True}
    writes = {"name": "none", "deny": ["write"], "shadow": True}
    assert shadows(shop, others, writes) == []


def test_what_is_not_understood_casts_no_shadow(shop: Any) -> None:
    rule = {"name": "no", "deny": ["read"], "shadow": True}
    facts = msgspec.structs.replace(shop.selects(shop.customers, "id"), opaque=(Opaque("it"),))
    made = compile_policy({"f": json.dumps({"rules": [READ, rule]})})
    found = made.decide(shop.agent("g"), facts, (shop.customers,), shop.context)
    assert (found.effect, found.shadows) == (Effect.DENY, ())


def test_what_is_in_shadow_makes_no_other_rule_useless() -> None:
    """A deny of all, in force, would hide each allow, and that is refused as a mistake."""
    denial = {"name": "no", "deny": ["read"]}
    with pytest.raises(UnsafeConfigurationError, match="never applies"):
        compile_policy({"f": json.dumps({"rules": [READ, denial]})})
    compile_policy({"f": json.dumps({"rules": [READ, {**denial, "shadow": True}]})})


def test_limits_cannot_be_in_shadow() -> None:
    rule = {"name": "cap", "limits": {"per": "agent", "bytes_per_day": "1GB"}, "shadow": True}
    with pytest.raises(UnsafeConfigurationError, match="`shadow` does not go with `limits`"):
        compile_policy({"f": json.dumps({"rules": [rule]})})
