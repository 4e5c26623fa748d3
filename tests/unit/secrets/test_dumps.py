from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# A process that wants to leave its memory behind, and whose system lets it.
CRASH = """
import ctypes, os, resource, signal
resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)
{first}
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), *resource.getrlimit(resource.RLIMIT_CORE), flush=True)
planted = b"planted" * 100
os.kill(os.getpid(), signal.SIGABRT)
"""
CHILD = """
import subprocess, sys
from keystile.secrets.dumps import keep_out_of_dumps
keep_out_of_dumps(children=True)
sys.exit(subprocess.run(["/bin/sh", "-c", "ulimit -H -c; ulimit -c; kill -ABRT $$"]).returncode)
"""


def crashed(folder: Path, first: str) -> tuple[str, bool]:
    """Give what it printed (is it dumpable, and the limits), and whether it left a dump."""
    text = CRASH.format(first=first)
    process = subprocess.Popen([sys.executable, "-c", text], cwd=folder, stdout=subprocess.PIPE)
    assert process.stdout
    printed = process.stdout.read().decode()
    process.stdout.close()
    _, status = os.waitpid(process.pid, 0)
    process.returncode = status
    assert os.WTERMSIG(status) == signal.SIGABRT
    return printed, os.WCOREDUMP(status)


@pytest.mark.parametrize(("words", "printed"), [("", "0 -1 -1\n"), ("children=True", "0 0 0\n")])
def test_a_crash_leaves_no_memory_behind(tmp_path: Path, words: str, printed: str) -> None:
    kept = "from keystile.secrets.dumps import keep_out_of_dumps; keep_out_of_dumps({})"
    assert crashed(tmp_path, kept.format(words)) == (printed, False)
    assert [*tmp_path.iterdir()] == []


def test_nor_does_a_crash_of_a_child(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout == "0\n0\n"
    assert [*tmp_path.iterdir()] == []


def test_a_crash_would_leave_it_behind(tmp_path: Path) -> None:
    hard = subprocess.run(
        ["/bin/sh", "-c", "ulimit -H -c"], capture_output=True, text=True, check=True
    )
    if hard.stdout.strip() != "unlimited":
        pytest.skip("this system lets no process dump its memory anyway")
    printed, dumped = crashed(tmp_path, "")
    assert printed.startswith("1 -1 -1")
    assert dumped
