from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from keystile.cli.sessions import app
from keystile.recording import chain as chains
from keystile.recording.events import Event, EventKind
from keystile.recording.writer import canonical, claim

AT = 1_767_182_400.0  # 2025-12-31 12:00 UTC


def row(*values: object) -> dict[str, object]:
    return {"f": [{"v": value} for value in values]}


EVENTS = [
    Event(
        EventKind.INTENT,
        AT,
        "run-1",
        "demo-agent",
        "j1",
        {
            "sql": "SELECT id, ssn\nFROM t -- \x1b[2J",
            "parameters": [{"name": "x", "parameterValue": {"value": "1"}}],
            "decision": {
                "effect": "require_approval",
                "rules": [{"rule": "raw-pii", "effect": "require_approval", "message": "ask"}],
            },
            "masked": ["p.d.t.ssn"],
            "into": "p.d.kept",
        },
    ),
    Event(
        EventKind.APPROVAL_DECIDED,
        AT + 1,
        "run-1",
        "demo-agent",
        "j1",
        {
            "request": "r1",
            "state": "approved",
            "votes": [
                {"person": "operator", "approve": True, "comment": "fine", "via": "cli", "at": AT}
            ],
        },
    ),
    Event(
        EventKind.OUTCOME,
        AT + 2,
        "run-1",
        "demo-agent",
        "j1",
        {
            "state": "done",
            "schema": [{"name": "id", "type": "INTEGER"}, {"name": "ssn", "type": "STRING"}],
            "rows": [row("1", "XXX-XX-XXXX"), row("2", "[red]\x1b")],
            "total_rows": 2,
            "bytes_processed": 10,
        },
    ),
    Event(
        EventKind.REFUSED,
        AT + 3,
        "run-1",
        "demo-agent",
        "",
        {"sql": "DROP TABLE t", "reason": "accessDenied", "message": "no schema changes"},
    ),
    Event(
        EventKind.INTENT,
        AT + 9,
        "run-2",
        "other-agent",
        "j2",
        {
            "sql": "SELECT 2",
            "on_behalf_of": "dana",
            "principal": {
                "issuer": "https://ci.example",
                "subject": "repo:acme",
                "groups": ["g", "h"],
                "attributes": {"purpose": "support"},
            },
            "request": {"script": "nightly-script"},
        },
    ),
]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    writer = claim(tmp_path / "recordings", segment_bytes=1 << 20, clock=lambda: AT)
    writer.append([canonical(event) for event in EVENTS])
    writer.close()
    file = tmp_path / "keystile.yaml"
    file.write_text("upstream: {service_account_file: key.json}\n")
    return file


