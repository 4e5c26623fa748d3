"""`keystile policy validate`: whether a gateway would take a policy."""

from __future__ import annotations

import typer

from keystile.cli.common import (
    DEFAULT_CONFIG,
    DEFAULT_POLICY,
    ConfigOption,
    PolicyArgument,
    reports_errors,
    run,
    settings,
)
from keystile.cli.terminal import say
from keystile.config.policy_folder import read_policy
from keystile.gate.sound_policy import checked_policy
from keystile.googlesql.inline import InlineRunner

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: keystile policy validate examples/policy")
@reports_errors
def validate(
    folder: PolicyArgument = DEFAULT_POLICY, config: ConfigOption = DEFAULT_CONFIG
) -> None:
    """Read a policy as the gateway would, and say what is wrong with it, with file and line.

    Needs no credential and no network. Where the gateway's configuration is at hand, the masking
    keys that masks name must be in it.
    """
    is_there = config != DEFAULT_CONFIG or config.exists()
    keys = settings(config).masking_keys if is_there else None
    policy = run(checked_policy(read_policy(folder), InlineRunner(), keys))
    say(f"the policy is valid; its digest is {policy.digest}")
    if keys is None and policy.named_keys:
        names = ", ".join(sorted({f"`{one.key}`" for one in policy.named_keys}))
        say(f"without --config nothing says whether the gateway has these masking keys: {names}")
