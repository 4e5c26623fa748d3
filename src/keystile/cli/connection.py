"""`keystile connection`: the gateway's identities at BigQuery, and their keys."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer

from keystile.cli.common import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    reports_errors,
    run,
    settings,
)
from keystile.cli.connection_history import history
from keystile.cli.store import database
from keystile.cli.terminal import moment, say, say_json, show, table, visible
from keystile.config.policy_folder import read_policy
from keystile.config.settings import Settings
from keystile.config.upstream import Connection
from keystile.gate.connection_uses import uses_of
from keystile.gate.policy_versions import PolicyVersions
from keystile.model.errors import InvalidRequestError
from keystile.store.database import Database
from keystile.telemetry import logs
from keystile.tls.from_settings import secrets_of
from keystile.upstream.connections import Connections
from keystile.upstream.desk import Desk, Tried
from keystile.upstream.listing import Listed

app = typer.Typer(help="Manage the gateway's identities at BigQuery.", no_args_is_help=True)

app.command("history", epilog="Example: keystile connection history --json")(
    reports_errors(history)
)

NameArgument = Annotated[str, typer.Argument(help="The connection's name.")]
KeyOption = Annotated[
    Path | None, typer.Option(help="A service-account key file; it is copied to the data folder.")
]
_DAY = 86400


@app.command("add", epilog="Example: keystile connection add reports --key-file key.json")
@reports_errors
def add(  # noqa: PLR0913 - one for each option
    name: NameArgument,
    key_file: KeyOption = None,
    external_account_file: Annotated[
        Path | None, typer.Option(help="A credential file of workload identity federation.")
    ] = None,
    impersonate: Annotated[
        str, typer.Option(help="E-mail of a service account to use by way of it.")
    ] = "",
    config: ConfigOption = DEFAULT_CONFIG,
    *,
    metadata_server: Annotated[
        bool, typer.Option("--metadata-server", help="The account attached to the machine.")
    ] = False,
    application_default: Annotated[
        bool,
        typer.Option("--application-default", help="What Google's own libraries would find there."),
    ] = False,
) -> None:
    """Add a connection; every gateway on this store has it within seconds."""
    files = key_file is not None, external_account_file is not None
    if sum((*files, metadata_server, application_default)) != 1:
        raise InvalidRequestError(
            "what the connection is has to be said once",
            hint="give one of --key-file, --metadata-server, --external-account-file and"
            " --application-default",
        )
    made = Connection(
        metadata_server=metadata_server,
        external_account_file=str(external_account_file or ""),
        application_default=application_default,
        impersonate=impersonate,
    )
    account = run(_add(settings(config), name, made, key_file))
    who = f" as {visible(account)}" if account else ""
    say(f"connection {name} is added{who}; next: keystile connection test {name}")


@app.command("list", epilog="Example: keystile connection list --json")
@reports_errors
def list_connections(config: ConfigOption = DEFAULT_CONFIG, *, json: JsonOption = False) -> None:
    """List connections with their accounts and keys, and never a secret."""
    listed = run(_list(settings(config)))
    if json:
        say_json(list(listed))
        return
    if not listed:
        say("no connections yet; add one with keystile connection add NAME")
        return
    rows, now = table("NAME", "KIND", "ACCOUNT", "KEY", "STATE", "SINCE", "AGE"), time.time()
    for one in listed:
        age = "-" if one.added_at is None else f"{(now - one.added_at) / _DAY:.0f} days"
        account = visible(one.account) or "-"
        at = moment(one.added_at)
        rows.add_row(one.connection, one.kind, account, one.key or "-", one.state or "-", at, age)
    show(rows)


@app.command("test", epilog="Example: keystile connection test reports --project acme-shop")
@reports_errors
def try_connection(
    name: NameArgument,
    project: Annotated[
        str, typer.Option(help="See too whether it may run jobs in this project.")
    ] = "",
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Make a real call with each key, and say what is wrong."""
    found, tried = run(_test(settings(config), name, project))
    if found:
        say(f"application default credentials: {visible(found)}")
    for one in tried:
        what = f"{one.account or name}{f' by key {one.key}' if one.key else ''}"
        say(f"{visible(what)}: {one.problem or 'BigQuery answers'}")
    if any(one.problem for one in tried):
        raise typer.Exit(1)


@app.command("rotate", epilog="Example: keystile connection rotate reports --key-file new.json")
@reports_errors
def rotate(
    name: NameArgument, key_file: KeyOption = None, config: ConfigOption = DEFAULT_CONFIG
) -> None:
    """Let a new key sign once Google takes it; the one before it can still be fallen back on."""
    key = run(_rotate(settings(config), name, key_file))
    say(f"key {key} signs for {name}; delete the one before it at Google once it is not listed")


@app.command("remove", epilog="Example: keystile connection remove reports")
@reports_errors
def remove(name: NameArgument, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Take a connection away that a command added, with its keys, once nothing needs it."""
    run(_remove(settings(config), name))
    say(f"connection {name} is removed; delete its keys at Google if nothing else has them")


async def _add(found: Settings, name: str, made: Connection, key_file: Path | None) -> str:
    async with _desk(found) as desk:
        return await desk.add(name, made, key_file)


async def _list(found: Settings) -> tuple[Listed, ...]:
    async with _desk(found) as desk:
        return await desk.list()


async def _test(found: Settings, name: str, project: str) -> tuple[str, tuple[Tried, ...]]:
    async with _desk(found) as desk:
        tried = await desk.test(name, project)
        return desk.found(name), tried


async def _rotate(found: Settings, name: str, key_file: Path | None) -> str:
    async with _desk(found) as desk:
        return await desk.rotate(name, key_file)


async def _remove(found: Settings, name: str) -> None:
    async with database(found) as store, _desk_on(found, store) as desk:
        versions = PolicyVersions(store)
        newest = await versions.newest()
        folder = found.path(found.policy)
        policy = await versions.files(newest) if newest else read_policy(folder)
        await desk.remove(name, await uses_of(name, policy, store))


@asynccontextmanager
async def _desk(found: Settings) -> AsyncIterator[Desk]:
    async with database(found) as store, _desk_on(found, store) as desk:
        yield desk


@asynccontextmanager
async def _desk_on(found: Settings, store: Database) -> AsyncIterator[Desk]:
    secrets = secrets_of(found)
    # What a gateway would log is no part of what the command prints.
    logs.configure()
    connections = Connections(found, store, secrets)
    try:
        await connections.load()
        yield Desk(found, store, connections)
    finally:
        await connections.close()
        await secrets.close()
