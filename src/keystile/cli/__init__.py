"""The `keystile` command. One file per group of commands."""

from __future__ import annotations

import typer

app = typer.Typer(
    name="keystile",
    help="A gateway that lets AI agents use BigQuery without ever holding a key.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command line."""
    app()
