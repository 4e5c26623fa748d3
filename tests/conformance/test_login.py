"""A person signs in at the certified issuer `oidc-provider`, and an agent acts for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml
from prove.clients.environments import AbsentError
from prove.identity.issuer import Client, Issuer, oidc_provider
from tests.support.stack import PROJECT, ROOT, Stack, standing

AUDIENCE = "https://bigquery-gateway.example.com"
PERSON = "sample-person"
PROGRAM = """
from google.cloud import bigquery
sql = "SELECT COUNT(*) > 0 FROM shop.customers"
print([tuple(row) for row in bigquery.Client().query_and_wait(sql)])
"""


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Issuer]]:
    """A gateway that trusts an issuer, whose people lend `reader` their identity."""
    stack = Stack(tmp_path_factory.mktemp("stack"))
    may_act = {"sub": "reader", "iss": f"{stack.url}/issuer"}
    clients = {
        "laptop": Client(may_act=may_act),
        "hurried": Client(lifetime=62, may_act=may_act),
        "nightly": Client("not a secret", ("coding-agents",)),
    }
    try:
        with oidc_provider(clients) as running:
            document = yaml.safe_load(stack.config.read_text())
            trusted = {"issuer": running.url, "audiences": [AUDIENCE], "actor_issuers": ["builtin"]}
            stack.config.write_text(yaml.safe_dump(document | {"identity": {"issuers": [trusted]}}))
            with standing(stack):
                yield stack, running
    except AbsentError as error:
        pytest.skip(str(error))


def _keystile(stack: Stack, home: Path, *words: str) -> subprocess.Popen[str]:
    runtime = home / "runtime"
    runtime.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {
        "XDG_CONFIG_HOME": str(home),
        "XDG_RUNTIME_DIR": str(runtime),
        "KEYSTILE_CONFIG": str(stack.config),
        "NO_COLOR": "1",
        "PYTHONUNBUFFERED": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "keystile", *words],
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def _signed_in(stack: Stack, issuer: Issuer, home: Path, client: str = "laptop") -> str:
    """Sign in as a person does: start the command, open its link, agree."""
    who = ("--issuer", issuer.url, "--client-id", client, "--audience", AUDIENCE)
    login = _keystile(stack, home, "login", *who, "--scope", "openid offline_access bigquery")
    assert login.stdout
    link = login.stdout.readline().removeprefix("open ").strip()
    assert link.startswith(issuer.url), link
    issuer.sign_in(link, PERSON)
    stdout, stderr = login.communicate(timeout=60)
    assert login.returncode == 0, stderr
    return stdout


def _ran(stack: Stack, home: Path, *options: str) -> tuple[int, str, str]:
    program = ("--project", PROJECT, *options, "--", sys.executable, "-c", PROGRAM)
    run = _keystile(stack, home, "run", *program)
    stdout, stderr = run.communicate(timeout=120)
    assert list((home / "runtime").iterdir()) == []
    return run.returncode, stdout, stderr


def _for_whom(stack: Stack) -> list[str]:
    """Give on whose behalf each session is, by the recordings."""
    return [step.on_behalf_of for session in stack.sessions() for step in stack.steps(session)]


def test_an_agent_acts_for_who_has_signed_in(issuer: tuple[Stack, Issuer], tmp_path: Path) -> None:
    stack, provider = issuer
    assert f"signed in as {PERSON}" in _signed_in(stack, provider, tmp_path)
    (kept,) = (tmp_path / "keystile" / "people").glob("*.json")
    assert kept.stat().st_mode & 0o777 == 0o600
    code, stdout, stderr = _ran(stack, tmp_path, "--agent", "reader")
    assert (code, stdout) == (0, "[(True,)]\n"), stderr
    assert f"reader acts for {PERSON}" in stderr
    assert _for_whom(stack).count(PERSON) == 1
    code, stdout, stderr = _ran(stack, tmp_path, "--agent", "reader", "--alone")
    assert (code, stdout, "acts for" in stderr) == (0, "[(True,)]\n", False)
    assert _for_whom(stack).count(PERSON) == 1
    refresh_token = json.loads(kept.read_text())["tokens"]["refresh_token"]
    logout = _keystile(stack, tmp_path, "logout")
    said = f"signed out, and {provider.url} has ended what it gave\n"
    assert logout.communicate(timeout=60) == (said, "")
    form = {"grant_type": "refresh_token", "client_id": "laptop", "refresh_token": refresh_token}
    refused = requests.post(f"{provider.url}/token", data=form, timeout=30)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    assert list((tmp_path / "keystile" / "people").glob("*.json")) == []


def test_an_agent_whom_the_persons_token_does_not_name_does_not_act_for_them(
    issuer: tuple[Stack, Issuer], tmp_path: Path
) -> None:
    stack, provider = issuer
    _signed_in(stack, provider, tmp_path)
    code, stdout, stderr = _ran(stack, tmp_path, "--agent", "support")
    assert (code, stdout) == (1, "")
    assert "does not name the actor" in stderr


def test_the_persons_token_is_refreshed(issuer: tuple[Stack, Issuer], tmp_path: Path) -> None:
    stack, provider = issuer
    _signed_in(stack, provider, tmp_path, "hurried")
    (kept,) = (tmp_path / "keystile" / "people").glob("*.json")
    before = json.loads(kept.read_text())["tokens"]
    # By now a token of 62 seconds has less than the minute that one must still have.
    code, stdout, stderr = _ran(stack, tmp_path, "--agent", "reader")
    assert (code, stdout) == (0, "[(True,)]\n"), stderr
    after = json.loads(kept.read_text())["tokens"]
    assert before["access_token"] != after["access_token"]


def test_tokens_for_another_service_are_not_kept(
    issuer: tuple[Stack, Issuer], tmp_path: Path
) -> None:
    stack, provider = issuer
    who = ("--issuer", provider.url, "--client-id", "laptop", "--audience", "elsewhere")
    login = _keystile(stack, tmp_path, "login", *who)
    assert login.stdout
    provider.sign_in(login.stdout.readline().removeprefix("open ").strip(), PERSON)
    _, stderr = login.communicate(timeout=60)
    assert login.returncode == 1
    assert "no token of the issuer is for `elsewhere`" in stderr
    assert not list((tmp_path / "keystile" / "people").glob("*.json"))


def test_an_issuers_own_agent_runs_without_the_gateways_configuration(
    issuer: tuple[Stack, Issuer], tmp_path: Path
) -> None:
    stack, provider = issuer
    file = tmp_path / "token"
    file.write_text(provider.token("nightly", AUDIENCE))
    where = ("--gateway", stack.url, "--token-file", str(file))
    code, stdout, stderr = _ran(stack, tmp_path, "--agent", "nightly", *where)
    assert (code, stdout, stderr) == (0, "[(True,)]\n", "")
    (known,) = stack.json("agent", "show", "nightly")
    assert (known["agent"]["issuer"], known["state"]) == (provider.url, "active")
    assert stack.run("agent", "disable", "nightly").returncode == 0
    code, _, stderr = _ran(stack, tmp_path, "--agent", "nightly", *where)
    assert (code, "the agent `nightly` is disabled" in stderr) == (1, True)
