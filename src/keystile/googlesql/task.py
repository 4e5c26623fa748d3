"""A unit of work that runs beside an engine in a worker process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, Protocol, TypeVar

from keystile.googlesql.engine import Engine

RequestT = TypeVar("RequestT")
AnswerT = TypeVar("AnswerT")


class Task(NamedTuple, Generic[RequestT, AnswerT]):
    """A module-level function and the msgspec types that cross the process border.

    A worker finds the function by its module and name, so it must be importable.
    """

    function: Callable[[Engine, RequestT], AnswerT]
    request: type[RequestT]
    answer: type[AnswerT]


class TaskRunner(Protocol):
    """Runs tasks: a pool of worker processes in production, one engine in this process in tests."""

    async def run(self, task: Task[RequestT, AnswerT], request: RequestT) -> AnswerT:
        """Run to the end.

        Raises the task's own `KeystileError`; `RefusedError` when the deadline or the memory limit
        is hit; `OverloadedError` when the queue is full.
        """
        ...
