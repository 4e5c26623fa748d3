from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from keystile.config.policy_folder import read_policy
from keystile.gate.policy_tests import PolicyTester
from keystile.googlesql.inline import InlineRunner
from keystile.model.errors import UnsafeConfigurationError
from keystile.policy.compile import compile_policy

POLICY = """
labels:
- {label: pii.ssn, columns: [ssn]}
- {label: tagged, policy_tags: ["projects/p/locations/us/taxonomies/1/policyTags/2"]}
rules:
- {name: read, agents: {groups: [g]}, resources: {datasets: [p.d]}, allow: [read]}
- {name: frozen, deny: [schema_change], message: ask for a migration}
- name: person
  agents: {attributes: {purpose: support}}
  when: query.touches("pii.ssn")
  require_approval: {from: [stewards], unmask: [pii.ssn]}
- {name: cost, agents: {groups: [capped]}, limits: {bytes_per_day: 2TB, bytes_per_query: 50GB}}
row_filters:
- {name: own, agents: {names: [small]}, tables: [p.d.orders], where: id = 1}
"""
TABLES = {
    "d.customers": {
        "id": "INT64",
        "ssn": "STRING(11)",
        "note": {
            "type": "STRING",
            "policy_tags": ["projects/p/locations/us/taxonomies/1/policyTags/2"],
        },
        "places": "ARRAY<STRUCT<city STRING, zip STRING>>",
    },
    "p.d.orders": {"id": "INT64"},
}
VIEWS = {"d.v": "SELECT id, ssn AS number FROM d.customers", "d.w": "SELECT number FROM d.v"}
AGENT = {"groups": ["g"]}


def allowed(*masked: str) -> dict[str, Any]:
    return {"effect": "allow", "masked": [*masked]}


@cache
def runner() -> InlineRunner:
    return InlineRunner()


async def tried(sql: str, agent: Any, estimate: str = "0B", **expect: Any) -> tuple[str, ...]:
    """Run one test, and give its differences."""
    test = {"name": "t", "sql": sql, "agent": agent, "estimate": estimate, "expect": expect}
    tests = [test]
    file = {"project": "p", "tables": TABLES, "views": VIEWS, "tests": tests}
    tester = PolicyTester(compile_policy({"f.yaml": POLICY}), runner(), bytes(32))
    [found] = [one async for one in tester.run({"a.test.yaml": yaml.safe_dump(file)})]
    assert (found.file, found.name) == ("a.test.yaml", "t")
    return found.differences


@pytest.mark.parametrize(
    ("sql", "agent", "expect"),
    [
        (
            "SELECT ssn, id FROM d.customers",
            AGENT,
            {"effect": "allow", "masked": ["d.customers.ssn"]},
        ),
        (
            "SELECT note FROM d.customers",
            AGENT,
            {"effect": "allow", "masked": ["d.customers.note"]},
        ),
        ("SELECT p.city FROM d.customers, UNNEST(places) AS p", AGENT, allowed()),
        ("SELECT number FROM d.w", AGENT, allowed("d.customers.ssn")),
        (
            "SELECT id FROM d.orders",
            {"groups": ["g"], "name": "small"},
            {"effect": "allow", "row_filters": ["own"]},
        ),
        ("SELECT id FROM d.orders", AGENT, {"effect": "allow", "row_filters": []}),
        ("SELECT table_name FROM d.INFORMATION_SCHEMA.TABLES", AGENT, {"effect": "allow"}),
        (
            "DROP TABLE d.orders",
            AGENT,
            {"effect": "deny", "rules": ["frozen"], "message": "ask for a migration"},
        ),
        (
            "SELECT ssn FROM d.customers",
            {"groups": ["g"], "attributes": {"purpose": "support"}},
            {"effect": "require_approval", "rules": ["person"], "masked": []},
        ),
        ("SELECT id FROM d.orders", {}, {"effect": "not_found"}),
        ("SELECT id FROM d.nowhere", AGENT, {"effect": "not_found"}),
    ],
)
async def test_a_query_gets_what_it_would_get_in_service(sql: str, agent: Any, expect: Any) -> None:
    assert await tried(sql, agent, **expect) == ()


