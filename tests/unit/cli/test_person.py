from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from keystile.cli.person import app


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "keystile.yaml"
    file.write_text("upstream: {service_account_file: key.json}\n")
    return file


def test_people_are_created_and_listed(config: Path) -> None:
    def invoke(*arguments: str) -> str:
        result = CliRunner().invoke(app, [*arguments, "--config", str(config)])
        assert result.exit_code == 0, result.output
        return result.stdout

    assert "no people yet" in invoke("list")
    assert "keystile console link --as operator" in invoke(
        "create", "operator", "--group", "data-stewards", "-g", "other"
    )
    (person,) = json.loads(invoke("list", "--json"))
    assert (person["name"], person["groups"]) == ("operator", ["data-stewards", "other"])
    assert "data-stewards, other" in invoke("list")


def test_a_fault_is_one_clear_line(config: Path) -> None:
    for name, message in (("a b", "cannot be a name"), ("operator", ""), ("operator", "already")):
        result = CliRunner().invoke(app, ["create", name, "--config", str(config)])
        assert message in result.stderr
        assert result.exit_code == (1 if message else 0)
