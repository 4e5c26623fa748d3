"""What simulating a draft says is what a gateway does that enforces it."""

from __future__ import annotations

from pathlib import Path

import pytest
from prove import simulation


def test_simulating_says_what_enforcing_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulation, "DRAFTS", {"stricter": simulation.DRAFTS["stricter"]})
    [found] = simulation.proved(tmp_path, queries=25)
    assert found.differences == []
    assert (found.queries, found.not_simulated) == (25, {})
    assert found.changed
