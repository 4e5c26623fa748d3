"""`keystile policy`: check a policy, test it, publish it, and see what it says and why."""

from __future__ import annotations

import typer

from keystile.cli.loading import loading

app = typer.Typer(
    cls=loading(
        {
            "explain": "policy_explain",
            "validate": "policy_validate",
            "test": "policy_test",
            "shadow": "policy_shadow",
            "simulate": "policy_simulate",
            "apply": "policy_versions",
            "rollback": "policy_versions",
            "diff": "policy_versions",
            "history": "policy_versions",
        }
    ),
    no_args_is_help=True,
)


@app.callback()
def _policy() -> None:
    """Check a policy, test it, and see what it says and why."""
