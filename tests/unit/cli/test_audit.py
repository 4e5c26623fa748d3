from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from keystile.cli.audit import app
from keystile.recording import chain as chains
from keystile.recording.events import Event, EventKind
from keystile.recording.writer import canonical, claim


@pytest.fixture
def config(tmp_path: Path) -> Path:
    writer = claim(tmp_path / "recordings", segment_bytes=1 << 20)
    writer.append([canonical(Event(EventKind.VIEWED, 1.0, body={"n": n})) for n in range(3)])
    writer.close()
    file = tmp_path / "keystile.yaml"
    file.write_text("upstream: {service_account_file: key.json}\n")
    return file


def call(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["verify", *arguments, "--config", str(config)])


def test_intact(config: Path) -> None:
    done = call(config)
    assert done.exit_code == 0
    assert "intact: 3 records in 1 chain" in done.stdout
    found = json.loads(call(config, "--json").stdout)
    assert found["intact"]
    assert found["chains"][0]["last_seq"] == 3
    assert len(found["chains"][0]["last_hash"]) == 64


def test_broken(config: Path) -> None:
    (chain,) = chains.chains(config.parent / "recordings")
    (segment,) = chains.segments(chain)
    segment.write_bytes(segment.read_bytes().replace(b'"n":1', b'"n":7'))
    done = call(config)
    assert done.exit_code == 1
    assert f"BROKEN: {segment.name} line 2: its hash does not fit its content" in done.stdout
    found = call(config, "--json")
    assert found.exit_code == 1
    assert json.loads(found.stdout)["chains"][0]["problem"] == {
        "segment": segment.name,
        "line": 2,
        "what": "its hash does not fit its content",
    }


def test_nothing_recorded_yet_is_intact(tmp_path: Path) -> None:
    file = tmp_path / "keystile.yaml"
    file.write_text("upstream: {service_account_file: key.json}\n")
    assert call(file).stdout == "intact: 0 records in 0 chains\n"
