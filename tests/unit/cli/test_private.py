from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from keystile.cli.private import private_folder


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "runtime"
    folder.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder


def _left(runtime: Path, name: str = "keystile-run-left", *, lock: bool = True) -> Path:
    folder = runtime / name
    folder.mkdir()
    (folder / "credential.json").write_text("{}")
    if lock:
        (folder / "lock").touch()
    return folder


def test_a_folder_is_its_owners_alone_and_goes_in_the_end(runtime: Path) -> None:
    with private_folder() as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "credential.json").write_text("{}")
    assert list(runtime.iterdir()) == []


def test_it_goes_when_the_run_fails(runtime: Path) -> None:
    with pytest.raises(RuntimeError), private_folder():
        raise RuntimeError
    assert list(runtime.iterdir()) == []


def test_what_a_killed_run_left_goes_and_what_another_uses_stays(runtime: Path) -> None:
    left = _left(runtime)
    with private_folder() as one, private_folder() as two:
        assert not left.exists()
        assert one.exists()
        assert two.exists()
    assert list(runtime.iterdir()) == []


def test_what_is_not_surely_a_killed_runs_stays(runtime: Path, tmp_path: Path) -> None:
    new = _left(runtime, "keystile-run-new", lock=False)
    others = _left(runtime, "somebody-elses")
    elsewhere = _left(tmp_path, "elsewhere")
    (runtime / "keystile-run-link").symlink_to(elsewhere)
    locked = _left(runtime, "keystile-run-linked-lock", lock=False)
    (locked / "lock").symlink_to(elsewhere / "lock")
    (runtime / "keystile-run-file").touch()
    with private_folder():
        pass
    assert all(one.exists() for one in (new, others, elsewhere / "credential.json", locked))


def test_one_that_was_killed_before_it_had_its_lock_goes_after_a_minute(runtime: Path) -> None:
    old = _left(runtime, lock=False)
    os.utime(old, (time.time() - 61,) * 2)
    with private_folder():
        assert not old.exists()
