from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from typer.testing import CliRunner

from keystile.cli import app
from keystile.model.errors import NotFoundError
from keystile.model.schema import Field, Table, TableId, TableKind
from keystile.upstream.bigquery import BigQuery

POLICY = """
labels: [{label: pii.ssn, columns: [ssn]}]
masks: [{label: pii.ssn, mask: {kind: pattern, pattern: XXX}}]
rules:
- {name: read, agents: {groups: [g]}, resources: {datasets: [acme-shop.shop]}, allow: [read]}
- {name: frozen, deny: [schema_change], message: ask for a migration}
"""
CUSTOMERS = Table(
    TableId("acme-shop", "shop", "customers"),
    TableKind.TABLE,
    (Field("id", "INT64"), Field("ssn", "STRING")),
    "e1",
)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A gateway's files, whose BigQuery knows one table."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    account = {
        "client_email": "keystile@acme-shop.example",
        "private_key": key.decode(),
        "private_key_id": "key-1",
    }
    (tmp_path / "key.json").write_text(json.dumps(account), encoding="utf-8")
    (tmp_path / "key.json").chmod(0o600)
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "rules.yaml").write_text(POLICY, encoding="utf-8")
    upstream = {"endpoint": "http://127.0.0.1:9", "service_account_file": "key.json"}
    file = tmp_path / "keystile.yaml"
    file.write_text(json.dumps({"upstream": upstream}), encoding="utf-8")

    async def table(_self: BigQuery, asked: TableId) -> Table:
        if asked != CUSTOMERS.id:
            raise NotFoundError("nope")
        return CUSTOMERS

    monkeypatch.setattr(BigQuery, "table", table)
    created = CliRunner().invoke(
        app, ["agent", "create", "bot", "--group", "g", "--config", str(file)]
    )
    assert created.exit_code == 0, created.output
    return str(file)


def explain(config: str, sql: str, *more: str) -> str:
    arguments = ["policy", "explain", "--agent", "bot", "--project", "acme-shop", "--sql", sql]
    done = CliRunner().invoke(app, [*arguments, "--config", config, *more])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_explain_shows_facts_decision_and_the_rewritten_text(config: str) -> None:
    found = json.loads(explain(config, "SELECT UPPER(ssn) AS s FROM shop.customers", "--json"))
    assert found["effect"] == "allow"
    assert found["reads"] == ["acme-shop.shop.customers"]
    assert found["columns"][0]["mask"] == {"kind": "pattern", "pattern": "XXX"}
    assert "'XXX'" in found["rewritten_sql"]


def test_explain_says_which_rule_denies_and_rewrites_nothing(config: str) -> None:
    text = explain(config, "DROP TABLE shop.customers")
    assert text.startswith("deny  DROP_TABLE")
    assert "frozen: ask for a migration" in text
    assert "BigQuery would get" not in text


def test_explain_says_what_rules_in_shadow_would_do(config: str) -> None:
    shadow = "rules: [{name: quiet, deny: [read], message: not here, shadow: true}]"
    (Path(config).parent / "policy" / "shadow.yaml").write_text(shadow, encoding="utf-8")
    sql = "SELECT id FROM shop.customers"
    found = json.loads(explain(config, sql, "--json"))
    assert found["effect"] == "allow"
    assert [(one["rule"], one["would"]) for one in found["shadows"]] == [("quiet", "refuse")]
    assert "in shadow: quiet would refuse: not here" in explain(config, sql)


def test_explain_of_an_unknown_agent_is_one_clear_line(config: str) -> None:
    arguments = ["policy", "explain", "--agent", "ghost", "--project", "p", "--sql", "SELECT 1"]
    done = CliRunner().invoke(app, [*arguments, "--config", config])
    assert done.exit_code == 1
    assert "there is no agent `ghost`" in done.stderr


EXAMPLES = str(Path(__file__).parents[3] / "examples" / "policy")


def test_the_examples_hold_their_own_tests() -> None:
    done = CliRunner().invoke(app, ["policy", "test", EXAMPLES])
    assert (done.exit_code, done.stdout) == (0, "13 passed, 0 failed\n")


