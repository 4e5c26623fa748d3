from __future__ import annotations

import pytest

from keystile.model.principal import Principal
from keystile.model.schema import TableId
from keystile.policy.document import Agents, Resources
from keystile.policy.index import RuleIndex
from keystile.policy.patterns import ANY
from keystile.policy.rules import CompiledRule, compile_agents, compile_scope

PRINCIPAL = Principal(
    "iss", "sub", "demo", "s", "robot@acme", ("a", "b"), {"purpose": "support", "team": "x"}
)


def is_about(agents: Agents | None, principal: Principal = PRINCIPAL) -> bool:
    rule = CompiledRule("r", None, "", compile_agents(agents), None, None, frozenset(), frozenset())  # type: ignore[arg-type]
    return RuleIndex([rule]).about(principal) == 1


@pytest.mark.parametrize(
    "agents",
    [
        None,
        Agents(groups=("b",)),
        Agents(groups=("z", "a")),
        Agents(names=("demo",), groups=("a",)),
        Agents(subjects=("sub",), issuers=("iss",), service_accounts=("robot@acme",)),
        Agents(attributes={"purpose": "support", "team": "x"}),
        Agents(attributes={"purpose": "support"}, groups=("a",)),
    ],
)
def test_a_rule_is_about_whom_every_word_fits(agents: Agents | None) -> None:
    assert is_about(agents)


@pytest.mark.parametrize(
    "agents",
    [
        Agents(groups=("A",)),
        Agents(names=("a",)),
        Agents(names=("demo",), groups=("z",)),
        Agents(subjects=("sub",), issuers=("other",)),
        Agents(service_accounts=("robot",)),
        Agents(attributes={"purpose": "support", "team": "y"}),
        Agents(attributes={"purpose": "support"}, groups=("z",)),
        Agents(attributes={"support": "purpose"}),
    ],
)
def test_a_rule_is_not_about_others(agents: Agents) -> None:
    assert not is_about(agents)


def test_absent_things_fit_nothing() -> None:
    nobody = Principal("", "", "", "")
    assert not is_about(Agents(attributes={"purpose": "x"}), nobody)
    assert not is_about(Agents(groups=("a",)), nobody)


@pytest.mark.parametrize(
    ("resources", "table", "held"),
    [
        (Resources(projects=("p",)), "p.d.t", True),
        (Resources(projects=("p",)), "q.d.t", False),
        (Resources(projects=("p*",)), "px.d.t", True),
        (Resources(datasets=("p.d",)), "p.d.t", True),
        (Resources(datasets=("p.d",)), "p.dd.t", False),
        (Resources(datasets=("*.d",)), "q.d.t", True),
        (Resources(tables=("p.d.t",)), "p.d.t", True),
        (Resources(tables=("p.d.t*",)), "p.d.t2", True),
        (Resources(tables=("p.d.t",)), "p.d.t2", False),
        (Resources(tables=("p.d.t",), datasets=("p.e",)), "p.e.x", True),
        (Resources(tables=("p.d.t",), projects=("q*",)), "p.d.t", True),
        (Resources(projects=("d",), datasets=("d.t",)), "p.d.t", False),
    ],
)
def test_scope(resources: Resources, table: str, *, held: bool) -> None:
    scope = compile_scope(resources, ignore_case=False)
    assert scope is not None
    assert scope.holds(TableId(*table.split("."))) is held


@pytest.mark.parametrize("name", ["p.d.T", "P.d.t", "p.D.t"])
def test_scope_minds_case_only_where_it_permits(name: str) -> None:
    resources = Resources(tables=("p.d.t",))
    for ignore_case in (True, False):
        scope = compile_scope(resources, ignore_case=ignore_case)
        assert scope is not None
        assert scope.holds(TableId(*name.split("."))) is ignore_case


@pytest.mark.parametrize(
    ("resources", "reached"),
    [
        (Resources(projects=("p",)), True),
        (Resources(datasets=("p.d",)), True),
        (Resources(tables=("p.d.t",)), True),
        (Resources(tables=("p.*.t",)), True),
        (Resources(tables=("p.e.t",)), False),
        (Resources(datasets=("q.d",)), False),
    ],
)
def test_a_dataset_is_reached_by_any_name_in_it(resources: Resources, *, reached: bool) -> None:
    scope = compile_scope(resources, ignore_case=False)
    assert scope is not None
    assert any(scope.within("p", "d")) is reached


def test_all_tables_of_a_home_are_stood_for_by_few_names() -> None:
    tables = ("p.dx.t", "p.dx.a*b", "q.d.t")
    resources = Resources(projects=("p",), datasets=("p.d*",), tables=tables)
    scope = compile_scope(resources, ignore_case=True)
    assert scope is not None
    assert {*scope.within("P", "dX")} == {
        TableId("P", "dX", ANY),
        TableId("P", "dX", "t"),
        TableId("P", "dX", f"a{ANY}b"),
    }
    assert TableId("P", f"d{ANY}", ANY) in {*scope.within("P")}


@pytest.mark.parametrize(
    "resources",
    [
        Resources(projects=("p.d",)),
        Resources(datasets=("d",)),
        Resources(tables=("d.t",)),
        Resources(tables=("p..t",)),
    ],
)
def test_names_that_are_not_full_are_refused(resources: Resources) -> None:
    with pytest.raises(ValueError, match=r"`.*` under `.*`"):
        compile_scope(resources, ignore_case=False)
