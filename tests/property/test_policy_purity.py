"""A small size of `script/prove policy`."""

from __future__ import annotations

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
