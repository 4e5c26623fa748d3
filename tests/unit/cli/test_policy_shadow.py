from __future__ import annotations

import json
import time
from pathlib import Path

from typer.testing import CliRunner

from keystile.cli import app
from keystile.recording.events import Event, EventKind
from keystile.recording.writer import canonical, claim


def config(folder: Path, *shadows: dict[str, str]) -> str:
    """Write a gateway's files, with one recorded query."""
    body = {"sql": "SELECT 1", "decision": {"effect": "allow", "shadows": shadows}}
    writer = claim(folder / "recordings", segment_bytes=1 << 20)
    event = Event(EventKind.INTENT, time.time() - 60, "run-1", "bot", "j", body)
    writer.append([canonical(event)])
    writer.close()
    upstream = {"endpoint": "http://127.0.0.1:9", "service_account_file": "none.json"}
    file = folder / "keystile.yaml"
    file.write_text(json.dumps({"upstream": upstream}))
    return str(file)


def shadow(config: str, *options: str) -> str:
    done = CliRunner().invoke(app, ["policy", "shadow", "--config", config, *options])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_what_rules_in_shadow_would_have_done_is_summed_up(tmp_path: Path) -> None:
    file = config(tmp_path, {"rule": "no-exports", "would": "refuse"})
    text = shadow(file)
    assert "no-exports" in text
    assert "refuse 1" in text
    assert "of 1 recorded queries since" in text
    found = json.loads(shadow(file, "--json"))
    assert (found["queries"], found["rules"][0]["would"]) == (1, {"refuse": 1})
    assert found["rules"][0]["agents"] == ["bot"]


def test_where_nothing_is_in_shadow_that_is_said(tmp_path: Path) -> None:
    text = shadow(config(tmp_path))
    assert text == "no rule in shadow would have done anything to 1 queries\n"


def test_a_session_shows_it_with_its_query(tmp_path: Path) -> None:
    file = config(tmp_path, {"rule": "no-exports", "would": "refuse", "message": "not here"})
    done = CliRunner().invoke(app, ["sessions", "show", "run-1", "--config", file])
    assert "no-exports would refuse: not here" in done.stdout
