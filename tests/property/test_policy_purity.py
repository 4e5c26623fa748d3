"""A small size of `script/prove policy`; simulation and detectors have tests of their own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from prove import policy


def test_processes_that_hash_differently_decide_alike() -> None:
    assert len(policy.different(400, 2)) == 1


def test_a_decision_that_is_another_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    same = policy.digest(60)
    assert policy.digest(60) == same
    assert policy.digest(61) != same
    monkeypatch.setattr(policy, "_RULES", 3)
    assert policy.digest(60) != same


def test_packs_and_invariants_are_run_and_counted() -> None:
    packs = policy.packs()
    assert packs.holds
    assert packs.figures["pack_tests"] > 40


def test_a_pack_that_does_something_else_would_be_noticed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(policy._PACKS / "schema-freeze", tmp_path / "schema-freeze")
    for file in (tmp_path / "schema-freeze").glob("*.test.yaml"):
        file.write_text(file.read_text().replace("effect: deny", "effect: allow"))
    monkeypatch.setattr(policy, "_PACKS", tmp_path)
    packs = policy.packs()
    assert packs.figures["pack_tests_failed"] >= 1
    assert not packs.holds


@pytest.mark.parametrize(("recall", "times"), [(0.9, 120.0), (1.0, 99.0), (1.0, 100.0)])
def test_worse_or_slower_detectors_would_be_noticed(
    monkeypatch: pytest.MonkeyPatch, recall: float, times: float
) -> None:
    found = {
        "keystile": {"ssn": {"recall": recall}, "ip": {"recall": None}},
        "presidio": {"ssn": {"recall": 0.95}, "ip": {"recall": None}},
        "times_presidio": times,
    }
    monkeypatch.setattr(policy, "detector_figures", lambda _cells: found)
    assert policy.detectors(1).holds == (recall == 1.0 and times == 100.0)
