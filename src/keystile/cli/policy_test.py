"""`keystile policy test`: the tests beside a policy."""

from __future__ import annotations

import typer

from keystile.cli.common import DEFAULT_POLICY, JsonOption, PolicyArgument, reports_errors, run
from keystile.cli.policy_checks import show_failed, tried
from keystile.cli.terminal import say, say_json
from keystile.config.policy_folder import read_policy, read_policy_tests

app = typer.Typer(add_completion=False)


@app.command("test", epilog="Example: keystile policy test examples/policy")
@reports_errors
def run_tests(folder: PolicyArgument = DEFAULT_POLICY, *, json: JsonOption = False) -> None:
    """Run the tests beside a policy, the files whose names end in `.test.yaml`.

    Needs no configuration, no credential and no network: the tests say what tables there are. The
    exit code is 1 where one fails.
    """
    found = run(tried(read_policy(folder), read_policy_tests(folder)))
    failed = sum(bool(one.differences) for one in found)
    if json:
        say_json([one._asdict() for one in found])
    else:
        show_failed(found)
        say(f"{len(found) - failed} passed, {failed} failed")
    if failed:
        raise typer.Exit(1)
