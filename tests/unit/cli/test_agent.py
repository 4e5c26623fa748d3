from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import Result
from joserfc import jwt
from joserfc.jwk import KeySet
from typer.testing import CliRunner

from keystile.cli.agent import app
from keystile.cli.common import settings
from keystile.cli.store import database
from keystile.identity.agents import Agents
from keystile.identity.builtin import builtin_issuer
from keystile.identity.disabling import Disablings, Target
from keystile.identity.gateway_tokens import GatewayTokens
from keystile.model.errors import UnauthenticatedError
from keystile.model.principal import Principal

Invoke = Callable[..., Result]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "keystile.yaml"
    file.write_text("upstream: {service_account_file: key.json}\n")
    return file


@pytest.fixture
def invoke(config: Path) -> Invoke:
    def call(*arguments: str, **environment: str) -> Result:
        variables = {"KEYSTILE_CONFIG": str(config), "GOOGLE_CLOUD_PROJECT": ""} | environment
        return CliRunner().invoke(app, list(arguments), env=variables)

    return call


def test_an_agent_is_created_listed_regrouped_and_disabled(invoke: Invoke) -> None:
    assert "no agents yet" in invoke("list").stdout
    made = invoke("create", "bot", "--group", "a", "-g", "b", "--attribute", "purpose=support=x")
    assert made.exit_code == 0, made.output
    assert "agent bot is registered" in made.stdout
    assert invoke("regroup", "bot", "-g", "c").exit_code == 0
    assert invoke("disable", "bot").exit_code == 0
    assert "what it left running is being stopped" in invoke("disable", "bot").stdout
    (listed,) = json.loads(invoke("list", "--json").stdout)
    assert (listed["name"], listed["groups"]) == ("bot", ["c"])
    assert listed["attributes"] == {"purpose": "support=x"}
    assert listed["disabled_at"] > listed["created_at"] > 0
    assert "purpose=support=x" in invoke("list").stdout


def test_a_disabled_agent_is_not_enabled_while_what_it_left_is_stopped(invoke: Invoke) -> None:
    invoke("create", "bot")
    assert "nobody has disabled `bot`" in invoke("enable", "bot", "--reason", "fixed").output
    invoke("disable", "bot")
    assert "still being stopped" in invoke("enable", "bot", "--reason", "fixed").output
    assert invoke("enable", "bot").exit_code == 2


def test_an_agent_that_is_enabled_signs_in_anew(invoke: Invoke, config: Path) -> None:
    invoke("create", "bot")
    found = settings(config)
    issuer = f"{found.gateway_url}/issuer"

    async def given() -> str:
        async with database(found) as store:
            tokens = GatewayTokens(store, Agents(store), issuer, 600)
            token, _ = await tokens.issue(Principal(issuer, "bot", "bot", "s1"))
            disablings = Disablings(store)
            await disablings.close(await disablings.disable(Target("bot"), "ana", "cli"))
            return token

    async def is_taken(token: str) -> bool:
        async with database(found) as store:
            try:
                await GatewayTokens(store, Agents(store), issuer, 600).find(token)
            except UnauthenticatedError:
                return False
            return True

    token = asyncio.run(given())
    enabled = invoke("enable", "bot", "--reason", "the bug is fixed")
    assert "agent bot is enabled" in enabled.output
    assert json.loads(invoke("list", "--json").stdout)[0]["disabled_at"] is None
    assert not asyncio.run(is_taken(token))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("create", "a b"), "`a b` cannot be a name"),
        (("create", "bot", "--attribute", "purpose"), "`purpose` is not a NAME=VALUE"),
        (
            ("create", "bot", "--attribute", "a=1", "--attribute", "a=2"),
            "`a=2` is not a NAME=VALUE",
        ),
        (("create", "bot", "--expires", "soon"), "`soon` is no time"),
        (("create", "bot", "--owner", "a b"), "`a b` cannot be a name"),
        (("create", "x", "--issuer", "https://i.test"), "has an issuer and a subject"),
        (("create", "x", "--issuer", "i", "--subject", "s", "-g", "g"), "what its issuer says"),
        (("disable", "ghost"), "there is no agent `ghost`"),
        (("disable",), "not clear which agent is meant"),
        (("disable", "bot", "--issuer", "i", "--subject", "s"), "not clear which agent"),
        (("disable", "--issuer", "i"), "not clear which agent"),
        (("show", "ghost"), "there is no agent `ghost`"),
        (("regroup", "ghost"), "there is no agent `ghost`"),
        (("connect", "ghost"), "there is no agent `ghost`; make it with"),
    ],
)
def test_a_fault_is_one_clear_line(
    invoke: Invoke, arguments: tuple[str, ...], message: str
) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


