"""`keystile` as a process of its own that need not import again what another has imported already.

To import takes a process two seconds of work, and most of what its start takes. Each one here is
forked from a server that imported all commands once and did nothing else. From then on it is as any
other: it has its own environment and output, and `keystile.cli.main` in its main thread.
tests/unit/cli/test_loading.py and tests/conformance start processes that import by themselves.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

_FORKED = "KEYSTILE_TESTS_FORK_FROM"
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])
OURS = {"PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
"""What every process has in its environment, for its output to be read at once and as it is."""


class Forked:
    """A process with what is used of `subprocess.Popen`'s methods."""

    def __init__(
        self, words: Sequence[str], environment: Mapping[str, str], out: Path, err: Path
    ) -> None:
        """Start as `start` says."""
        os.environ[_FORKED] = "1"
        try:
            self._process = _CONTEXT.Process(
                target=_run, args=([*words], dict(environment), str(out), str(err)), daemon=True
            )
            self._process.start()
        finally:
            del os.environ[_FORKED]
        assert self._process.pid
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Give the exit code, None as long as it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and give the exit code. Raises `subprocess.TimeoutExpired`."""
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired("keystile", timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)


def start(
    words: Sequence[str], environment: Mapping[str, str], out: Path, err: Path
) -> Forked | subprocess.Popen[bytes]:
    """Start Python with these words: `-c PROGRAM ...` or `-m keystile ...`.

    Output is added to `out` and `err`, which may be the same. Modules may look at the environment
    when they are imported: a process that has another one than the server imports by itself.
    """
    if _lasting(environment) == _SERVERS:
        return Forked(words, environment, out, err)
    with out.open("ab") as one, err.open("ab") as two:
        return subprocess.Popen([sys.executable, *words], stdout=one, stderr=two, env=environment)


def ran(
    words: Sequence[str], environment: Mapping[str, str], folder: Path, timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run to the end with what it wrote. Raises `subprocess.TimeoutExpired`."""
    out, err = folder / "out", folder / "err"
    process = start(words, environment, out, err)
    try:
        code = process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        raise
    return subprocess.CompletedProcess([*words], code, out.read_text(), err.read_text())


def _lasting(environment: Mapping[str, str]) -> dict[str, str]:
    """Give what of an environment is not another one in each test, or set by us.

    `TZDIR` is set by our own code where it is missing, once it looks at times.
    """
    passing = {"PYTEST_CURRENT_TEST", "TZDIR", _FORKED, *OURS}
    return {name: value for name, value in environment.items() if name not in passing}


def _run(words: list[str], environment: dict[str, str], out: str, err: str) -> None:
    """Be the program, in a process that was forked just now."""
    for file, descriptor in ((out, 1), (err, 2)):
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(write_through=True)  # type: ignore[union-attr]
    os.environ.clear()
    os.environ.update(environment)
    how, program, *rest = words
    sys.argv = ["keystile" if how == "-m" else "-c", *rest]
    code = program if how == "-c" else "from keystile.cli import main; main()"
    try:
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102 - a test wrote it
    except SystemExit:
        raise
    except BaseException:  # noqa: BLE001 - as Python itself ends a program
        sys.excepthook(*sys.exc_info())
        raise SystemExit(1) from None


def _import_all() -> None:
    """Import what any command does, where a server is started to be forked from."""
    os.environ.update(OURS)  # consoles look there when they are made, at import
    from keystile import cli  # noqa: PLC0415 - only the server is to import it

    for module in iter_modules(cli.__path__, f"{cli.__name__}."):
        import_module(module.name)
    gc.freeze()  # so that no collection writes to, and so copies, what all of them share


_SERVERS = _lasting(os.environ)

if os.environ.pop(_FORKED, ""):
    _import_all()
