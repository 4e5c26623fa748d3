"""Installs each client from its registry into a folder of its own, exactly as locked here.

Nothing of it touches the repository's own environment. The folders are kept, so that a second run
starts at once; a changed lock makes its folder anew.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from prove.clients.catalog import Client

_LOCKS = Path(__file__).resolve().parent / "locks"
_STAMP = "keystile-lock"


class AbsentError(Exception):
    """A client cannot be had on this machine; the words say why."""


def path_of(client: Client) -> str:
    """Give the PATH under which the client's programs run, installing it if need be.

    Raises `AbsentError` where its toolchain is absent, or installing it failed.
    """
    folder = _cache() / client.name
    lock = _LOCKS / client.name
    installed = _KINDS[client.kind](folder, lock)
    return os.pathsep.join((*map(str, installed), os.environ["PATH"]))


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "keystile" / "clients"


def _python(folder: Path, lock: Path) -> tuple[Path, ...]:
    file = lock.with_suffix(".txt")

    def install() -> None:
        pip = (str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-input")
        options = ("--disable-pip-version-check", "--require-hashes", "--no-deps")
        _run(sys.executable, "-m", "venv", str(folder))
        _run(*pip, *options, "--only-binary", ":all:", "-r", str(file))

    _made(folder, file.read_bytes() + sys.version.encode(), install)
    return (folder / "bin",)


def _none(_folder: Path, _lock: Path) -> tuple[Path, ...]:
    return ()


_KINDS: Mapping[str, Callable[[Path, Path], tuple[Path, ...]]] = {"python": _python, "none": _none}


def _made(folder: Path, locked: bytes, install: Callable[[], None]) -> None:
    """Fill a folder unless it holds just this already."""
    stamp, wanted = folder / _STAMP, hashlib.sha256(locked).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    install()
    stamp.write_text(wanted)


def _run(*command: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
    if shutil.which(command[0]) is None:
        raise AbsentError(f"there is no `{command[0]}` on this machine")
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise AbsentError(f"installing it failed: {' '.join(last)}")
