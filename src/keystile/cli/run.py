"""`keystile run`: run any command as an agent, connected for as long as it runs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import typer

from keystile.cli.common import DEFAULT_CONFIG, ConfigOption, err, reports_errors, run
from keystile.cli.connecting import (
    AudienceOption,
    GatewayOption,
    ProjectOption,
    TokenCommandOption,
    TokenFieldOption,
    TokenFileOption,
    TokenHeaderOption,
    TokenUrlOption,
    Way,
    logins,
    require_known,
    source_of,
    way_of,
)
from keystile.cli.lending import Lending
from keystile.cli.private import private_folder
from keystile.cli.terminal import visible
from keystile.identity.connection import Connection
from keystile.identity.login import Login

app = typer.Typer(add_completion=False)

# What the shell answers when a command is not found, or cannot be executed.
_NOT_FOUND = 127
_NOT_EXECUTABLE = 126
# What the shell adds to a signal's number when it ended the command.
_SIGNALLED = 128
_FORWARDED = (
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
# A terminal sends these to the whole foreground group, so the command has them already.
_FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
# Another's would lead Google's clients away: they put it before BIGQUERY_EMULATOR_HOST.
_OVERRIDES = "GOOGLE_CLOUD_UNIVERSE_DOMAIN"


@app.command(
    "run",
    context_settings={"allow_interspersed_args": False},
    epilog="Example: keystile run --agent demo-agent --project acme-shop -- python report.py",
)
@reports_errors
def run_command(  # noqa: PLR0913, PLR0917 - each place that a token may come from
    command: Annotated[list[str], typer.Argument(help="The command and its arguments.")],
    agent: Annotated[str, typer.Option(help="The agent that it runs as.")],
    project: ProjectOption = "",
    gateway: GatewayOption = "",
    audience: AudienceOption = "",
    token_file: TokenFileOption = None,
    token_url: TokenUrlOption = "",
    token_header: TokenHeaderOption = None,
    token_command: TokenCommandOption = "",
    token_field: TokenFieldOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    *,
    alone: Annotated[
        bool, typer.Option("--alone", help="For itself, though a person has signed in.")
    ] = False,
) -> None:
    """Run a command as an agent.

    Its BigQuery clients find the gateway and a fresh token of their own through the environment;
    nothing is left behind. Signals and the exit code pass through. The token is the built-in
    issuer's, or that of another issuer from where the options say. Where a person has signed in
    with `keystile login`, the agent acts for them.
    """
    source = source_of(token_file, token_url, token_header, token_command, token_field)
    way = way_of(config, gateway, audience, source, lent=not alone)
    run(require_known(config, way, agent))
    lent = None if alone else logins().find(way.gateway)
    raise typer.Exit(run(_run(way, agent, project, command, lent)))


async def _run(way: Way, agent: str, project: str, command: list[str], lent: Login | None) -> int:
    # A signal from here on is the command's, so that the folder is always cleared away.
    child = _Child()
    with private_folder() as folder:
        connected = _lent(way, agent, folder, lent) if lent else _own(way, agent, folder)
        async with connected as connection:
            environment = {k: v for k, v in os.environ.items() if k != _OVERRIDES}
            return await child.run(command, environment | connection.environment(project))


@asynccontextmanager
async def _own(way: Way, agent: str, folder: Path) -> AsyncIterator[Connection]:
    """Connect the agent by its own token, and keep that fresh where it is ours to make."""
    connection, issuer = way.connection(folder), way.issuer
    if issuer is None:
        connection.write()
        yield connection
        return
    # One run is one session in the recordings.
    session = uuid4().hex
    connection.write(issuer.mint(agent, session))

    async def renew() -> None:
        while True:
            await asyncio.sleep(issuer.lifetime / 2)
            _renew(connection, issuer.mint(agent, session))

    renewing = asyncio.ensure_future(renew())
    try:
        yield connection
    finally:
        renewing.cancel()


@asynccontextmanager
async def _lent(way: Way, agent: str, folder: Path, lent: Login) -> AsyncIterator[Connection]:
    """Connect the agent on behalf of the person who has signed in."""
    session, issuer, source = uuid4().hex, way.issuer, way.source

    async def minted() -> str:
        return issuer.mint(agent, session) if issuer else ""

    async def read() -> str:
        return await source.read(way.audience) if source else ""

    lending = Lending(way, logins(), read if source else minted if issuer else None)
    err.print(
        f"keystile: {visible(agent)} acts for {visible(lent.person)}", style="dim", markup=False
    )
    async with lending.serving() as url:
        connection = way.connection(folder, url)
        connection.write(lending.secret)
        yield connection


def _renew(connection: Connection, token: str) -> None:
    try:
        connection.renew(token)
    except OSError as error:
        # The token still has half its life, and the next turn may succeed.
        err.print(f"keystile: cannot renew the token: {error.strerror}", style="red")


class _Child:
    """The command, and the signals that came for it."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._early: list[signal.Signals] = []
        loop = asyncio.get_running_loop()
        for number in _FORWARDED:
            loop.add_signal_handler(number, self._forward, number)

    async def run(self, command: list[str], environment: dict[str, str]) -> int:
        """Run it to its end, and give its exit code."""
        try:
            self._process = await asyncio.create_subprocess_exec(*command, env=environment)
        except OSError as error:
            err.print(f"keystile: cannot run `{command[0]}`: {error.strerror}", style="red")
            return _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE
        for number in self._early:
            self._forward(number)
        code = await self._process.wait()
        return code if code >= 0 else _SIGNALLED - code

    def _forward(self, number: signal.Signals) -> None:
        if self._process is None:
            self._early.append(number)
        elif not (number in _FROM_TERMINAL and sys.stdin.isatty()):
            with suppress(ProcessLookupError):
                self._process.send_signal(number)
