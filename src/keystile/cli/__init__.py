"""The `keystile` command. One file per command or group of commands, each with its `app`."""

from __future__ import annotations

import typer

from keystile.cli.loading import loading
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


app = typer.Typer(
    name="keystile",
    cls=loading({name: name for name in _COMMANDS}),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
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
