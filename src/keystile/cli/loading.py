"""Groups of commands, whose modules are loaded when one of them is asked for.

All of them together take seconds to import, and most need few of the rooms.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup


def loading(modules: Mapping[str, str]) -> type[TyperGroup]:
    """Make a group of the commands named, each with the module of this package that has it.

    A module's `app` is the command itself, or a group that has the command by this name.
    """

    class _Loading(TyperGroup):
        def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - click's signature
            return [*modules]

        def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - the same
            if cmd_name not in modules:
                return None
            module = import_module(f"keystile.cli.{modules[cmd_name]}")
            found = typer.main.get_command(module.app)
            command = getattr(found, "commands", {}).get(cmd_name, found)
            command.name = cmd_name
            return command

    return _Loading
