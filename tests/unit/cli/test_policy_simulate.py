from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from bench.recorded_days import Recordings
from demo.stack import POLICY
from prove.agent_queries import AgentQueries
from prove.simulation import DRAFTS
from typer.testing import CliRunner, Result

from keystile.cli import app
from keystile.config.policy_folder import read_policy

QUERIES = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gateway's files without a credential, with recordings and two policies to try."""
    folder = tmp_path_factory.mktemp("gateway")
    since = time.time() - 3 * QUERIES
    written = Recordings(folder / "recordings", since).write(QUERIES, AgentQueries("t", 20))
    asyncio.run(written)
    for name, more in {"same": "", "draft": DRAFTS["stricter"]}.items():
        (folder / name).mkdir()
        for file, text in read_policy(POLICY).items():
            (folder / name / file).write_text(text)
        (folder / name / "more.yaml").write_text(more or "rules: []")
    upstream = {"endpoint": "http://127.0.0.1:9", "service_account_file": "none.json"}
    settings = {"upstream": upstream, "policy": str(folder / "same")}
    (folder / "keystile.yaml").write_text(json.dumps(settings))
    return folder


def simulate(folder: Path, draft: str, *options: str) -> Result:
    given = ["policy", "simulate", str(folder / draft), "--config", str(folder / "keystile.yaml")]
    return CliRunner().invoke(app, [*given, *options])


def test_what_would_change_is_summed_up_and_listed_without_values(folder: Path) -> None:
    result = simulate(folder, "draft")
    assert result.exit_code == 3, result.output
    last = result.stdout.rstrip().splitlines()[-1]
    assert " would change: " in last
    assert "newly masked" in last
    assert "newly masked: " in result.stdout
    assert "masked: acme-shop.shop.orders.customer_id as pii.customer: keyed_hash" in result.stdout
    assert "BigQuery could not be asked" in result.stdout


def test_json_says_the_same_with_every_part(folder: Path) -> None:
    result = simulate(folder, "draft", "--json", "--limit", "2")
    found = json.loads(result.stdout)
    assert found["queries"] == QUERIES
    assert found["changed"] == sum(found["kinds"].values()) > found["listed"] == 2
    assert found["schemas_changed"] is None
    listed = [query for group in found["groups"] for query in group["queries"]]
    assert [{*one} for one in listed] == [{"at", "session", "query", "sql", "others"}] * 2


def test_the_same_policy_changes_nothing_and_says_so(folder: Path) -> None:
    result = simulate(folder, "same", "--agent", "report-bot")
    assert (result.exit_code, "nothing would change" in result.stdout) == (0, True), result.output


def test_other_times_have_other_queries(folder: Path) -> None:
    result = simulate(folder, "draft", "--since", "9d", "--until", "8d")
    assert result.exit_code == 0
    assert "0 recorded queries" in result.stdout


def test_a_draft_that_is_no_policy_is_told_with_its_line(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("rules:\n- {name: a, alow: [read]}\n")
    result = simulate(tmp_path, ".", "--config", str(folder / "keystile.yaml"))
    assert result.exit_code == 1
    assert "wrong.yaml" in result.stderr
