"""Many small tasks in few: those asked for at the same time go to a worker together.

A script of hundreds of statements asks for several answers about each; every way to a worker and
back costs as much as a small answer.
"""

from __future__ import annotations

import asyncio
import importlib
from typing import Any, NamedTuple

import msgspec

from keystile.googlesql.engine import Engine
from keystile.googlesql.frames import Done, Failed, error_of, failed
from keystile.googlesql.task import AnswerT, RequestT, Task, TaskRunner
from keystile.model.errors import KeystileError, RefusedError

_MOST = 32
"""How many go together: with some milliseconds each they stay well within the deadline."""


class Batch(msgspec.Struct, frozen=True):
    """Requests of one task; its function and their type as `module:name`."""

    function: str
    type: str
    requests: tuple[msgspec.Raw, ...]


class Answers(msgspec.Struct, frozen=True):
    """What became of each request, in their order."""

    results: tuple[Done | Failed, ...]


def run_batch(engine: Engine, batch: Batch) -> Answers:
    """Run the task on each request. What one raises does not touch the others."""
    function, kind = _named(batch.function), _named(batch.type)
    results: list[Done | Failed] = []
    for raw in batch.requests:
        try:
            answer = function(engine, msgspec.msgpack.decode(raw, type=kind))
            results.append(Done(msgspec.Raw(msgspec.msgpack.encode(answer))))
        except KeystileError as error:
            results.append(failed(error))
    return Answers(tuple(results))


BATCH = Task(run_batch, Batch, Answers)
"""Run one task on many requests."""


class _Asked(NamedTuple):
    task: Task[Any, Any]
    request: bytes
    answer: asyncio.Future[Done | Failed]


class BatchedRunner(TaskRunner):
    """Hands tasks on in batches. For one script: an answer is asked for once and kept."""

    def __init__(self, runner: TaskRunner) -> None:
        """Hand them to `runner`."""
        self._runner = runner
        self._known: dict[tuple[str, bytes], asyncio.Future[Done | Failed]] = {}
        self._waiting: list[_Asked] = []
        self._handing_on = False

    async def run(self, task: Task[RequestT, AnswerT], request: RequestT) -> AnswerT:
        """Run to the end; see `TaskRunner.run`."""
        encoded = msgspec.msgpack.encode(request, order="deterministic")
        key = (_name(task.function), encoded)
        if key not in self._known:
            future: asyncio.Future[Done | Failed] = asyncio.get_running_loop().create_future()
            self._known[key] = future
            self._waiting.append(_Asked(task, encoded, future))
            if not self._handing_on:
                await self._hand_on()
        result = await self._known[key]
        if isinstance(result, Failed):
            raise error_of(result)
        return msgspec.msgpack.decode(result.answer, type=task.answer)

    async def _hand_on(self) -> None:
        """Hand on what waits, until nothing does. The first to ask does it for all."""
        self._handing_on = True
        try:
            while True:
                await asyncio.sleep(0)  # whoever is about to ask as well does so now
                if not self._waiting:
                    break
                first = self._waiting[0].task
                batch = [asked for asked in self._waiting if asked.task is first][:_MOST]
                self._waiting = [asked for asked in self._waiting if asked not in batch]
                await self._answer(first, batch)
        finally:
            self._handing_on = False
            for asked in self._waiting:
                asked.answer.cancel()

    async def _answer(self, task: Task[Any, Any], batch: list[_Asked]) -> None:
        raw = tuple(msgspec.Raw(asked.request) for asked in batch)
        request = Batch(_name(task.function), _name(task.request), raw)
        try:
            results = (await self._runner.run(BATCH, request)).results
        except RefusedError as error:
            if len(batch) > 1:
                # One of them took too much: the others are not refused for it.
                for asked in batch:
                    await self._answer(task, [asked])
                return
            results = (failed(error),)
        except KeystileError as error:
            results = (failed(error),) * len(batch)
        for asked, result in zip(batch, results, strict=True):
            asked.answer.set_result(result)


def _name(named: Any) -> str:
    return f"{named.__module__}:{named.__qualname__}"


def _named(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)