def call(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--config", str(config)])


def answer(config: Path, *arguments: str) -> Any:
    done = call(config, *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_list_with_filters_and_paging(config: Path) -> None:
    listed = answer(config, "list")
    assert [one["id"] for one in listed["sessions"]] == ["run-2", "run-1"]
    assert listed["sessions"][1] == {
        "id": "run-1",
        "agent": "demo-agent",
        "started_at": "2025-12-31T12:00:00Z",
        "last_at": "2025-12-31T12:00:03Z",
        "queries": 1,
        "refused": 1,
        "approvals": 0,
    }
    for option, value in (
        ("--agent", "demo-agent"),
        ("--until", "2025-12-31T12:00:05Z"),
        ("--effect", "require_approval"),
        ("--kind", "refused"),
        ("--text", "drop table"),
    ):
        assert [one["id"] for one in answer(config, "list", option, value)["sessions"]] == ["run-1"]
    assert answer(config, "list", "--since", "1h")["sessions"] == []
    assert call(config, "list", "--since", "1h").stdout == "no such sessions\n"
    first = answer(config, "list", "--limit", "1")
    second = answer(config, "list", "--limit", "1", "--cursor", first["cursor"])
    assert [one["id"] for one in second["sessions"]] == ["run-1"]
    assert "run-2" in call(config, "list").stdout


def test_show(config: Path) -> None:
    first, second = answer(config, "show", "run-1")["steps"]
    assert (first["sql"], first["state"]) == ("SELECT id, ssn\nFROM t -- \x1b[2J", "done")
    assert first["decision"]["rules"][0]["rule"] == "raw-pii"
    assert (first["approvers"], first["masked"]) == (["operator"], ["p.d.t.ssn"])
    assert (first["total_rows"], first["bytes_processed"]) == (2, 10)
    assert first["rows"][0] == {"index": 0, "row": row("1", "XXX-XX-XXXX")}
    assert (second["state"], second["error"]["message"]) == ("refused", "no schema changes")
    text = call(config, "show", "run-1").stdout
    for part in (
        "FROM t -- \\U0000001b[2J",
        "raw-pii (require_approval): ask",
        "result into p.d.kept",
        "operator approved at",
    ):
        assert part in text
    assert "XXX-XX-XXXX" not in text
    assert "\x1b" not in text


def test_a_statement_names_its_script(config: Path) -> None:
    for command in ("show", "replay"):
        assert "nightly-script" in call(config, command, "run-2").stdout
        assert "statement of" not in call(config, command, "run-1").stdout


def test_a_step_names_the_person_behind_the_agent(config: Path) -> None:
    assert "other-agent for dana" in call(config, "show", "run-2").stdout
    assert "demo-agent for" not in call(config, "show", "run-1").stdout


def test_replay_prints_the_masked_rows(config: Path) -> None:
    text = call(config, "replay", "run-1").stdout
    assert "XXX-XX-XXXX" in text
    assert "[red]\\U0000001b" in text
    assert "DROP TABLE t" in text
    assert "\x1b" not in text
    only = call(config, "replay", "run-1", "--step", "2").stdout
    assert "XXX-XX-XXXX" not in only
    (step,) = answer(config, "replay", "run-1", "--step", "1")
    assert (step["columns"], step["table"][0]) == (["id", "ssn"], ["1", "XXX-XX-XXXX"])


def test_what_does_not_exist_is_one_clear_line(config: Path) -> None:
    for arguments in (("show", "nope"), ("replay", "nope"), ("replay", "run-1", "--step", "9")):
        done = call(config, *arguments)
        assert done.exit_code == 1
        assert done.stderr.startswith("keystile: ")
        assert done.stderr.count("\n") == 1
    bad = call(config, "list", "--since", "soon")
    assert (bad.exit_code, "is no time" in bad.stderr) == (1, True)


def test_retain(config: Path) -> None:
    young = "recording: {retention: {after_days: 36500}}\n"
    config.write_text("upstream: {service_account_file: key.json}\n" + young)
    assert "0 records in 0 segments" in call(config, "retain").stdout
    config.write_text(
        "upstream: {service_account_file: key.json}\n"
        "recording: {retention: {after_days: 1, action: archive, archive: old}}\n"
    )
    dry = answer(config, "retain", "--dry-run")
    (segment,) = dry["segments"]
    assert (segment["records"], segment["first_at"]) == (5, "2025-12-31T12:00:00Z")
    assert dry["dry_run"]
    assert not (config.parent / "old").exists()
    assert "would be archived" in call(config, "retain", "--dry-run").stdout
    done = call(config, "retain")
    assert (done.exit_code, "5 records in 1 segments" in done.stdout) == (0, True)
    assert len(list((config.parent / "old").rglob("*.jsonl"))) == 1
    assert answer(config, "list")["sessions"] == []


def test_retain_says_what_it_leaves_alone(config: Path) -> None:
    (chain,) = chains.chains(config.parent / "recordings")
    (segment,) = chains.segments(chain)
    segment.write_bytes(segment.read_bytes().replace(b"DROP", b"drop"))
    done = call(config, "retain", "--dry-run")
    assert done.exit_code == 1
    assert "does not verify" in done.stdout


SENT = [
    Event(
        EventKind.INTENT,
        AT + 4,
        "run-3",
        "writer",
        "j3",
        {"sql": "-- 2 rows", "sent": [{"json": '{"id":1}'}, {"json": '{"id":"\x1b"}'}]},
    ),
    Event(
        EventKind.OUTCOME,
        AT + 5,
        "run-3",
        "writer",
        "j3",
        {
            "state": "done",
            "bad_rows": [{"index": 1, "faults": [{"location": "id", "message": "no number"}]}],
        },
    ),
]


def test_rows_that_an_agent_sent_are_walked_through(config: Path) -> None:
    writer = claim(config.parent / "recordings", segment_bytes=1 << 20, clock=lambda: AT)
    writer.append([canonical(event) for event in SENT])
    writer.close()
    done = call(config, "replay", "run-3")
    assert done.exit_code == 0, done.output
    assert "2 rows, 1 not in the table" in done.output
    assert '{"id":1}' in done.output
    assert "id: no number" in done.output
    assert "\x1b" not in done.output
    (step,) = answer(config, "replay", "run-3")
    assert [row["json"] for row in step["sent"]] == ['{"id":1}', '{"id":"\x1b"}']
    assert step["bad_rows"][0]["index"] == 1


def test_a_step_tells_who_asked(config: Path) -> None:
    shown = call(config, "replay", "run-2").stdout
    for text in ("https://ci.example", "repo:acme", "g, h", "purpose=support"):
        assert text in shown
