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

from keystile.cli.agent_traces import show_traces, traces_of
from keystile.cli.common import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    err,
    reports_errors,
    run,
    settings,
)
from keystile.cli.connecting import (
    AudienceOption,
    GatewayOption,
    ProjectOption,
    TokenCommandOption,
    TokenFieldOption,
    TokenFileOption,
    TokenHeaderOption,
    TokenUrlOption,
    require_known,
    source_of,
    way_of,
)
from keystile.cli.store import database
from keystile.cli.terminal import coming, moment, say, say_json, show, table, visible
from keystile.config.settings import Settings
from keystile.identity.agents import OWN, Agent, AgentId, Agents, Facts
from keystile.identity.builtin import builtin_issuer, issuer_url
from keystile.identity.disabling import Disablings, Target
from keystile.identity.enabling import Enabling
from keystile.identity.gateway_tokens import GatewayTokens
from keystile.model.errors import InvalidRequestError, NotFoundError

app = typer.Typer(help="Make agents, and connect their clients.", no_args_is_help=True)

AgentArgument = Annotated[str, typer.Argument(help="The agent's name.")]
GroupOption = Annotated[
    list[str] | None, typer.Option("--group", "-g", help="A group that it is in; repeatable.")
]
IssuerOption = Annotated[str, typer.Option(help="The `iss` of its tokens.", metavar="URL")]
SubjectOption = Annotated[str, typer.Option(help="Its `google.subject` by the issuer's mapping.")]


class Reader(StrEnum):
    """What `connect` writes for."""

    ENV = "env"


