from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert
from typer.testing import CliRunner, Result

from keystile.approvals.requests import ApprovalRequest, Approvals, Summary, TouchedColumn
from keystile.cli.approvals import app
from keystile.model.decision import ApprovalDemand
from keystile.model.principal import Principal
from keystile.model.schema import Parameter, SqlType
from keystile.store.database import Database
from keystile.store.tables import people

PRINCIPAL = Principal("https://issuer", "agent-7", "demo-agent", "s1", on_behalf_of="dana")
SUMMARY = Summary(
    sql="SELECT ssn\nFROM t -- \x1b[2J[red]\r",
    parameters=(Parameter("id", SqlType("INT64"), {"value": "7"}),),
    rewritten_sql="SELECT ssn FROM (…)",
    into="p.d.kept",
    statement="SELECT",
    reads=("p.d.t",),
    columns=(TouchedColumn("p.d.t.ssn", ("pii.ssn",), ("output",), unlocked=True),),
    bytes=2048,
    rule="raw-pii",
    reason="raw PII needs a steward",
)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "keystile.yaml"
    file.write_text("upstream: {service_account_file: key.json}\n")
    return file


def url(config: Path) -> str:
    return f"sqlite+aiosqlite:///{config.parent / 'keystile-data' / 'keystile.db'}"


def ask(config: Path, count: int = 1) -> ApprovalRequest:
    async def work() -> ApprovalRequest:
        database = Database(url(config))
        await database.open()
        async with database.begin() as connection:
            for name, group in (("ann", "stewards"), ("bob", "stewards"), ("eve", "analysts")):
                row = {"name": name, "groups": json.dumps([group]), "created_at": 0.0}
                await connection.execute(insert(people).values(row))
        request = await Approvals(database).open(
            job="j1",
            digest="d1",
            session="s1",
            principal=PRINCIPAL,
            summary=SUMMARY,
            demand=ApprovalDemand("raw-pii", ("stewards",), count, 600, ("pii.ssn",)),
            now=time.time(),
        )
        await database.close()
        return request

    return asyncio.run(work())


def call(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--config", str(config)])


def answer(config: Path, *arguments: str) -> Any:
    done = call(config, *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_nothing_waits(config: Path) -> None:
    assert call(config, "list").stdout == "nothing waits\n"
    assert answer(config, "list") == []


def test_list_and_show(config: Path) -> None:
    request = ask(config)
    (listed,) = answer(config, "list")
    assert (listed["id"], listed["state"]) == (request.id, "pending")
    assert listed["requested_at"].endswith("Z")
    text = call(config, "list").stdout
    assert request.id in text
    assert "0 of 1" in text
    shown = call(config, "show", request.id).stdout
    for part in (
        "demo-agent",
        "agent-7",
        "dana",
        "raw PII needs a steward",
        "2.0 KiB",
        "FROM t -- \\U0000001b[2J[red]\\U0000000d",
        '@id INT64 = "7"',
        "p.d.t.ssn [pii.ssn] in output: in clear",
        "SELECT ssn FROM (…)",
        "result into p.d.kept",
    ):
        assert part in shown
    assert "\x1b" not in text + shown
    assert answer(config, "show", request.id) == listed


def test_two_of_two(config: Path) -> None:
    request = ask(config, count=2)
    first = call(config, "approve", request.id, "--as", "ann", "--comment", "ok")
    assert (first.exit_code, first.stdout) == (0, f"{request.id} still needs 1 more\n")
    second = answer(config, "approve", request.id, "--as", "bob")
    assert second["state"] == "approved"
    assert [(vote["person"], vote["comment"], vote["via"]) for vote in second["votes"]] == [
        ("ann", "ok", "cli"),
        ("bob", "", "cli"),
    ]
    assert answer(config, "list") == []
    assert [one["id"] for one in answer(config, "list", "--all")] == [request.id]
    assert [one["id"] for one in answer(config, "list", "--state", "approved")] == [request.id]
    assert "ann approved at" in call(config, "show", request.id).stdout


def test_deny_needs_a_reason(config: Path) -> None:
    request = ask(config)
    assert call(config, "deny", request.id, "--as", "ann").exit_code == 2
    blank = call(config, "deny", request.id, "--as", "ann", "--comment", " ")
    assert (blank.exit_code, "needs a reason" in blank.stderr) == (1, True)
    denied = call(config, "deny", request.id, "--as", "ann", "--comment", "ask for less")
    assert denied.stdout == f"{request.id} is denied\n"
    again = call(config, "approve", request.id, "--as", "bob")
    assert (again.exit_code, "is denied already" in again.stderr) == (1, True)


@pytest.mark.parametrize(
    ("who", "words"),
    [
        ("eve", "may not decide"),
        ("nobody", "no person `nobody`"),
        ("demo-agent", "no person `demo-agent`"),
    ],
)
def test_who_may_not_decide(config: Path, who: str, words: str) -> None:
    request = ask(config)
    done = call(config, "approve", request.id, "--as", who)
    assert done.exit_code == 1
    assert words in done.stderr
    assert answer(config, "show", request.id)["votes"] == []


def test_unknown_requests_and_settings_are_one_clear_line(config: Path, tmp_path: Path) -> None:
    done = call(config, "show", "nope")
    assert done.exit_code == 1
    assert done.stderr == (
        "keystile: there is no approval request `nope`; list them to see their ids\n"
    )
    missing = CliRunner().invoke(app, ["list", "--config", str(tmp_path / "none.yaml")])
    assert missing.exit_code == 1
    assert "cannot read the configuration" in missing.stderr