def test_creating_twice_is_refused(invoke: Invoke) -> None:
    invoke("create", "bot")
    assert "there is an agent `bot` already" in invoke("create", "bot").stderr


def test_connect_prints_what_a_shell_can_evaluate(
    invoke: Invoke, tmp_path: Path, config: Path
) -> None:
    invoke("create", "bot")
    folder = tmp_path / "it's here"
    result = invoke(
        "connect", "bot", "--for", "env", "--folder", str(folder), "--project", "acme-shop"
    )
    assert result.exit_code == 0, result.output
    lines = [shlex.split(line) for line in result.stdout.splitlines()]
    assert {words[0] for words in lines} == {"export"}
    variables = dict(words[1].split("=", 1) for words in lines)
    assert variables["GOOGLE_APPLICATION_CREDENTIALS"] == str(folder / "credential.json")
    assert variables["GOOGLE_CLOUD_PROJECT"] == "acme-shop"
    assert variables["BIGQUERY_EMULATOR_HOST"] == "http://127.0.0.1:8420"
    assert "the token works until" in result.stderr
    keys = KeySet.import_key_set(builtin_issuer(settings(config)).jwks())
    token = jwt.decode((folder / "oidc.jwt").read_text(), keys, algorithms=["ES256"])
    assert token.claims["sub"] == "bot"
    assert (folder / "oidc.jwt").read_text() not in result.output


def test_each_connection_is_a_session_of_its_own(
    invoke: Invoke, tmp_path: Path, config: Path
) -> None:
    invoke("create", "bot")
    keys = KeySet.import_key_set(builtin_issuer(settings(config)).jwks())
    sessions = set()
    for _ in range(2):
        invoke("connect", "bot", "--folder", str(tmp_path / "f"))
        token = jwt.decode((tmp_path / "f" / "oidc.jwt").read_text(), keys, algorithms=["ES256"])
        sessions.add(token.claims["sid"])
    assert len(sessions) == 2


def test_a_disabled_agent_is_not_connected(invoke: Invoke, tmp_path: Path) -> None:
    invoke("create", "bot")
    invoke("disable", "bot")
    result = invoke("connect", "bot", "--folder", str(tmp_path / "f"))
    assert result.exit_code == 1
    assert "the agent `bot` is disabled" in result.stderr
    assert not (tmp_path / "f").exists()


def test_a_folder_that_cannot_be_written_is_named(invoke: Invoke, tmp_path: Path) -> None:
    invoke("create", "bot")
    (tmp_path / "f").write_text("a file")
    result = invoke("connect", "bot", "--folder", str(tmp_path / "f"))
    assert result.exit_code == 1
    assert "cannot write the agent's files" in result.stderr


def test_a_disabled_issuer_is_said(invoke: Invoke, config: Path, tmp_path: Path) -> None:
    invoke("create", "bot")
    config.write_text(
        f"{config.read_text()}identity: {{builtin_issuer: {{enabled: false}},"
        " issuers: [{issuer: x, audiences: [a]}]}"
    )
    result = invoke("connect", "bot", "--folder", str(tmp_path / "f"))
    assert result.exit_code == 1
    assert "the built-in issuer is disabled" in result.stderr


