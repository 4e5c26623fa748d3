from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from keystile.config.settings import EngineLimits
from keystile.googlesql import pool
from keystile.googlesql.inline import InlineRunner
from keystile.googlesql.pool import EnginePool

_HERE = str(Path(__file__).parent)
sys.path.insert(0, _HERE)

StartPool = Callable[..., Awaitable[EnginePool]]


@pytest.fixture
async def start_pool(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[StartPool]:
    """Start pools whose workers can import the test's own tasks."""
    plain = pool._command

    def command(limits: EngineLimits, modules: list[str]) -> list[str]:
        python, isolated, _, name, *arguments = plain(limits, modules)
        start = f"import sys; sys.path.insert(0, {_HERE!r}); from {name} import main; main()"
        return [python, isolated, "-c", start, *arguments]

    monkeypatch.setattr(pool, "_command", command)
    pools: list[EnginePool] = []

    async def start(**limits: int) -> EnginePool:
        import engine_tasks  # noqa: PLC0415 -- `sys.path` must name it first

        pools.append(EnginePool(EngineLimits(**limits), [engine_tasks.TYPES]))
        await pools[-1].start()
        return pools[-1]

    yield start
    for each in pools:
        await each.close()


@pytest.fixture(scope="session")
def runner() -> InlineRunner:
    return InlineRunner()
