from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.google import write_key_file
from typer.testing import CliRunner

from keystile.cli import app

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
    pem = json.loads(key.read_text())["private_key"].splitlines()[1]
    assert pem not in said + text + run(config, "list")[1]
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
