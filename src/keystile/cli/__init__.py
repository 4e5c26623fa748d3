"""The `keystile` command. One file per command or group of commands, each with its `app`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from keystile.secrets.dumps import keep_out_of_dumps
from keystile.telemetry import logs

_COMMANDS = (
    "serve",
    "run",
    "login",
    "logout",
    "sandbox",
    "agent",
    "connection",
    "person",
    "policy",
    "limits",
    "labels",
    "approvals",
    "sessions",
    "audit",
    "console",
)


class _Commands(TyperGroup):
    """Loads a command's module when it is asked for.

    All of them together take a second or two to import, and most need few of the rooms.
    """

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - click's signature
        return [*_COMMANDS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - the same
        if cmd_name not in _COMMANDS:
            return None
        command = typer.main.get_command(import_module(f"keystile.cli.{cmd_name}").app)
        command.name = cmd_name
        return command


app = typer.Typer(
    name="keystile", cls=_Commands, no_args_is_help=True, pretty_exceptions_enable=False
)


@app.callback()
def _keystile() -> None:
    """Let AI agents use BigQuery without ever holding a key."""


def main() -> None:
    """Run the command line.

    Logs go to standard error, for standard output is a command's answer. No command dumps its
    memory or shows the message of a crash, for either may hold a key or a token.
    """
    logs.configure(level="warning")
    logs.report_crashes()
    keep_out_of_dumps()
    # Typer's own call would put its hook for crashes in place of ours.
    typer.main.get_command(app)()
