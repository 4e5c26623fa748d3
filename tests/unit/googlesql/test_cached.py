from __future__ import annotations

from typing import Any

import msgspec
import pytest

from keystile.googlesql import cached
from keystile.googlesql.cached import CachedRunner, CacheStats
from keystile.googlesql.engine import Engine
from keystile.googlesql.task import Task, TaskRunner
from keystile.model.errors import InvalidQueryError


class Asked(msgspec.Struct, frozen=True):
    sql: str
    types: dict[str, str] = {}


def upper(_engine: Engine, asked: Asked) -> str:
    return asked.sql.upper()


def lower(_engine: Engine, asked: Asked) -> str:
    return asked.sql.lower()


UPPER, LOWER = Task(upper, Asked, str), Task(lower, Asked, str)


class Counting(TaskRunner):
    """Runs a task without an engine and counts."""

    def __init__(self) -> None:
        self.ran = 0
        self.fails = False

    async def run(self, task: Any, request: Any) -> Any:
        self.ran += 1
        if self.fails:
            raise InvalidQueryError("no")
        return task.function(None, request)


async def test_the_same_request_is_asked_once() -> None:
    counting = Counting()
    runner = CachedRunner(counting)
    assert [await runner.run(UPPER, Asked("a", {"p": "INT64"})) for _ in range(3)] == ["A"] * 3
    assert counting.ran == 1
    assert runner.stats() == CacheStats(hits=2, misses=1, kept=1)


async def test_anything_that_differs_is_asked_anew() -> None:
    counting = Counting()
    runner = CachedRunner(counting)
    for task, asked in (
        (UPPER, Asked("a")),
        (LOWER, Asked("a")),
        (UPPER, Asked("A")),
        (UPPER, Asked("a", {"p": "INT64"})),
        (UPPER, Asked("a", {"p": "STRING"})),
    ):
        await runner.run(task, asked)
    assert counting.ran == 5
    assert await runner.run(LOWER, Asked("a")) == "a"


async def test_errors_and_huge_requests_are_not_remembered() -> None:
    counting = Counting()
    runner = CachedRunner(counting)
    counting.fails = True
    for _ in range(2):
        with pytest.raises(InvalidQueryError):
            await runner.run(UPPER, Asked("a"))
    counting.fails = False
    for _ in range(2):
        await runner.run(UPPER, Asked("x" * (65 << 10)))
    assert counting.ran == 4


async def test_the_oldest_answers_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached, "_ANSWERS_KEPT", 2)
    counting = Counting()
    runner = CachedRunner(counting)
    for sql in ("a", "b", "a", "c", "a", "b"):
        await runner.run(UPPER, Asked(sql))
    assert counting.ran == 4  # `b` had to go when `c` came
