from __future__ import annotations

import shutil
import time
from pathlib import Path
from threading import Thread

import pytest

from keystile.googlesql import module


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Count compilations, with the kept module standing in for the minute-long work."""
    module.load()
    kept = module.kept_at(module.default_folder())
    seen: list[float] = []

    class Compiled:
        def serialize(self) -> bytes:
            return kept.read_bytes()

    def compile_slowly(_engine: object) -> Compiled:
        seen.append(time.monotonic())
        time.sleep(0.3)
        return Compiled()

    monkeypatch.setattr(module, "_compiled", compile_slowly)
    return seen


def test_those_who_come_together_compile_once(tmp_path: Path, compilations: list[float]) -> None:
    comers = [Thread(target=module.load, args=(tmp_path / "new",)) for _ in range(4)]
    for comer in comers:
        comer.start()
    for comer in comers:
        comer.join()
    assert len(compilations) == 1
    module.load(tmp_path / "new")
    assert len(compilations) == 1
    shutil.rmtree(tmp_path / "new")


@pytest.mark.parametrize("changed", ["version", "_processor"])
def test_another_wheel_or_processor_needs_its_own_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changed: str
) -> None:
    before = module.kept_at(tmp_path)
    monkeypatch.setattr(module, changed, lambda *_: "another")
    assert module.kept_at(tmp_path) != before


def test_the_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert module.default_folder() == Path("/somewhere/keystile")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/of")
    assert module.default_folder() == Path("/home/of/.cache/keystile")