def test_what_the_command_registers_the_gateway_knows(invoke: Invoke, config: Path) -> None:
    invoke("create", "bot", "-g", "coding-agents")

    async def groups() -> tuple[str, ...]:
        async with database(settings(config)) as store:
            return (await Agents(store).active("bot")).groups

    assert asyncio.run(groups()) == ("coding-agents",)


def test_what_is_said_of_an_agent_is_shown(invoke: Invoke) -> None:
    said = ("--owner", "ana", "--purpose", "Weekly reports.", "--expires", "30d")
    assert invoke("create", "bot", "-g", "a", *said).exit_code == 0
    shown = invoke("show", "bot").stdout
    for words in ("ana", "Weekly reports.", "built-in", "running     nothing", "0 sessions"):
        assert words in shown
    (traces,) = json.loads(invoke("show", "bot", "--json").stdout)
    assert traces["state"] == "active"
    assert traces["agent"]["expires_at"] - traces["agent"]["created_at"] == pytest.approx(
        30 * 24 * 3600, abs=5
    )
    assert (traces["running"], traces["waiting"], traces["approvals"]) == ([], [], [])
    assert (traces["tokens"], traces["uploads"], traces["sessions"]) == (0, 0, 0)


def test_an_agent_of_another_issuer_is_registered_and_disabled_by_issuer_and_subject(
    invoke: Invoke,
) -> None:
    who = ("--issuer", "https://issuer.test", "--subject", "repo:acme/shop")
    assert invoke("create", "shop-ci", *who, "--owner", "ana").exit_code == 0
    assert "https://issuer.test" in invoke("list").stdout
    assert invoke("disable", *who).exit_code == 0
    (traces,) = json.loads(invoke("show", "shop-ci", "--json").stdout)
    assert (traces["state"], traces["agent"]["owner"]) == ("disabled", "ana")
    # One that never came can be kept out too.
    assert invoke("disable", *who[:3], "repo:acme/other").exit_code == 0


def test_the_built_in_issuers_agent_is_disabled_by_its_address_too(invoke: Invoke) -> None:
    invoke("create", "bot")
    who = ("--issuer", "http://127.0.0.1:8420/issuer", "--subject", "bot")
    assert invoke("disable", *who).exit_code == 0
    (listed,) = json.loads(invoke("list", "--json").stdout)
    assert listed["disabled_at"]


def test_an_agent_that_has_expired_is_not_connected(invoke: Invoke, tmp_path: Path) -> None:
    invoke("create", "bot", "--expires", "2020-01-31")
    result = invoke("connect", "bot", "--folder", str(tmp_path / "f"))
    assert "the agent `bot` has expired" in result.stderr


def test_all_tokens_of_a_name_end_whatever_issuer_they_are_of(invoke: Invoke, config: Path) -> None:
    who = ("--issuer", "https://issuer.test", "--subject", "repo:acme/shop")
    invoke("create", "bot")
    invoke("create", "bot", *who)
    invoke("create", "other")
    own = "http://127.0.0.1:8420/issuer"
    agents = ((own, "bot", "bot"), (who[1], who[3], "bot"), (own, "other", "other"))

    async def issued() -> list[str]:
        async with database(settings(config)) as store:
            tokens = GatewayTokens(store, Agents(store), own, 600)
            return [(await tokens.issue(Principal(*each, "run")))[0] for each in agents]

    async def kept(given: list[str]) -> list[str]:
        names = []
        async with database(settings(config)) as store:
            for token in given:
                with suppress(UnauthenticatedError):
                    tokens = GatewayTokens(store, Agents(store), own, 600)
                    names.append((await tokens.find(token)).principal.agent)
        return names

    given = asyncio.run(issued())
    assert asyncio.run(kept(given)) == ["bot", "bot", "other"]
    assert "that are ended: 2" in invoke("revoke", "bot").stdout
    assert asyncio.run(kept(given)) == ["other"]
    assert "there is no agent `ghost`" in invoke("revoke", "ghost").stderr
