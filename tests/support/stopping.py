"""Holding a process still."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

from tests.support.forked import Forked


def hold(process: subprocess.Popen[str] | subprocess.Popen[bytes] | Forked) -> None:
    """Stop a process with `SIGSTOP`, and come back when it stands.

    The signal alone takes effect some time later: on a busy machine it may still answer.
    """
    process.send_signal(signal.SIGSTOP)
    deadline = time.monotonic() + 60
    while _state(process.pid) != "T":
        assert time.monotonic() < deadline, "it does not stand"
        time.sleep(0.005)


def _state(pid: int) -> str:
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    return stat.rpartition(")")[2].split()[0]
