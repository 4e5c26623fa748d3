"""Answers that are known already: the same text against the same schemas is analysed once."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any

import msgspec

from keystile.googlesql.task import AnswerT, RequestT, Task, TaskRunner

_ANSWERS_KEPT = 1024
_LARGEST_REQUEST = 64 << 10


class CacheStats(msgspec.Struct, frozen=True):
    """How often an answer was known already (`hits`) or not, and how many are `kept` now."""

    hits: int
    misses: int
    kept: int


class CachedRunner(TaskRunner):
    """Remembers the newest answers of another runner.

    INVARIANT: a task is a pure function of its request, and the key is all of the request: the
    text, the schemas, the parameters' types, the masks. Whatever changes one of them asks anew.
    Errors are not remembered.
    """

    def __init__(self, runner: TaskRunner) -> None:
        """Ask `runner` for what is not known."""
        self._runner = runner
        self._answers: OrderedDict[bytes, Any] = OrderedDict()
        self._hits = self._misses = 0

    def stats(self) -> CacheStats:
        """Count."""
        return CacheStats(self._hits, self._misses, len(self._answers))

    async def run(self, task: Task[RequestT, AnswerT], request: RequestT) -> AnswerT:
        """Give the answer, at once where it is known. Raises as the other runner does."""
        key = _key(task, request)
        if key in self._answers:
            self._hits += 1
            self._answers.move_to_end(key)
            known: AnswerT = self._answers[key]
            return known
        self._misses += 1
        answer = await self._runner.run(task, request)
        if key:
            self._answers[key] = answer
            if len(self._answers) > _ANSWERS_KEPT:
                self._answers.popitem(last=False)
        return answer


def _key(task: Task[RequestT, AnswerT], request: RequestT) -> bytes:
    """Name a task and its request; empty for one too large to remember."""
    encoded = msgspec.msgpack.encode(request, order="deterministic")
    if len(encoded) > _LARGEST_REQUEST:
        return b""
    name = f"{task.function.__module__}.{task.function.__qualname__}\0".encode()
    return hashlib.sha256(name + encoded).digest()
