"""`keystile run`: run any command as an agent, connected for as long as it runs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated
from uuid import uuid4

import typer

from keystile.cli.agent import ProjectOption, connection_to, require_active
from keystile.cli.common import DEFAULT_CONFIG, ConfigOption, err, reports_errors, run, settings
from keystile.config.settings import Settings
from keystile.identity.connection import Connection
from keystile.identity.wiring import builtin_issuer

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
def run_command(
    command: Annotated[list[str], typer.Argument(help="The command and its arguments.")],
    agent: Annotated[str, typer.Option(help="The agent that it runs as.")],
    project: ProjectOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Run a command as an agent.

    Its BigQuery clients find the gateway and a fresh token of their own through the environment;
    nothing is left behind. Signals and the exit code pass through.
    """
    raise typer.Exit(run(_run(settings(config), agent, project, command)))


async def _run(settings: Settings, agent: str, project: str, command: list[str]) -> int:
    issuer = builtin_issuer(settings)
    await require_active(settings, agent)
    # One run is one session in the recordings.
    session = uuid4().hex
    # A signal from here on is the command's, so that the folder is always cleared away.
    child = _Child()
    with TemporaryDirectory(prefix="keystile-", dir=os.environ.get("XDG_RUNTIME_DIR")) as folder:
        connection = connection_to(settings, Path(folder))
        connection.write(issuer.mint(agent, session))

        async def renew() -> None:
            while True:
                await asyncio.sleep(issuer.lifetime / 2)
                _renew(connection, issuer.mint(agent, session))

        environment = {k: v for k, v in os.environ.items() if k != _OVERRIDES}
        return await child.run(command, environment | connection.environment(project), renew)


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

    async def run(
        self,
        command: list[str],
        environment: dict[str, str],
        meanwhile: Callable[[], Awaitable[None]],
    ) -> int:
        """Run it to its end with something else beside it, and give its exit code."""
        try:
            self._process = await asyncio.create_subprocess_exec(*command, env=environment)
        except OSError as error:
            err.print(f"keystile: cannot run `{command[0]}`: {error.strerror}", style="red")
            return _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE
        for number in self._early:
            self._forward(number)
        beside = asyncio.ensure_future(meanwhile())
        code = await self._process.wait()
        beside.cancel()
        return code if code >= 0 else _SIGNALLED - code

    def _forward(self, number: signal.Signals) -> None:
        if self._process is None:
            self._early.append(number)
        elif not (number in _FROM_TERMINAL and sys.stdin.isatty()):
            with suppress(ProcessLookupError):
                self._process.send_signal(number)
