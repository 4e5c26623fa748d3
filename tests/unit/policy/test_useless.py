from __future__ import annotations

from typing import Any

import msgspec
import pytest

from keystile.model.errors import UnsafeConfigurationError
from keystile.policy.compile import compile_policy

G, H = {"agents": {"groups": ["g"]}}, {"agents": {"groups": ["h"]}}
ALL = {"deny": [
    "read", "write", "schema_change", "access_change", "export", "external", "model", "routine",
    "session", "script",
]}  # fmt: skip
ASK = {"require_approval": {"from": ["p"]}}
CAP = {"limits": {"rows_per_query": 5}}


def at(**resources: list[str]) -> dict[str, Any]:
    return {"resources": resources}


def policy(*rules: dict[str, Any], file: str = "f") -> dict[str, str]:
    named = [{"name": f"r{number}", **rule} for number, rule in enumerate(rules)]
    return {file: "\n".join(["rules:", *(f"- {msgspec.json.encode(r).decode()}" for r in named)])}


READ = {"allow": ["read"]}
WHEN = {"when": "agent.attributes.purpose == 'x'"}
SHOP = at(datasets=["p.shop"])

NEVER = "rule `r0` never applies"
DENIED = "rule `r1` denies all that it is about; narrow"
UNREACHED = "nothing that it is about is allowed by any rule; allow"


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ([{**READ, "when": "1 > 2"}], "`when` is never true; mend"),
        ([{**READ, "when": "1 / 0 == 1"}], "`when` is never true"),
        ([{**READ, "when": "'a' in ['b'] || false"}], "`when` is never true"),
        ([{"deny": ["read"], "when": "false"}], "`when` is never true"),
        ([{"deny": ["read"], "when": "query.statement == 'select'"}],
         "`when` is never true: no `query.statement` is what it asks for; mend"),
        ([{**READ, "when": "agent.name == 'a' && agent.name == 'b'"}], "`when` is never true"),
        (
            [{**READ, "when": "agent.attributes.a == 'x' && agent.attributes.a == 'y'"}],
            "`when` is never true",
        ),
        ([{**ASK, "when": "false"}, READ], "`when` is never true"),
        ([READ, {"deny": ["read"]}], DENIED),
        ([{**READ, **G}, {"deny": ["read", "write"]}], DENIED),
        ([{**READ, **SHOP}, {"deny": ["read"], **at(projects=["P"])}], DENIED),
        ([{**READ, **SHOP}, {"deny": ["read"], **at(tables=["p.shop.*"])}], DENIED),
        ([{**READ, **at(tables=["p.shop.A"])}, {"deny": ["read"], **SHOP}], DENIED),
        ([{**READ, **at(tables=["p.x*.a"])}, {"deny": ["read"], **at(datasets=["p.x*"])}], DENIED),
        ([{**READ, **G}, {"deny": ["read"], "agents": {"groups": ["h", "g"]}}], DENIED),
        (
            [
                {**READ, "agents": {"groups": ["g"], "attributes": {"a": "1"}}},
                {"deny": ["read"], "agents": {"attributes": {"a": "1"}}},
            ],
            DENIED,
        ),
        ([{**READ, **WHEN}, {"deny": ["read"], **WHEN}], DENIED),
        ([{**READ, **WHEN}, {"deny": ["read"]}], DENIED),
        ([{**ASK, **SHOP}, {**ALL, **at(projects=["p"])}, READ], DENIED),
        ([{**CAP, **G}, {**ALL, **G}, {**READ, **H}], DENIED),
        ([ASK], UNREACHED),
        ([CAP, {"deny": ["read"]}], UNREACHED),
        ([{**ASK, **SHOP}, {**READ, **at(datasets=["p.other", "q.shop"])}], UNREACHED),
        ([{**ASK, **SHOP}, {**READ, **at(tables=["p.other_*.a"])}], UNREACHED),
        (
            [
                {**ASK, "agents": {"attributes": {"a": "1"}}},
                {**READ, "agents": {"attributes": {"a": "2"}}},
            ],
            UNREACHED,
        ),
        ([{**ASK, "agents": {"names": ["a"]}}, {**READ, "agents": {"names": ["b"]}}], UNREACHED),
    ],
)  # fmt: skip
def test_what_can_never_apply_is_refused(rules: list[dict[str, Any]], why: str) -> None:
    with pytest.raises(UnsafeConfigurationError) as caught:
        compile_policy(policy(*rules))
    assert str(caught.value).startswith(f"`f` line 2: {NEVER}: {why}")


