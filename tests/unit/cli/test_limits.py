from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from keystile.cli import app
from keystile.gate.ledger import reserve
from keystile.model.decision import Limits
from keystile.policy.budget import Charge
from keystile.store.database import Database

OWN = "http://127.0.0.1:8420/issuer|bot"


@pytest.fixture
def config(tmp_path: Path) -> str:
    file = tmp_path / "keystile.yaml"
    file.write_text(json.dumps({"upstream": {"service_account_file": "key.json"}}))
    for name in ("bot", "other"):
        made = CliRunner().invoke(
            app, ["agent", "create", name, "--group", "g", "--config", str(file)]
        )
        assert made.exit_code == 0, made.output
    return str(file)


def spend(config: str, *limits: Limits) -> None:
    async def spent() -> None:
        store = Database(f"sqlite+aiosqlite:///{Path(config).parent}/keystile-data/keystile.db")
        await store.open()
        async with store.begin() as connection:
            await reserve(connection, "j", limits, Charge(5 * 10**11, 5 * 10**11))
        await store.close()

    asyncio.run(spent())


def shown(config: str, *words: str) -> str:
    done = CliRunner().invoke(app, ["limits", *words, "--config", config])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_what_is_used_and_left_is_listed(config: str) -> None:
    assert "no query was let in under a limit yet" in shown(config)
    spend(
        config,
        Limits("cost", "agent", OWN, bytes_per_day=2 * 10**12, rows_per_query=7),
        Limits("shared", "group", "g", concurrent_queries=3),
        Limits("elsewhere", "group", "h", concurrent_queries=3),
    )
    text = shown(config)
    for words in ("bytes_per_day", "2 TB", "500 GB", "1.5 TB", "T00:00:00Z", f"agent {OWN}"):
        assert words in text
    [elsewhere] = [one for one in json.loads(shown(config, "--json")) if one["holder"] == "h"]
    assert elsewhere["concurrent_queries"] == {"limit": 3, "used": 1, "left": 2}


def test_an_agents_own_budgets_and_those_of_its_groups_are_picked(config: str) -> None:
    spend(
        config,
        Limits("cost", "agent", OWN, rows_per_query=7),
        Limits("shared", "group", "g", rows_per_query=7),
        Limits("elsewhere", "group", "h", rows_per_query=7),
    )
    picked = {
        name: [one["rule"] for one in json.loads(shown(config, "--agent", name, "--json"))]
        for name in ("bot", "other")
    }
    assert picked == {"bot": ["cost", "shared"], "other": ["shared"]}
    done = CliRunner().invoke(app, ["limits", "--agent", "ghost", "--config", config])
    assert (done.exit_code, "there is no agent `ghost`" in done.output) == (1, True)
