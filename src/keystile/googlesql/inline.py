"""Runs tasks on one engine in this process, under the deadline, and replaces an engine that died.

Right for tests, command-line tools and inside a worker. Never in a server: a native panic of the
engine takes its process with it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keystile.config.settings import EngineLimits
from keystile.googlesql import module
from keystile.googlesql.deadlines import DEADLINES
from keystile.googlesql.engine import Death, Engine, EngineDiedError
from keystile.googlesql.task import AnswerT, RequestT, Task, TaskRunner
from keystile.model.errors import KeystileError, RefusedError

# Walkers of the resolved tree recurse: 500 nested calls of SQL are some 2,000 of Python's.
_RECURSION = 10_000


class InlineRunner(TaskRunner):
    """One engine and its owner. Not for use by two threads at once."""

    def __init__(self, limits: EngineLimits | None = None, folder: Path | None = None) -> None:
        """Load the module from `folder` (default: `module.default_folder()`), compiling if need be.

        The deadline bounds the time spent in the engine, not a task's own Python, and memory is
        bounded in worker processes only.
        """
        self._limits = limits or EngineLimits()
        self._compiled = module.load(folder)
        self._engine: Engine | None = Engine(self._compiled)
        sys.setrecursionlimit(max(sys.getrecursionlimit(), _RECURSION))

    @property
    def alive(self) -> bool:
        """Whether the engine outlived the last task. The next task gets a new one if not."""
        return self._engine is not None

    async def run(self, task: Task[RequestT, AnswerT], request: RequestT) -> AnswerT:
        """Do `run_now`; the event loop stands still meanwhile."""
        return self.run_now(task, request)

    def run_now(self, task: Task[RequestT, AnswerT], request: RequestT) -> AnswerT:
        """Run to the end.

        Raises the task's own errors, and `RefusedError` when the deadline, the memory limit or the
        depth that the engine can follow is exceeded, or when the engine panics.
        """
        engine = self._engine or Engine(self._compiled)
        self._engine = None
        try:
            with self._deadline(engine):
                answer = task.function(engine, request)
        except EngineDiedError as died:
            refusal = self._refusal(died.death, engine)
        except MemoryError:
            refusal = too_much_memory(self._limits)
        except RecursionError:
            refusal = too_deep()
        except KeystileError:
            self._engine = engine
            raise
        else:
            self._engine = engine
            return answer
        raise refusal

    @contextmanager
    def _deadline(self, engine: Engine) -> Iterator[None]:
        engine.set_deadline(1)
        until = DEADLINES.begin(self._limits.deadline, self._compiled.engine.increment_epoch)
        try:
            yield
        finally:
            DEADLINES.end(until)

    def _refusal(self, death: Death, engine: Engine) -> RefusedError:
        if death is Death.DEADLINE:
            return too_slow(self._limits)
        if death is Death.STACK:
            return too_deep()
        # An engine that could not get more memory has usually grown most of the way to the limit.
        if engine.memory_bytes * 2 > self._limits.memory_bytes:
            return too_much_memory(self._limits)
        return stopped()


def too_slow(limits: EngineLimits) -> RefusedError:
    """Say that the deadline passed."""
    return RefusedError(
        f"analysing the query took longer than {limits.deadline} seconds",
        hint="make it shorter, or pass long lists as an array parameter",
    )


def too_much_memory(limits: EngineLimits) -> RefusedError:
    """Say that the memory limit was reached."""
    return RefusedError(
        f"analysing the query took more than {limits.memory_bytes >> 20} MB of memory",
        hint="make it shorter, or pass long lists as an array parameter",
    )


def too_deep() -> RefusedError:
    """Say that the SQL is nested deeper than the engine can follow."""
    return RefusedError("the query is nested too deeply", hint="split it with WITH or a view")


def stopped() -> RefusedError:
    """Say that the engine or its process ended without an answer."""
    return RefusedError(
        "the query stopped the analyser, so it is not understood", hint="write it another way"
    )
