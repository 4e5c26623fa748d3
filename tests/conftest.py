"""What holds for every test."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

# How long an example takes says more of the machine than of the code: `bench/` measures.
settings.register_profile("fresh", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The same code meets the same examples, so what fails does so where it was changed. New ones are
# looked for on purpose: `--hypothesis-profile=fresh`.
settings.register_profile("same", settings.get_profile("fresh"), derandomize=True)
settings.load_profile("same")


@pytest.fixture(autouse=True)
def logs_of_its_own() -> Iterator[None]:
    """Let no test leave its logs to others: a command's go to a stream that is closed by then."""
    root = logging.getLogger()
    handlers, level = [*root.handlers], root.level
    yield
    if structlog.is_configured():
        structlog.reset_defaults()
        root.handlers[:] = handlers
        root.setLevel(level)
