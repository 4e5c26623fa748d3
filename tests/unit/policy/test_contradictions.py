"""What can never be true is told, and nothing else: every verdict is compared with evaluating."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.model.facts import QueryFacts
from keystile.model.principal import Principal
from keystile.policy.conditions import Conditions, Request, TouchedLabels
from keystile.policy.context import Context
from keystile.policy.contradictions import impossible

FACTS = QueryFacts("SELECT", ())
CONTEXT = Context("p", datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("condition", "word"),
    [
        ("query.statement == 'SELECT' && query.statement == 'INSERT'", "query.statement"),
        ("query.statement == 'SELECT' && 'INSERT' == query.statement", "query.statement"),
        (
            "agent.name == 'a' && true && query.statement=='DELETE'&&query.statement in ['INSERT']",
            "query.statement",
        ),
        ("query.statement == 'select'", "query.statement"),
        ("query.statement in ['select', \"Insert\"]", "query.statement"),
        ("agent.name in []", "agent.name"),
        ("agent.name in [ ]", "agent.name"),
        ("agent.name in ['a', 'b'] && agent.name in ['c',]", "agent.name"),
        ("agent.subject != agent.subject", "agent.subject"),
        ("agent.attributes.team == 'a' && agent.attributes.team == 'b'", "agent.attributes.team"),
        ("request.client == '&& ||'", ""),
        ("query.statement == 'SELECT' && query.statement in ['SELECT', 'select']", ""),
        ("query.statement == 'SELECT' || query.statement == 'INSERT'", ""),
        ("query.statement == 'SELECT' && !(query.statement == 'INSERT')", ""),
        ("query.statement == 'SELECT' && (query.statement == 'INSERT') == false", ""),
        ("agent.name == 'a' && agent.subject == 'b'", ""),
        ("agent.attributes.a == 'x' && agent.attributes.b == 'y'", ""),
        ("agent.name == \"it's\" && agent.name == 'it\\'s'", ""),
        ("agent.name == 'a' && agent.name == r'b'", ""),
        ("agent.name == '''a' && agent.name == 'b'''", ""),
        ("agent.name == 'a' // && agent.name == 'b'", ""),
        ("'a' in agent.groups && 'b' in agent.groups", ""),
        ("agent.name != agent.subject", ""),
        ("agent.groups.exists(x, x == 'a' && x == 'b')", ""),
        ("has(agent.attributes.a) && agent.name != 'x' && agent.name != 'y'", ""),
    ],
)
def test_only_what_can_never_be_true_is_told(condition: str, word: str) -> None:
    assert next(impossible(condition), "") == word
    Conditions(()).compile(condition)  # it is one


_ATOMS = st.sampled_from(
    [
        "agent.name == 'a'",
        "agent.name == 'b'",
        "'a' == agent.name",
        "agent.name in ['a', 'b']",
        "agent.name in []",
        "agent.name != 'a'",
        "agent.name != agent.name",
        "agent.name != agent.subject",
        "agent.subject == 'a'",
        "(agent.name == 'b')",
        "!(agent.name == 'a')",
        "'&& agent.name' != agent.name",
        "['a && b'].exists(x, x == agent.name && agent.name == 'a')",
    ]
)


@given(st.lists(_ATOMS, min_size=1, max_size=4), st.sampled_from([" && ", "&&", " || "]))
def test_no_agent_meets_what_is_told_to_be_impossible(atoms: list[str], between: str) -> None:
    condition = between.join(atoms)
    if not any(impossible(condition)):
        return
    compiled = Conditions(()).compile(condition)
    for name in ("a", "b", "c", ""):
        for subject in ("a", ""):
            who = Principal("https://issuer.example", subject, name, "s")
            asked = Request(who, FACTS, TouchedLabels(), CONTEXT)
            assert compiled.holds(asked) is False
