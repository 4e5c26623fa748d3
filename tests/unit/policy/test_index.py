from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from keystile.model.decision import Effect
from keystile.model.facts import Action
from keystile.model.principal import Principal
from keystile.model.schema import TableId
from keystile.policy.document import Agents, Resources
from keystile.policy.index import RuleIndex
from keystile.policy.rules import CompiledRule, compile_agents, compile_scope, keys_of

texts = st.sampled_from(["a", "b", "A"])
words = st.lists(texts, min_size=1, max_size=2, unique=True).map(tuple) | st.none()
whoever = st.builds(
    Agents,
    groups=words,
    names=words,
    subjects=words,
    issuers=words,
    service_accounts=words,
    attributes=st.dictionaries(texts, texts, min_size=1, max_size=2) | st.none(),
)
parts = st.sampled_from(["a", "b", "A", "a*", "*b", "*"])


def listed(size: int) -> st.SearchStrategy[Any]:
    one = st.lists(parts, min_size=size, max_size=size).map(".".join)
    return st.lists(one, min_size=1, max_size=2).map(tuple) | st.none()


places = st.builds(Resources, projects=listed(1), datasets=listed(2), tables=listed(3))
principals = st.builds(
    Principal,
    issuer=texts,
    subject=texts,
    agent=texts,
    session=st.just("s"),
    service_account=texts,
    groups=st.lists(texts, max_size=2).map(tuple),
    attributes=st.dictionaries(texts, texts, max_size=2),
)
tables = st.builds(TableId, texts, texts, st.sampled_from(["a", "b", "A", "ab", ""]))


@st.composite
def rules(draw: st.DrawFn) -> CompiledRule:
    effect = draw(st.sampled_from([*Effect, None]))
    return CompiledRule(
        "r",
        effect,
        "",
        compile_agents(draw(whoever | st.none())),
        compile_scope(draw(places | st.none()), ignore_case=effect is not Effect.ALLOW),
        None,
        frozenset(draw(st.sets(st.sampled_from([Action.READ, Action.WRITE]), min_size=1))),
        frozenset(),
    )


def fits(rule: CompiledRule, action: Action, table: TableId | None) -> bool:
    """What a rule is about, said for one rule."""
    if action not in rule.actions:
        return False
    if rule.scope is None:
        return True
    if table is None:
        return (action is Action.READ) == (rule.effect is Effect.ALLOW)
    return rule.scope.holds(table)


@given(st.lists(rules(), max_size=6), principals, st.none() | tables)
def test_the_index_finds_just_those_rules_that_are_about_somebody_and_something(
    every: list[CompiledRule], principal: Principal, table: TableId | None
) -> None:
    index = RuleIndex(every)
    keys = frozenset(keys_of(principal))
    mine = [rule for rule in every if all(not keys.isdisjoint(word) for word in rule.agents)]
    about = index.about(principal)
    assert [rule for _, rule in index.rules(about)] == mine
    for action in Action:
        found = [rule for _, rule in index.rules(index.on(about, action, table))]
        assert found == [rule for rule in mine if fits(rule, action, table)]


@given(st.lists(rules(), max_size=6), st.integers(0, 63))
def test_rules_keep_their_order_and_each_comes_with_the_set_of_it_alone(
    every: list[CompiledRule], wanted: int
) -> None:
    wanted &= (1 << len(every)) - 1
    found = RuleIndex(every).rules(wanted)
    assert [rule for _, rule in found] == [
        rule for number, rule in enumerate(every) if wanted >> number & 1
    ]
    assert sum(one for one, _ in found) == wanted


def test_of_thousands_of_rules_each_is_found() -> None:
    every = [
        CompiledRule(
            f"r{number}",
            Effect.ALLOW,
            "",
            (),
            compile_scope(Resources(tables=(f"p.d.t{number}",)), ignore_case=False),
            None,
            frozenset({Action.READ}),
            frozenset(),
        )
        for number in range(2000)
    ]
    index = RuleIndex(every)
    everybodys = index.about(Principal("i", "s", "a", "s"))
    for number in (0, 63, 64, 1999):
        table = TableId("p", "d", f"t{number}")
        assert index.on(everybodys, Action.READ, table) == 1 << number
