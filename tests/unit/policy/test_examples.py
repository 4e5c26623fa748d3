from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from keystile.config.policy_folder import read_policy
from keystile.model.decision import Effect
from keystile.model.facts import Action, QueryFacts
from keystile.policy.compile import compile_policy
from keystile.policy.policy import Policy

FOLDER = Path(__file__).parents[3] / "examples" / "policy"


@pytest.fixture(scope="module")
def policy() -> Policy:
    return compile_policy(read_policy(FOLDER))


def test_a_coding_agent_reads_and_sees_masks(shop: Any, policy: Policy) -> None:
    decision = policy.decide(
        shop.agent("coding-agents"),
        shop.selects(shop.customers, "SSN"),
        (shop.customers,),
        shop.context,
    )
    assert decision.effect is Effect.ALLOW
    assert {".".join(mask.column.path) for mask in decision.masks} == {
        "name", "email", "SSN", "address.street", "address.zip", "contacts.value"
    }  # fmt: skip


def test_support_waits_for_a_data_steward_and_then_sees_personal_data(
    shop: Any, policy: Policy
) -> None:
    support = shop.agent("coding-agents", purpose="support")
    decision = policy.decide(
        support, shop.selects(shop.customers, "SSN"), (shop.customers,), shop.context
    )
    assert decision.effect is Effect.REQUIRE_APPROVAL
    [demand] = decision.approvals
    assert (demand.approvers, demand.count, demand.expires_seconds) == (("data-stewards",), 1, 1800)
    assert decision.masks == ()
    without = shop.selects(shop.customers, "id")
    assert policy.decide(support, without, (shop.customers,), shop.context).effect is Effect.ALLOW


@pytest.mark.parametrize(
    ("group", "action", "rule"),
    [
        ("analytics", Action.WRITE, "analytics-is-read-only"),
        ("coding-agents", Action.SCHEMA_CHANGE, "no-schema-changes"),
        ("coding-agents", Action.WRITE, "default-deny"),
        ("strangers", Action.READ, "default-deny"),
    ],
)
def test_what_is_refused(shop: Any, policy: Policy, group: str, action: Action, rule: str) -> None:
    facts = QueryFacts("X", (action,), writes=(shop.events.id,))
    decision = policy.decide(shop.agent(group), facts, (shop.events,), shop.context)
    assert (decision.effect, decision.reasons[0].rule) == (Effect.DENY, rule)