@pytest.mark.parametrize(
    ("sql", "estimate", "expect"),
    [
        ("SELECT id FROM d.orders", "50GB", {"effect": "allow", "limits": ["cost"]}),
        (
            "SELECT id FROM d.orders",
            "60GB",
            {
                "effect": "deny",
                "rules": ["cost"],
                "message": "would read 60 GB, and `bytes_per_query` of rule `cost` is 50 GB",
            },
        ),
        ("SELECT ssn FROM d.customers", "60GB", {"effect": "deny", "message": "more than is left"}),
        ("DROP TABLE d.orders", "60GB", {"effect": "deny", "rules": ["frozen"], "limits": []}),
    ],
)
async def test_a_query_keeps_within_its_limits(sql: str, estimate: str, expect: Any) -> None:
    agent = {"groups": ["g", "capped"]}
    assert await tried(sql, agent, estimate=estimate, **expect) == ()


async def test_a_policy_that_lets_more_through_fails_its_test() -> None:
    found = await tried("SELECT ssn FROM d.customers", AGENT, effect="deny", masked=[])
    assert found[:2] == (
        "effect: expected `deny`, got `allow`",
        "masked: `p.d.customers.ssn` was not expected",
    )


async def test_a_query_that_is_none_fails_its_test() -> None:
    found = await tried("SELEC 1", AGENT, effect="deny")
    assert found[0] == "effect: expected `deny`, got `error`"
    assert "Syntax error" in found[1]


@pytest.mark.parametrize(
    ("tables", "views", "message"),
    [
        ({"d.t": {"a": "NONSENSE"}}, {}, "`a.test.yaml` line"),
        ({"d.t": {"a": "INT64) AS b, CAST(NULL AS INT64"}}, {}, "a column or its type"),
        ({"t": {"a": "INT64"}}, {}, "`t` is no table's name"),
        ({}, {"d.v": "SELECT x FROM d.nowhere"}, "`a.test.yaml` line"),
        ({}, {"d.v": "DROP TABLE d.t"}, "is not understood"),
    ],
)
async def test_a_wrong_declaration_says_where(tables: Any, views: Any, message: str) -> None:
    tests = [{"name": "t", "sql": "SELECT 1", "expect": {"effect": "deny"}}]
    file = {"project": "p", "tables": tables, "views": views, "tests": tests}
    tester = PolicyTester(compile_policy({"f.yaml": POLICY}), runner(), bytes(32))
    with pytest.raises(UnsafeConfigurationError, match=message):
        [one async for one in tester.run({"a.test.yaml": yaml.safe_dump(file)})]


ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("page", ["reference/policy.md", "how-to/write-a-policy.md"])
async def test_the_tests_in_the_pages_pass_under_the_example_policy(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    tests = {f"{page} {at}": block for at, block in enumerate(blocks) if "\ntests:" in block}
    policy = compile_policy(read_policy(ROOT / "examples" / "policy"))
    tried = [one async for one in PolicyTester(policy, runner(), bytes(32)).run(tests)]
    assert tried
    assert [one for one in tried if one.differences] == []


async def test_a_test_may_expect_what_rules_in_shadow_would_do() -> None:
    shadow = "rules: [{name: quiet, deny: [read], shadow: true}]"
    made = compile_policy({"f.yaml": POLICY, "s.yaml": shadow})
    for expected, lines in (({"quiet": "refuse"}, 0), ({}, 2), ({"quiet": "ask"}, 3)):
        expect = {"effect": "allow", "shadows": expected}
        test = {"name": "t", "sql": "SELECT id FROM d.orders", "agent": AGENT, "expect": expect}
        file = {"project": "p", "tables": TABLES, "tests": [test]}
        tester = PolicyTester(made, runner(), bytes(32))
        [found] = [one async for one in tester.run({"a.test.yaml": yaml.safe_dump(file)})]
        assert len(found.differences) == lines, found.differences
