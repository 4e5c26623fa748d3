from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.support.forked import OURS, Forked, ran, start
from tests.support.stopping import hold

SAYS = "import os, sys; print(os.environ['WORD']); sys.stderr.write(sys.argv[1]); sys.exit(3)"


@pytest.fixture
def environment() -> dict[str, str]:
    return {**os.environ, **OURS}


def test_a_command_runs_in_words_as_if_it_had_imported_by_itself(
    environment: dict[str, str], tmp_path: Path
) -> None:
    done = ran(("-m", "keystile", "policy", "validate", str(tmp_path)), environment, tmp_path, 60)
    assert done.returncode == 1
    assert "no policy" in done.stderr or str(tmp_path) in done.stderr
    assert "Traceback" not in done.stderr


def test_another_environment_is_not_that_of_the_server(
    environment: dict[str, str], tmp_path: Path
) -> None:
    words, out, err = ("-c", SAYS, "told"), tmp_path / "out", tmp_path / "err"
    process = start(words, environment | {"WORD": "given"}, out, err)
    assert not isinstance(process, Forked)
    assert process.wait(60) == 3
    forked = Forked(words, environment | {"WORD": "given"}, out, err)
    assert forked.wait(60) == 3
    assert (out.read_text(), err.read_text()) == ("given\n" * 2, "told" * 2)


@pytest.mark.parametrize(("code", "ends"), [("1 / 0", 1), ("pass", 0)])
def test_a_program_ends_as_python_ends_it(
    code: str, ends: int, environment: dict[str, str], tmp_path: Path
) -> None:
    done = ran(("-c", code), environment, tmp_path, 60)
    assert done.returncode == ends
    assert ("ZeroDivisionError" in done.stderr) is bool(ends)


def test_it_is_held_killed_and_known_to_have_ended(
    environment: dict[str, str], tmp_path: Path
) -> None:
    words = ("-c", "import time; print('up'); time.sleep(600)")
    # What a test that ran before may have left, as in the whole suite.
    environment = {"TZDIR": "/usr/share/zoneinfo"} | environment
    process: Any = start(words, environment, tmp_path / "out", tmp_path / "err")
    assert isinstance(process, Forked)
    hold(process)
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    process.terminate()  # which does nothing any more
    assert process.poll() == -signal.SIGKILL
