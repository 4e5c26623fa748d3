"""Runs tasks on one engine in this process.

Right for tests, command-line tools and inside a worker. Never in a server: nothing ends a task that
takes too long, and a fault of the engine takes its process with it.
"""

from __future__ import annotations

import gc
import sys

from keystile.config.settings import EngineLimits
from keystile.googlesql.engine import Engine, too_deep
from keystile.googlesql.task import AnswerT, RequestT, Task, TaskRunner
from keystile.model.errors import EngineFailedError

# Walkers of the resolved tree recurse: 500 nested calls of SQL are some 2,000 of Python's.
_RECURSION = 10_000

# Trees are many objects and no cycles: looking for these as often as Python does took an eighth of
# the time.
_OBJECTS = 50_000


class InlineRunner(TaskRunner):
    """One engine and its owner. Not for use by two threads at once."""

    def __init__(self) -> None:
        """Start the engine."""
        self._engine = Engine()
        sys.setrecursionlimit(max(sys.getrecursionlimit(), _RECURSION))
        gc.set_threshold(_OBJECTS)

    async def run(self, task: Task[RequestT, AnswerT], request: RequestT) -> AnswerT:
        """Do `run_now`; the event loop stands still meanwhile."""
        return self.run_now(task, request)

    def run_now(self, task: Task[RequestT, AnswerT], request: RequestT) -> AnswerT:
        """Run to the end.

        Raises the task's own errors, and `RefusedError` when the depth that can be followed is
        exceeded.
        """
        try:
            return task.function(self._engine, request)
        except RecursionError:
            raise too_deep() from None


def too_slow(limits: EngineLimits) -> EngineFailedError:
    """Say that the deadline passed."""
    return EngineFailedError(
        f"analysing the query took longer than {limits.deadline} seconds",
        hint="make it shorter, or pass long lists as an array parameter",
    )


def too_much_memory(limits: EngineLimits) -> EngineFailedError:
    """Say that the memory limit was reached."""
    return EngineFailedError(
        f"analysing the query took more than {limits.memory_bytes >> 20} MB of memory",
        hint="make it shorter, or pass long lists as an array parameter",
    )


def stopped() -> EngineFailedError:
    """Say that the engine or its process ended without an answer."""
    return EngineFailedError(
        "the query stopped the analyser, so it is not understood", hint="write it another way"
    )
