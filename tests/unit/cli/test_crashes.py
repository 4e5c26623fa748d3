"""A command that breaks shows where, and nothing of what it held."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SECRET = "planted-in-the-message-of-a-crash-5309"
# Each breaks at the first thing that it does with what it was given.
BREAKS = {
    "serve": ("keystile.cli.serve", "read"),
    "run": ("keystile.cli.run", "way_of"),
    "sandbox": ("keystile.cli.sandbox", "read_folder"),
    "connection": ("keystile.cli.connection", "settings"),
}
WORDS = {
    "run": ["--agent", "bot", "--", "true"],
    "sandbox": ["--data", ".", "--public-key", "k.pem"],
    "connection": ["list"],
}
PROGRAM = """
import sys
from importlib import import_module
from keystile import cli

def broken(*_, **__):
    raise RuntimeError({secret!r})

setattr(import_module({module!r}), {name!r}, broken)
sys.argv = ["keystile", *{words!r}]
cli.main()
"""


@pytest.mark.parametrize("command", BREAKS)
def test_no_command_shows_the_message_of_its_crash(command: str, tmp_path: Path) -> None:
    module, name = BREAKS[command]
    words = [command, *WORDS.get(command, [])]
    program = PROGRAM.format(secret=SECRET, module=module, name=name, words=words)
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert "uncaught_fault" in done.stderr
    assert "RuntimeError" in done.stderr
