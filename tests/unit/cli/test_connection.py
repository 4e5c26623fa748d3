from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from tests.support.google import write_key_file
from typer.testing import CliRunner

from keystile.cli import app
from keystile.cli.common import settings
from keystile.cli.store import database
from keystile.store.notes import Notes

ACCOUNT = "reports@acme-shop.iam.gserviceaccount.com"


@pytest.fixture
def config(tmp_path: Path) -> str:
    file = tmp_path / "keystile.yaml"
    file.write_text("upstream: {endpoint: 'http://127.0.0.1:9'}\n")
    write_key_file(tmp_path / "key.json", ACCOUNT, "k1")
    return str(file)


def run(config: str, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["connection", *words, "--config", config])
    return done.exit_code, done.output


def test_a_connection_is_added_listed_and_never_shows_its_key(config: str, tmp_path: Path) -> None:
    key = tmp_path / "key.json"
    code, said = run(config, "add", "reports", "--key-file", str(key))
    assert (code, f"added as {ACCOUNT}" in said) == (0, True), said
    code, text = run(config, "list", "--json")
    [one] = json.loads(text)
    assert (one["connection"], one["account"], one["key"]) == ("reports", ACCOUNT, "k1")
    assert one["state"] == "active"
    assert pem_of(key) not in said + text + run(config, "list")[1]
    kept = tmp_path / "keystile-data" / "connections" / "reports" / "k1.json"
    assert kept.stat().st_mode & 0o077 == 0
    assert kept.read_bytes() == key.read_bytes()


def test_what_is_wrong_is_said_in_one_sentence(config: str, tmp_path: Path) -> None:
    run(config, "add", "reports", "--key-file", str(tmp_path / "key.json"))
    assert "already" in run(config, "add", "reports", "--metadata-server")[1]
    assert "said once" in run(config, "add", "other")[1]
    assert "lower-case letters" in run(config, "add", "../x", "--metadata-server")[1]
    code, said = run(config, "test", "reports")
    assert (code, "BigQuery cannot be reached" in said) == (1, True)
    assert "there is no connection `gone`" in run(config, "test", "gone")[1]
    write_key_file(tmp_path / "else.json", "else@x.iam.gserviceaccount.com", "k2")
    code, said = run(config, "rotate", "reports", "--key-file", str(tmp_path / "else.json"))
    assert (code, "add another connection for another account" in said) == (1, True)
    assert "waits to sign" in run(config, "rotate", "reports")[1]


def pem_of(key: Path) -> str:
    return str(json.loads(key.read_text())["private_key"].splitlines()[1])


def noted(config: str) -> list[dict[str, object]]:
    """Give what is to go on record, oldest first."""

    async def taken() -> list[dict[str, object]]:
        async with database(settings(Path(config))) as store:
            return [dict(one.body) for one in await Notes(store).take(0.0)]

    return asyncio.run(taken())


def test_a_connection_is_removed_with_its_keys_and_all_is_noted(
    config: str, tmp_path: Path
) -> None:
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "a.yaml").write_text("rules: [{name: a, allow: [read]}]")
    run(config, "add", "reports", "--key-file", str(tmp_path / "key.json"))
    kept = tmp_path / "keystile-data" / "connections" / "reports" / "k1.json"
    assert kept.exists()
    code, said = run(config, "remove", "reports")
    assert (code, "connection reports is removed" in said) == (0, True), said
    assert not kept.exists()
    assert "there is no connection `reports`" in run(config, "remove", "reports")[1]
    assert json.loads(run(config, "list", "--json")[1]) == []
    told = noted(config)
    assert [(one["action"], one["connection"], one["account"]) for one in told] == [
        ("add", "reports", ACCOUNT),
        ("remove", "reports", ACCOUNT),
    ]
    assert [one["key"] for one in told] == ["k1", ""]
    assert pem_of(tmp_path / "key.json") not in str(told)
    # Its name is free again.
    assert run(config, "add", "reports", "--key-file", str(tmp_path / "key.json"))[0] == 0


def test_a_connection_that_the_policy_names_stays(config: str, tmp_path: Path) -> None:
    (tmp_path / "policy").mkdir()
    entry = "connections:\n- {name: as-reports, agents: {groups: [x]}, connection: reports}\n"
    (tmp_path / "policy" / "a.yaml").write_text(entry)
    run(config, "add", "reports", "--key-file", str(tmp_path / "key.json"))
    code, said = run(config, "remove", "reports")
    assert (code, "in use by the policy's entry `as-reports`" in said) == (1, True), said
    assert [one["action"] for one in noted(config)] == ["add"]
    Path(config).write_text("upstream: {service_account_file: key.json}\n")
    assert "stands in the settings" in run(config, "remove", "default")[1]


def test_what_was_found_as_application_default_is_said(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "key.json"
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
    assert "is added" in run(config, "add", "adc", "--application-default")[1]
    code, said = run(config, "test", "adc")
    assert f"application default credentials: the key of a service account in `{key}`" in said
    assert (code, f"{ACCOUNT} by key k1: BigQuery cannot be reached" in said) == (1, True), said
    [one] = json.loads(run(config, "list", "--json")[1])
    assert (one["kind"], one["key"]) == ("application default", "k1")
    code, said = run(config, "rotate", "adc", "--key-file", str(key))
    assert (code, "write the new key there" in said) == (1, True), said
    key.write_text('{"type": "gdch_service_account"}')
    code, said = run(config, "test", "adc")
    assert (code, "of the kind `gdch_service_account`" in said) == (1, True), said