def test_a_failed_test_says_what_and_where_and_ends_with_one(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(POLICY, encoding="utf-8")
    test = {"name": "sees ssn", "sql": "SELECT 1", "expect": {"effect": "allow"}}
    file = json.dumps({"project": "acme-shop", "tests": [test]})
    (tmp_path / "a.test.yaml").write_text(file, encoding="utf-8")
    done = CliRunner().invoke(app, ["policy", "test", str(tmp_path)])
    assert done.exit_code == 1
    assert "FAILED `a.test.yaml` line 1: sees ssn" in done.stdout
    assert "effect: expected `allow`, got `deny`" in done.stdout
    told = CliRunner().invoke(app, ["policy", "test", str(tmp_path), "--json"])
    [one] = json.loads(told.stdout)
    assert (told.exit_code, one["name"], len(one["differences"])) == (1, "sees ssn", 2)


def test_a_policy_is_valid_or_says_where_it_is_not(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(POLICY, encoding="utf-8")
    (tmp_path / "a.test.yaml").write_text("no: policy", encoding="utf-8")
    done = CliRunner().invoke(app, ["policy", "validate", str(tmp_path)])
    assert (done.exit_code, done.stdout[:20]) == (0, "the policy is valid;")
    filters = "row_filters: [{name: x, tables: [p.d.t], where: 'a = (SELECT 1)'}]"
    (tmp_path / "rows.yaml").write_text(filters, encoding="utf-8")
    wrong = CliRunner().invoke(app, ["policy", "validate", str(tmp_path)])
    assert wrong.exit_code == 1
    assert "`rows.yaml` line 1: row filter `x`" in wrong.stderr


def test_a_masking_key_is_looked_for_where_a_configuration_is_at_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    masks = "masks: [{label: pii, mask: {kind: token, key: sales}}]\n"
    labels = "labels: [{label: pii, columns: [ssn]}]\n"
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "rules.yaml").write_text(labels + masks, encoding="utf-8")
    alone = CliRunner().invoke(app, ["policy", "validate"])
    assert alone.exit_code == 0
    assert "without --config nothing says" in alone.stdout
    assert "`sales`" in alone.stdout
    issuer = "identity: {builtin_issuer: {enabled: true}}\n"
    settings = f"{issuer}masking_keys: {{sale: {{file: x}}}}\n"
    (tmp_path / "keystile.yaml").write_text(settings, encoding="utf-8")
    found = CliRunner().invoke(app, ["policy", "validate"])
    assert found.exit_code == 1
    assert "`rules.yaml` line 2: the settings have no masking key `sales`" in found.stderr
    assert "did you mean `sale`?" in found.stderr
    published = CliRunner().invoke(app, ["policy", "apply", "-m", "x"])
    assert published.exit_code == 1
    assert "no masking key `sales`" in published.stderr
    missing = CliRunner().invoke(app, ["policy", "validate", "-c", "nowhere.yaml"])
    assert missing.exit_code == 1
    assert "nowhere.yaml" in missing.stderr


def test_a_folder_without_tests_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(POLICY, encoding="utf-8")
    done = CliRunner().invoke(app, ["policy", "test", str(tmp_path)])
    assert done.exit_code == 1
    assert "put at least one file there whose name ends in `.test.yaml`" in done.stderr


def test_explain_lists_the_limits_in_force(config: str) -> None:
    rule = "- {name: cost, agents: {groups: [g]}, limits: {bytes_per_day: 2TB}}\n"
    with (Path(config).parent / "policy" / "rules.yaml").open("a", encoding="utf-8") as file:
        file.write(rule)
    text = explain(config, "SELECT id FROM shop.customers")
    assert "limits of cost for agent " in text
    assert "bytes_per_day 2000000000000" in text


def test_explain_says_which_detectors_look_at_which_columns(config: str) -> None:
    net = "detectors: [{name: net, find: [ssn, email]}, {name: stop, find: [jwt], deny: true}]"
    (Path(config).parent / "policy" / "net.yaml").write_text(net, encoding="utf-8")
    sql = "SELECT id, ssn, 'x' AS note FROM shop.customers"
    found = json.loads(explain(config, sql, "--json"))["detectors"]
    assert [(one["entity"], one["columns"]) for one in found] == [
        ("ssn", ["note"]),
        ("email", ["note"]),
        ("jwt", ["note"]),
    ]
    assert [one["entity"] for one in found if one["keeps_back"]] == ["jwt"]
    text = explain(config, sql)
    assert "detector net masks ssn, email in: note" in text
    assert "detector stop keeps back jwt in: note" in text
