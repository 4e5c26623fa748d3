from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.support.google import Google
from tests.support.vault import Vault

from keystile.secrets import kept


@pytest.fixture(scope="session")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    with Vault(tmp_path_factory.mktemp("vault")) as server:
        yield server


@pytest.fixture
def google() -> Iterator[Google]:
    with Google() as served:
        yield served


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let seconds pass for whoever looks at the clock."""
    real, passed = kept.time.monotonic, [0.0]
    monkeypatch.setattr(kept.time, "monotonic", lambda: real() + passed[0])

    def pass_by(seconds: float) -> None:
        passed[0] += seconds

    return pass_by
