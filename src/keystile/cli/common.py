"""What every command shares: finding the configuration, running, and saying what went wrong."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from rich.console import Console

from keystile.config.load import load
from keystile.config.settings import Settings
from keystile.model.errors import KeystileError

P = ParamSpec("P")
ResultT = TypeVar("ResultT")

ConfigOption = Annotated[
    Path,
    typer.Option(
        "--config",
        "-c",
        envvar="KEYSTILE_CONFIG",
        help="The gateway's configuration file.",
        show_default="keystile.yaml",
    ),
]
DEFAULT_CONFIG = Path("keystile.yaml")

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

PolicyArgument = Annotated[Path, typer.Argument(help="The folder of the policy.")]
DEFAULT_POLICY = Path("policy")

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def settings(config: Path) -> Settings:
    """Read the configuration. Raises `UnsafeConfigurationError`."""
    return load(config)


def run(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Run one command's work to its end."""
    return asyncio.run(work)


def reports_errors(command: Callable[P, ResultT]) -> Callable[P, ResultT]:
    """Turn Keystile's own errors into one clear line on standard error and exit code 1."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> ResultT:
        try:
            return command(*args, **kwargs)
        except KeystileError as error:
            err.print(f"keystile: {error}", style="red", markup=False, soft_wrap=True)
            raise typer.Exit(1) from error

    return wrapper
