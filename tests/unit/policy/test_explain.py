from __future__ import annotations

import json
from typing import Any

from keystile.policy.compile import compile_policy
from keystile.policy.explain import explanation

POLICY = """
labels: [{label: pii.ssn, columns: [ssn]}]
masks: [{label: pii.ssn, mask: {kind: keep_last, count: 4}}]
rules:
  - {name: read, allow: [read]}
  - {name: ask, when: query.touches("pii"), require_approval: {from: [stewards]}}
"""


def test_all_of_it_is_plain_data(shop: Any) -> None:
    facts = shop.selects(shop.customers, "id", "SSN")
    decision = compile_policy({"f": POLICY}).decide(
        shop.agent(), facts, (shop.customers,), shop.context
    )
    explained = json.loads(json.dumps(explanation(facts, decision)))
    assert explained["effect"] == "require_approval"
    assert [reason["rule"] for reason in explained["reasons"]] == ["ask", "read"]
    assert explained["approvals"][0]["approvers"] == ["stewards"]
    assert explained["policy_digest"] == decision.policy_digest
    assert explained["reads"] == ["acme-shop.shop.customers"]
    assert explained["columns"] == [
        {"column": "acme-shop.shop.customers.id", "uses": ["output"], "label": None, "mask": None},
        {
            "column": "acme-shop.shop.customers.SSN",
            "uses": ["output"],
            "label": "pii.ssn",
            "mask": {"kind": "keep_last", "count": 4},
        },
    ]
    assert [mask["column"] for mask in explained["masks"]] == ["acme-shop.shop.customers.SSN"]
