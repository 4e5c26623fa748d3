"""The three rules that README shows are short, and each alone does what is said of it there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from keystile.gate.policy_tests import PolicyTester
from keystile.googlesql.inline import InlineRunner
from keystile.model.facts import Action
from keystile.policy.compile import compile_policy

ROOT = Path(__file__).parents[2]
LABELS = (ROOT / "examples" / "policy" / "labels.yaml").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
PASSAGE = README.partition("\n## Three rules\n")[2].partition("\n## ")[0]
RULES = re.findall(r"^```yaml\n(.*?)^```$", PASSAGE, re.MULTILINE | re.DOTALL)
_MOST_LINES = 5

OPEN = {"name": "everything", "allow": sorted(map(str, Action))}
TABLES = {
    "shop.customers": {
        "id": "INT64",
        "name": "STRING",
        "email": "STRING",
        "ssn": "STRING",
        "phone": "STRING",
        "notes": "STRING",
        "address": "STRUCT<street STRING, city STRING>",
        "contacts": "ARRAY<STRUCT<kind STRING, value STRING>>",
    },
    "analytics.daily": {"day": "DATE", "orders": "INT64"},
}
PII = {
    "name": "name",
    "email": "email",
    "ssn": "ssn",
    "phone": "phone",
    "notes": "notes",
    "address.street": "address.street",
    "contacts.value": "contacts[SAFE_OFFSET(0)].value",
}
"""Each personal column of the table, and how a query touches it."""

CHANGES = {
    Action.WRITE: "DELETE FROM analytics.daily WHERE TRUE",
    Action.SCHEMA_CHANGE: "CREATE TABLE analytics.more (a INT64)",
    Action.EXPORT: (
        "EXPORT DATA OPTIONS (uri = 'gs://elsewhere/*.csv', format = 'CSV') AS"
        " SELECT day FROM analytics.daily"
    ),
}
SCHEMA_CHANGES = (
    "CREATE TABLE shop.copy AS SELECT id FROM shop.customers",
    "CREATE VIEW shop.ids AS SELECT id FROM shop.customers",
    "ALTER TABLE shop.customers ADD COLUMN age INT64",
    "ALTER TABLE shop.customers DROP COLUMN notes",
    "DROP TABLE shop.customers",
    "CREATE SCHEMA elsewhere",
)
READS_ONLY = {Action.READ, Action.SCRIPT, Action.SESSION}
SUPPORT = {"groups": ["coding-agents"], "attributes": {"purpose": "support"}}
AGENTS: tuple[dict[str, Any], ...] = (
    {},
    {"groups": ["analytics"]},
    SUPPORT,
)
ENGINE = InlineRunner()


def test_three_rules_are_shown_and_each_is_short() -> None:
    assert len(RULES) == 3
    for shown in RULES:
        assert len(yaml.safe_load(shown)) == 1
        assert len(shown.splitlines()) <= _MOST_LINES


async def differences(
    shown: str, sql: str, agent: dict[str, Any], **expected: Any
) -> tuple[str, ...]:
    """Say what comes out otherwise than expected under a rule alone, where all else is allowed."""
    rules = yaml.safe_dump({"rules": [OPEN, *(yaml.safe_load(shown) or ())]})
    policy = compile_policy({"rules.yaml": rules, "labels.yaml": LABELS})
    test = {"name": "one", "agent": agent, "sql": sql, "expect": expected}
    file = yaml.safe_dump({"project": "acme-shop", "tables": TABLES, "tests": [test]})
    tester = PolicyTester(policy, ENGINE, bytes(32))
    [found] = [one async for one in tester.run({"one.test.yaml": file})]
    return found.differences


def name_of(shown: str) -> str:
    name: str = yaml.safe_load(shown)[0]["name"]
    return name


@pytest.mark.parametrize("column", PII)
@pytest.mark.parametrize(
    "sql", ["SELECT {} FROM shop.customers", "SELECT id FROM shop.customers WHERE {} > ''"]
)
async def test_every_personal_column_needs_approval_and_is_masked_for_others(
    column: str, sql: str
) -> None:
    shown, text, masked = RULES[0], sql.format(PII[column]), [f"shop.customers.{column}"]
    asks = {"effect": "require_approval", "rules": [name_of(shown)], "masked": []}
    assert await differences(shown, text, SUPPORT, **asks) == ()
    assert await differences(shown, text, {}, effect="allow", masked=masked) == ()
    assert await differences("", text, SUPPORT, effect="allow", masked=masked) == ()


async def test_what_is_not_personal_needs_no_approval() -> None:
    assert {"id", *(path.split(".")[0] for path in PII)} == TABLES["shop.customers"].keys()
    for sql in ("SELECT id FROM shop.customers", "SELECT * FROM analytics.daily"):
        assert await differences(RULES[0], sql, SUPPORT, effect="allow", masked=[]) == ()


@pytest.mark.parametrize("action", CHANGES)
async def test_analytics_agents_do_nothing_but_read(action: Action) -> None:
    shown, analytics = RULES[1], {"groups": ["analytics", "coding-agents"]}
    refused = {"effect": "deny", "rules": [name_of(shown)]}
    assert await differences(shown, CHANGES[action], analytics, **refused) == ()
    assert await differences(shown, CHANGES[action], SUPPORT, effect="allow") == ()
    assert await differences("", CHANGES[action], analytics, effect="allow") == ()


async def test_analytics_agents_read() -> None:
    sql = "SELECT day, SUM(orders) FROM analytics.daily GROUP BY day"
    assert await differences(RULES[1], sql, {"groups": ["analytics"]}, effect="allow") == ()
    [rule] = yaml.safe_load(RULES[1])
    assert {*Action} - READS_ONLY == {*rule["deny"]}


@pytest.mark.parametrize("sql", SCHEMA_CHANGES)
@pytest.mark.parametrize("agent", AGENTS)
async def test_no_agent_changes_a_schema(agent: dict[str, Any], sql: str) -> None:
    shown = RULES[2]
    refused = {"effect": "deny", "rules": [name_of(shown)]}
    assert await differences(shown, sql, agent, **refused) == ()
    assert await differences("", sql, agent, effect="allow") == ()


async def test_agents_who_change_no_schema_read_and_write() -> None:
    for sql in ("SELECT id FROM shop.customers", CHANGES[Action.WRITE]):
        assert await differences(RULES[2], sql, SUPPORT, effect="allow") == ()
