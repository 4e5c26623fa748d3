"""Holding a process still."""

from __future__ import annotations

import os
import signal
import subprocess


def hold(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    """Stop a child with `SIGSTOP`, and come back when it stands.

    The signal alone takes effect some time later: on a busy machine the child may still answer.
    """
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
