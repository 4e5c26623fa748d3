from __future__ import annotations

from typing import Any

import pytest

from keystile.model.errors import RefusedError, UnsafeConfigurationError
from keystile.model.principal import Principal
from keystile.policy.compile import compile_policy

POLICY = """
connections:
  - name: analysts-as-analytics
    agents: {groups: [analysts]}
    connection: analytics
  - name: bot-as-analytics
    agents: {names: [bot], issuers: ["https://issuer.example"]}
    connection: analytics
  - name: eu-as-eu
    agents: {attributes: {region: eu}}
    connection: eu
"""


def agent(name: str = "a", **more: Any) -> Principal:
    return Principal("https://issuer.example", name, name, "run", **more)


@pytest.mark.parametrize(
    ("who", "connection"),
    [
        (agent(), ""),
        (agent(groups=("analysts",)), "analytics"),
        (agent("bot"), "analytics"),
        (agent("bot", groups=("analysts",)), "analytics"),
        (agent(attributes={"region": "eu"}), "eu"),
        (Principal("https://other.example", "bot", "bot", "run"), ""),
    ],
)
def test_an_agent_has_the_connection_that_the_policy_says(who: Principal, connection: str) -> None:
    assert compile_policy({"p.yaml": POLICY}).connection_of(who) == connection


def test_entries_that_contradict_each_other_choose_none() -> None:
    policy = compile_policy({"p.yaml": POLICY})
    with pytest.raises(RefusedError, match="`analysts-as-analytics` and `eu-as-eu` contradict"):
        policy.connection_of(agent(groups=("analysts",), attributes={"region": "eu"}))


def test_another_mapping_is_another_policy() -> None:
    other = POLICY.replace("connection: eu", "connection: us")
    digests = {compile_policy({"p.yaml": text}).digest for text in (POLICY, other, "")}
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("connections: [{name: a, agents: {}, connection: x}]", "`agents` names nothing"),
        ("connections: [{name: a, connection: x}]", "missing required field `agents`"),
        (
            f"rules: [{{name: bot-as-analytics, allow: [read]}}]{POLICY}",
            "rule name `bot-as-analytics` is taken",
        ),
    ],
)
def test_an_entry_that_says_too_little_is_refused(text: str, message: str) -> None:
    with pytest.raises(UnsafeConfigurationError, match=message):
        compile_policy({"p.yaml": text})
