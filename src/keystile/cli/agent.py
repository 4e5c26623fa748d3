"""`keystile agent`: the built-in issuer's agents, and how their clients connect."""

from __future__ import annotations

import getpass
import shlex
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import typer

from keystile.cli.common import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    database,
    err,
    reports_errors,
    run,
    settings,
)
from keystile.cli.terminal import moment, say, say_json, show, table, visible
from keystile.config.settings import Settings
from keystile.identity.agents import Agent, Agents
from keystile.identity.connection import Connection
from keystile.identity.wiring import builtin_issuer
from keystile.model.errors import InvalidRequestError

app = typer.Typer(help="Make agents, and connect their clients.", no_args_is_help=True)

AgentArgument = Annotated[str, typer.Argument(help="The agent's name.")]
GroupOption = Annotated[
    list[str] | None, typer.Option("--group", "-g", help="A group that it is in; repeatable.")
]
ProjectOption = Annotated[
    str,
    typer.Option(
        envvar="GOOGLE_CLOUD_PROJECT",
        help="The Google Cloud project of its queries, if the client names none.",
    ),
]


class Target(StrEnum):
    """What `connect` writes for."""

    ENV = "env"


@app.command("create", epilog="Example: keystile agent create demo-agent --group coding-agents")
@reports_errors
def create(
    name: AgentArgument,
    group: GroupOption = None,
    attribute: Annotated[
        list[str] | None,
        typer.Option("--attribute", metavar="NAME=VALUE", help="What rules may ask; repeatable."),
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Register an agent."""
    found = settings(config)
    builtin_issuer(found)
    attributes = _attributes(attribute or [])
    run(_create(found, name, group or [], attributes))
    say(f"agent {name} is registered; next: keystile agent connect {name} --for env")


@app.command("list", epilog="Example: keystile agent list --json")
@reports_errors
def list_agents(config: ConfigOption = DEFAULT_CONFIG, *, json: JsonOption = False) -> None:
    """List all agents."""
    agents = run(_list(settings(config)))
    if json:
        say_json(list(agents))
        return
    if not agents:
        say("no agents yet; make one with keystile agent create NAME")
        return
    rows = table("NAME", "GROUPS", "ATTRIBUTES", "CREATED", "BY", "DISABLED")
    for agent in agents:
        rows.add_row(
            agent.name,
            ", ".join(agent.groups) or "-",
            visible(", ".join(f"{key}={value}" for key, value in agent.attributes.items())) or "-",
            moment(agent.created_at),
            visible(agent.created_by),
            moment(agent.disabled_at),
        )
    show(rows)


@app.command("disable", epilog="Example: keystile agent disable demo-agent")
@reports_errors
def disable(name: AgentArgument, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Keep an agent out, within seconds and for good; its name stays taken."""
    run(_disable(settings(config), name))
    say(f"agent {name} is disabled")


@app.command("regroup", epilog="Example: keystile agent regroup demo-agent --group analytics")
@reports_errors
def regroup(
    name: AgentArgument, group: GroupOption = None, config: ConfigOption = DEFAULT_CONFIG
) -> None:
    """Put an agent into exactly these groups, within seconds."""
    run(_regroup(settings(config), name, group or []))
    say(f"agent {name} is in {', '.join(group or []) or 'no group'}")


@app.command(
    "connect", epilog='Example: eval "$(keystile agent connect demo-agent --project acme-shop)"'
)
@reports_errors
def connect(
    name: AgentArgument,
    target: Annotated[Target, typer.Option("--for", help="What to write for.")] = Target.ENV,
    folder: Annotated[
        Path | None, typer.Option(help="Where to write the agent's two private files.")
    ] = None,
    project: ProjectOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Write a credential file, and print the environment that any BigQuery client needs.

    Its token is short-lived: `keystile run` keeps one fresh for as long as a command runs.
    """
    del target  # it has one value so far, which shells read
    found = settings(config)
    place = folder or Path(typer.get_app_dir("keystile")) / "agents" / name
    connection = connection_to(found, place.absolute())
    issuer = builtin_issuer(found)
    run(require_active(found, name))
    try:
        connection.write(issuer.mint(name, uuid4().hex))
    except OSError as error:
        message = f"cannot write the agent's files in `{place}`: {error.strerror}"
        raise InvalidRequestError(message, hint="give another place with --folder") from error
    for variable, value in connection.environment(project).items():
        typer.echo(f"export {variable}={shlex.quote(value)}")
    until = moment(time.time() + issuer.lifetime)
    err.print(f"the token works until {until}; run this again, or use: keystile run", style="dim")
    if not project:
        err.print("no --project given, so the client must name one itself", style="dim")


async def require_active(settings: Settings, name: str) -> Agent:
    """Give an agent that may sign in. Raises `NotFoundError`, or `RefusedError` if disabled."""
    async with database(settings) as store:
        return await Agents(store).active(name)


def connection_to(settings: Settings, folder: Path) -> Connection:
    """Say how clients reach this gateway through files in `folder`."""
    return Connection(folder, settings.gateway_url, settings.identity.audience)


async def _create(
    settings: Settings, name: str, groups: list[str], attributes: dict[str, str]
) -> None:
    async with database(settings) as store:
        await Agents(store).create(name, groups, attributes, getpass.getuser())


async def _list(settings: Settings) -> tuple[Agent, ...]:
    async with database(settings) as store:
        return await Agents(store).list()


async def _disable(settings: Settings, name: str) -> None:
    async with database(settings) as store:
        await Agents(store).disable(name)


async def _regroup(settings: Settings, name: str, groups: list[str]) -> None:
    async with database(settings) as store:
        await Agents(store).regroup(name, groups)


def _attributes(given: list[str]) -> dict[str, str]:
    attributes = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or name in attributes:
            message = f"`{visible(pair)}` is not a NAME=VALUE of its own"
            raise InvalidRequestError(message)
        attributes[name] = value
    return attributes
