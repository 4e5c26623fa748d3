"""Installs each client from its registry into a folder of its own, exactly as locked here.

Nothing of it touches the repository's own environment. The folders are kept, so that a second run
starts at once; a changed lock makes its folder anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from prove.clients.catalog import PROGRAMS, Client

LOCKS = Path(__file__).resolve().parent / "locks"
_STAMP = "keystile-lock"
_SECONDS = 900
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"


class AbsentError(Exception):
    """A client cannot be had on this machine; the words say why."""


def environment_of(client: Client) -> dict[str, str]:
    """Give the variables by which the client's programs find it, installing it if need be.

    Raises `AbsentError` where its toolchain is absent, or installing it failed.
    """
    return _KINDS[client.kind](_cache() / client.name, LOCKS / client.name)


def python_of(lock: Path) -> Path:
    """Give a Python that has just what `lock`, without its suffix, lists, installing it if need be.

    Raises `AbsentError` where installing it failed.
    """
    folder = _cache() / lock.name
    _python(folder, lock)
    return folder / "bin" / "python"


def with_path(folder: Path) -> dict[str, str]:
    """Put a folder of programs before all others."""
    return {"PATH": os.pathsep.join((str(folder), os.environ["PATH"]))}


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "keystile" / "clients"


def _python(folder: Path, lock: Path) -> dict[str, str]:
    file = lock.with_suffix(".txt")

    def install() -> None:
        pip = (str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-input")
        options = ("--disable-pip-version-check", "--require-hashes", "--no-deps")
        _run(sys.executable, "-m", "venv", str(folder))
        _run(*pip, *options, "--only-binary", ":all:", "-r", str(file))

    _made(folder, file.read_bytes() + sys.version.encode(), install)
    return with_path(folder / "bin")


def _node(folder: Path, lock: Path) -> dict[str, str]:
    files = (lock / "package.json", lock / "package-lock.json")

    def install() -> None:
        for file in files:
            shutil.copy(file, folder)
        # Not `npm ci`, which wants the packages of every other platform in the registry as well.
        _run(
            "npm", "install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", cwd=folder
        )

    _made(folder, b"".join(file.read_bytes() for file in files), install)
    modules = folder / "node_modules"
    return with_path(modules / ".bin") | {"NODE_PATH": str(modules)}


def _go(folder: Path, _lock: Path) -> dict[str, str]:
    source = PROGRAMS / "go"
    files = sorted(path for path in source.rglob("*") if path.is_file())

    def install() -> None:
        (folder / "bin").mkdir()
        _run("go", "build", "-o", str(folder / "bin"), "./...", cwd=source)

    _made(folder, b"".join(file.read_bytes() for file in files), install)
    return with_path(folder / "bin")


def _java(folder: Path, lock: Path) -> dict[str, str]:
    _present("java")
    project, sums = lock / "pom.xml", lock / "sha256sums"
    jars = folder / "jars"

    def install() -> None:
        copy = ("-B", "-q", "-f", str(project), _COPY, f"-DoutputDirectory={jars}")
        _run("mvn", *copy, "-DincludeScope=runtime")
        found = {
            file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in jars.iterdir()
        }
        listed = "".join(f"{found[name]}  {name}\n" for name in sorted(found))
        if listed != sums.read_text():
            raise AbsentError(f"what came from the registry is not what `{sums.name}` lists")

    _made(folder, project.read_bytes() + sums.read_bytes(), install)
    return {"CLASSPATH": f"{jars}/*"}


def _bq(_folder: Path, _lock: Path) -> dict[str, str]:
    _present("bq")
    return {}


def _none(_folder: Path, _lock: Path) -> dict[str, str]:
    return {}


_KINDS: Mapping[str, Callable[[Path, Path], dict[str, str]]] = {
    "python": _python,
    "node": _node,
    "go": _go,
    "java": _java,
    "bq": _bq,
    "none": _none,
}


def _made(folder: Path, locked: bytes, install: Callable[[], None]) -> None:
    """Fill a folder unless it holds just this already."""
    stamp, wanted = folder / _STAMP, hashlib.sha256(locked).hexdigest()
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Tests and proofs that run side by side want the same at once.
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        install()
        stamp.write_text(wanted)


def _present(program: str) -> None:
    if shutil.which(program) is None:
        raise AbsentError(f"there is no `{program}` on this machine")


def _run(*command: str, cwd: Path | None = None) -> None:
    _present(command[0])
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, check=False, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise AbsentError(f"installing it took more than {_SECONDS} seconds") from error
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise AbsentError(f"installing it failed: {said[:400]}")