@app.command("create", epilog="Example: keystile agent create demo-agent --group coding-agents")
@reports_errors
def create(  # noqa: PLR0913, PLR0917 - what can be said of an agent
    name: AgentArgument,
    group: GroupOption = None,
    attribute: Annotated[
        list[str] | None,
        typer.Option("--attribute", metavar="NAME=VALUE", help="What rules may ask; repeatable."),
    ] = None,
    owner: Annotated[str, typer.Option(help="The person who answers for it.")] = "",
    purpose: Annotated[str, typer.Option(help="What it is for, in a sentence.")] = "",
    expires: Annotated[
        str, typer.Option(help="When it ends: a time such as `2027-01-31`, or `30d` from now.")
    ] = "",
    issuer: IssuerOption = "",
    subject: SubjectOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Register an agent.

    With `--issuer` and `--subject` it is one that another issuer vouches for: its groups and
    attributes are its tokens', and what is given here is written to what is known of it.
    """
    found = settings(config)
    facts = Facts(owner, purpose, coming(expires, time.time()) if expires else None)
    attributes = _attributes(attribute or [])
    if issuer or subject:
        if group or attributes:
            raise InvalidRequestError(
                "groups and attributes of this agent are what its issuer says",
                hint="map them in `attribute_mapping` of the issuer",
            )
        run(_register(found, AgentId(issuer, subject), name, facts))
        say(f"agent {name} is registered")
        return
    builtin_issuer(found)
    run(_create(found, name, group or [], attributes, facts))
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
    rows = table("NAME", "STATE", "ISSUER", "OWNER", "GROUPS", "ATTRIBUTES", "LAST SEEN", "EXPIRES")
    for agent in agents:
        rows.add_row(
            visible(agent.name),
            agent.state(time.time()),
            visible(agent.issuer) or "built-in",
            visible(agent.owner) or "-",
            visible(", ".join(agent.groups)) or "-",
            visible(", ".join(f"{key}={value}" for key, value in agent.attributes.items())) or "-",
            moment(agent.last_seen),
            moment(agent.expires_at),
        )
    show(rows)


@app.command("show", epilog="Example: keystile agent show demo-agent")
@reports_errors
def show_agent(
    name: AgentArgument, config: ConfigOption = DEFAULT_CONFIG, *, json: JsonOption = False
) -> None:
    """Show what is known of every agent of a name, and what it has left."""
    found = run(traces_of(settings(config), name))
    if json:
        say_json(found)
        return
    for traces in found:
        show_traces(traces)


@app.command("disable", epilog="Example: keystile agent disable demo-agent")
@reports_errors
def disable(
    name: Annotated[str, typer.Argument(help="All agents that are called so.")] = "",
    issuer: IssuerOption = "",
    subject: SubjectOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Keep an agent out, within seconds, and stop what it has running.

    By name, or one alone by `--issuer` and `--subject`, even before it comes for the first time.
    """
    found = settings(config)
    run(_disable(found, _target(found, name, issuer, subject)))
    say(f"agent {visible(name or subject)} is disabled; what it left running is being stopped")


@app.command("enable", epilog='Example: keystile agent enable demo-agent --reason "bug is fixed"')
@reports_errors
def enable(
    reason: Annotated[str, typer.Option(help="Why it may come back; it goes on record.")],
    name: Annotated[str, typer.Argument(help="All agents that are called so.")] = "",
    issuer: IssuerOption = "",
    subject: SubjectOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Let an agent in again that was disabled, by the same words: its name, or issuer and subject.

    Its gateway tokens of before are ended; it signs in anew.
    """
    found = settings(config)
    run(_enable(found, _target(found, name, issuer, subject), reason))
    say(f"agent {visible(name or subject)} is enabled")


@app.command("revoke", epilog="Example: keystile agent revoke demo-agent")
@reports_errors
def revoke(name: AgentArgument, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """End all gateway tokens of every agent of a name, within seconds.

    It may sign in again: to keep it out, disable it.
    """
    ended = run(_revoke(settings(config), name))
    say(f"gateway tokens of {visible(name)} that are ended: {ended}")


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
def connect(  # noqa: PLR0913, PLR0917 - each place that a token may come from
    name: AgentArgument,
    target: Annotated[Reader, typer.Option("--for", help="What to write for.")] = Reader.ENV,
    folder: Annotated[
        Path | None, typer.Option(help="Where to write the agent's private files.")
    ] = None,
    project: ProjectOption = "",
    gateway: GatewayOption = "",
    audience: AudienceOption = "",
    token_file: TokenFileOption = None,
    token_url: TokenUrlOption = "",
    token_header: TokenHeaderOption = None,
    token_command: TokenCommandOption = "",
    token_field: TokenFieldOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Write a credential file, and print the environment that any BigQuery client needs.

    The built-in issuer's token is short-lived: `keystile run` keeps one fresh for as long as a
    command runs. That of another issuer is read from where the options say, whenever it is needed.
    """
    del target  # it has one value so far, which shells read
    source = source_of(token_file, token_url, token_header, token_command, token_field)
    way = way_of(config, gateway, audience, source)
    place = folder or Path(typer.get_app_dir("keystile")) / "agents" / name
    connection = way.connection(place.absolute())
    run(require_known(config, way, name))
    try:
        connection.write(way.issuer.mint(name, uuid4().hex) if way.issuer else "")
    except OSError as error:
        message = f"cannot write the agent's files in `{place}`: {error.strerror}"
        raise InvalidRequestError(message, hint="give another place with --folder") from error
    for variable, value in connection.environment(project).items():
        typer.echo(f"export {variable}={shlex.quote(value)}")
    if way.issuer:
        until = moment(time.time() + way.issuer.lifetime)
        err.print(f"the token works until {until}; run this again, or: keystile run", style="dim")
    if not project:
        err.print("no --project given, so the client must name one itself", style="dim")


async def _create(
    settings: Settings, name: str, groups: list[str], attributes: dict[str, str], facts: Facts
) -> None:
    async with database(settings) as store:
        await Agents(store).create(name, groups, attributes, getpass.getuser(), facts)


async def _register(settings: Settings, id_: AgentId, name: str, facts: Facts) -> None:
    async with database(settings) as store:
        await Agents(store).register(id_, name, getpass.getuser(), facts)


async def _list(settings: Settings) -> tuple[Agent, ...]:
    async with database(settings) as store:
        return await Agents(store).list()


async def _disable(settings: Settings, target: Target) -> None:
    async with database(settings) as store:
        if target.name and not await Agents(store).named(target.name):
            raise NotFoundError(
                f"there is no agent `{visible(target.name)}`",
                hint="see `keystile agent list`; one that never came needs --issuer and --subject",
            )
        await Disablings(store).disable(target, getpass.getuser(), "cli")


async def _enable(settings: Settings, target: Target, reason: str) -> None:
    async with database(settings) as store:
        agents, own = Agents(store), issuer_url(settings)
        tokens = GatewayTokens(store, agents, own, settings.identity.token_lifetime)
        enabling = Enabling(agents, Disablings(store), tokens, own)
        await enabling.enable(target, getpass.getuser(), reason, "cli")


def _target(settings: Settings, name: str, issuer: str, subject: str) -> Target:
    if bool(name) == bool(issuer or subject) or bool(issuer) != bool(subject):
        raise InvalidRequestError(
            "it is not clear which agent is meant", hint="give a name, or --issuer and --subject"
        )
    return Target(name, OWN if issuer == issuer_url(settings) else issuer, subject)


async def _revoke(settings: Settings, name: str) -> int:
    async with database(settings) as store:
        agents, own = Agents(store), issuer_url(settings)
        found = await agents.named(name)
        if not found:
            raise NotFoundError(
                f"there is no agent `{visible(name)}`", hint="see `keystile agent list`"
            )
        tokens = GatewayTokens(store, agents, own, settings.identity.token_lifetime)
        ended = [await tokens.revoke_all(each.issuer or own, each.subject) for each in found]
        return sum(ended)


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
