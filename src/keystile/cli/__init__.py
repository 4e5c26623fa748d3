"""The `keystile` command. One file per group of commands."""

from __future__ import annotations

import typer

from keystile.cli import (
    agent,
    approvals,
    audit,
    console,
    person,
    policy,
    run,
    sandbox,
    serve,
    sessions,
)

app = typer.Typer(
    name="keystile",
    help="A gateway that lets AI agents use BigQuery without ever holding a key.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("serve", epilog="Example: keystile serve --config keystile.yaml")(serve.serve)
app.command("sandbox", epilog="Example: keystile sandbox --data shop --sample --public-key k.pem")(
    sandbox.sandbox
)
# Groups without a name add their commands to the top.
app.add_typer(run.app)
app.add_typer(agent.app, name="agent")
app.add_typer(person.app, name="person")
app.add_typer(policy.app, name="policy")
app.add_typer(approvals.app, name="approvals")
app.add_typer(sessions.app, name="sessions")
app.add_typer(audit.app, name="audit")
app.add_typer(console.app, name="console")


def main() -> None:
    """Run the command line."""
    app()