@pytest.mark.parametrize(
    "rules",
    [
        [{**READ, "when": "1 < 2"}],
        [{"deny": ["read"], "when": "1 / 0 == 1"}],  # fails, so it denies
        # so does this for an agent without the attribute
        [{"deny": ["read"], "when": "agent.attributes.a == 'x' && agent.attributes.a == 'y'"}],
        [{**READ, "when": "has(agent.attributes.a) && false || agent.name == 'a'"}],
        [READ, {"deny": ["read"], **WHEN}],
        [READ, {"deny": ["read"], **G}],
        [{**READ, **G}, {"deny": ["read"], **H}],
        [{"allow": ["read", "write"]}, {"deny": ["write"]}],
        [{**READ, **SHOP}, {"deny": ["read"], **at(tables=["p.shop.a"])}],
        [{**READ, **at(datasets=["p.s*"])}, {"deny": ["read"], **at(datasets=["p.sh*"])}],
        [{**READ, **G}, {"deny": ["read"], "agents": {"groups": ["g"], "names": ["a"]}}],
        [{**ASK, **SHOP}, {**READ, **at(datasets=["P.SHOP"])}],
        [{**ASK, **SHOP}, {**READ, **at(tables=["*.shop.a"])}],
        [{**ASK, **G}, {**READ, **H}],  # an agent may be in both groups
        [{**ASK, "agents": {"names": ["a"]}}, {**READ, "agents": {"subjects": ["b"]}}],
        [{**ASK, "agents": {"attributes": {"a": "1"}}},
         {**READ, "agents": {"attributes": {"b": "1"}}}],
        [{**ASK, **at(tables=["p.*_a.x"])}, {**READ, **at(tables=["p.b_*.x"])}],
    ],
)  # fmt: skip
def test_what_may_apply_is_left_alone(rules: list[dict[str, Any]]) -> None:
    assert compile_policy(policy(*rules))


def filtered(table: str, *rules: dict[str, Any], **words: Any) -> dict[str, str]:
    one = {"name": "own", "tables": [table], "where": "a = 'x'", **words}
    return {
        "f": f"row_filters:\n- {msgspec.json.encode(one).decode()}\n",
        **(policy(*rules, file="g") if rules else {}),
    }


@pytest.mark.parametrize(
    ("documents", "why"),
    [
        (filtered("p.shop.a"), UNREACHED),
        (filtered("p.shop.a", {**READ, **at(datasets=["p.other", "q.shop"])}), UNREACHED),
        (filtered("p.*.a", {**READ, **at(tables=["p.shop.b"])}), UNREACHED),
        (
            filtered("p.a.a", {**READ, "agents": {"names": ["x"]}}, agents={"names": ["y"]}),
            UNREACHED,
        ),
        (
            filtered("p.shop.A", READ, {**ALL, **SHOP}),
            "rule `r1` denies all that it is about; narrow one of the two, or leave this one out",
        ),
    ],
)
def test_a_row_filter_that_can_never_apply_is_refused(documents: dict[str, str], why: str) -> None:
    with pytest.raises(UnsafeConfigurationError) as caught:
        compile_policy(documents)
    assert str(caught.value).startswith(f"`f` line 2: row filter `own` never applies: {why}")


@pytest.mark.parametrize(
    "documents",
    [
        filtered("p.shop.a", READ),
        filtered("P.Shop.A", {**READ, **at(tables=["p.shop.a"])}),
        filtered("p.shop.a", {**READ, **at(tables=["P.SHOP.*"])}),
        filtered("p.*.a", {**READ, **SHOP}),
        filtered("p.shop.a", {**READ, **H}, **G),  # an agent may be in both groups
        filtered("p.shop.a", {**READ, **WHEN}),
        # Changing rows of a filtered table is refused for the filter.
        filtered("p.shop.a", {"allow": ["write"], **SHOP}),
        filtered("p.shop.a", READ, {"deny": ["read"], **SHOP, **WHEN}),
        # What is in force already waits for what is tried, and the other way round.
        filtered("p.shop.a", {**READ, "shadow": True}),
        filtered("p.shop.a", shadow=True),
    ],
)
def test_a_row_filter_that_may_apply_is_left_alone(documents: dict[str, str]) -> None:
    assert compile_policy(documents)


def test_a_rule_may_be_there_before_what_allows_is_out_of_shadow() -> None:
    assert compile_policy(policy(ASK, {**READ, "shadow": True}))
