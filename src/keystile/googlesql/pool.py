"""A pool of worker processes, one engine each, so that no query can hurt the gateway's process.

INVARIANT: every accepted task ends, with an answer or an error: a worker past the deadline is
killed, one that died is replaced, and its caller is told.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterable
from contextlib import suppress
from enum import StrEnum
from typing import Any

import msgspec

from keystile.config.settings import EngineLimits
from keystile.googlesql.batched import BATCH
from keystile.googlesql.engine import too_deep
from keystile.googlesql.frames import (
    FRAME_LIMIT,
    HEADER_BYTES,
    Done,
    Failed,
    Order,
    Ready,
    error_of,
    failed,
    framed,
)
from keystile.googlesql.inline import stopped, too_much_memory, too_slow
from keystile.googlesql.native import OUT_OF_MEMORY
from keystile.googlesql.task import AnswerT, RequestT, Task, TaskRunner
from keystile.model.errors import (
    EngineFailedError,
    InvalidRequestError,
    OverloadedError,
    RefusedError,
)

_START_SECONDS = 60.0
_DYING_SECONDS = 1.0
_RESTART_PAUSE_SECONDS = 1.0


class Restart(StrEnum):
    """Why a worker was replaced."""

    DEADLINE = "deadline"
    MEMORY = "memory"
    DEPTH = "depth"
    DIED = "died"


class PoolStats(msgspec.Struct, frozen=True):
    """What the pool does now (`workers` ready, `busy`, `queued`) and did.

    `restarts` are the workers replaced, `ran` the tasks run and `waited_seconds` how long these
    have waited for a worker, all together.
    """

    workers: int
    busy: int
    queued: int
    restarts: dict[str, int]
    ran: int
    waited_seconds: float

    @property
    def restarted(self) -> int:
        """How many workers were replaced."""
        return sum(self.restarts.values())


class _Job(msgspec.Struct):
    """A framed order and who waits for its result."""

    order: bytes
    result: asyncio.Future[Done | Failed]
    since: float

    def finish(self, result: Done | Failed) -> None:
        """Hand the result over, unless the caller has gone."""
        if not self.result.done():
            self.result.set_result(result)


class EnginePool(TaskRunner):
    """Worker processes behind a bounded queue."""

    def __init__(self, limits: EngineLimits, tasks: Iterable[Task[Any, Any]]) -> None:
        """Prepare workers that know `tasks`; of tasks in the same module one is enough."""
        self._limits = limits
        self._modules = sorted({task.function.__module__ for task in (*tasks, BATCH)})
        self._waiting: asyncio.Queue[_Job] = asyncio.Queue()
        self._slots: list[asyncio.Task[None]] = []
        self._ready = self._busy = self._ran = 0
        self._restarts: dict[str, int] = dict.fromkeys(Restart, 0)
        self._waited = 0.0

    async def start(self) -> None:
        """Start the workers. Raises `RefusedError` when one cannot start."""
        loop = asyncio.get_running_loop()
        try:
            for _ in range(self._limits.workers):
                worker = await self._started()
                self._slots.append(loop.create_task(self._keep_serving(worker)))
        except RefusedError:
            await self.close()
            raise

    async def close(self) -> None:
        """End the workers; callers that still wait get `RefusedError`."""
        for slot in self._slots:
            slot.cancel()
        await asyncio.gather(*self._slots, return_exceptions=True)
        self._slots = []
        self._ready = 0
        self._refuse_waiting(_closing())

    def stats(self) -> PoolStats:
        """Count."""
        queued = self._waiting.qsize()
        restarts = dict(self._restarts)
        return PoolStats(self._ready, self._busy, queued, restarts, self._ran, self._waited)

    async def run(self, task: Task[RequestT, AnswerT], request: RequestT) -> AnswerT:
        """Run in a worker; see `TaskRunner.run`."""
        order = _order(task, request)
        if self._waiting.qsize() + self._busy >= self._limits.queue + self._limits.workers:
            raise OverloadedError("too many queries wait to be analysed", hint="try again")
        job = _Job(order, asyncio.get_running_loop().create_future(), time.monotonic())
        self._waiting.put_nowait(job)
        result = await job.result
        if isinstance(result, Failed):
            raise error_of(result)
        try:
            return msgspec.msgpack.decode(result.answer, type=task.answer)
        except RecursionError:
            raise too_deep() from None

    async def _keep_serving(self, worker: Process) -> None:
        """One slot's life: its worker, and the ones that come after it."""
        try:
            while True:
                job = await self._waiting.get()
                if job.result.cancelled():
                    continue
                why = Restart.DIED
                if worker.returncode is None:
                    self._busy += 1
                    self._waited += time.monotonic() - job.since
                    try:
                        result = await self._exchange(worker, job)
                        why = self._why(result)
                        job.finish(result)
                    finally:
                        self._busy -= 1
                else:  # died while idle: none of this job's doing
                    self._waiting.put_nowait(job)
                if worker.returncode is not None:
                    worker = await self._replaced(why)
        finally:
            await _end(worker)

    async def _exchange(self, worker: Process, job: _Job) -> Done | Failed:
        """Have the worker do the job. One that gives no proper answer in time is ended."""
        try:
            async with asyncio.timeout(self._limits.deadline):
                await _send(worker, job.order)
                result = msgspec.msgpack.decode(await _receive(worker), type=Done | Failed)
        except asyncio.CancelledError:
            job.finish(failed(_closing()))
            raise
        except TimeoutError:
            result = failed(too_slow(self._limits))
            await _end(worker)
        except RecursionError:
            # The worker follows types that are nested deeper than this process reads.
            result = failed(too_deep())
            await _end(worker)
        except (OSError, EOFError, msgspec.DecodeError):
            with suppress(TimeoutError):  # what it dies of by itself is told
                async with asyncio.timeout(_DYING_SECONDS):
                    await worker.wait()
            await _end(worker)
            result = failed(self._died(worker.returncode))
        else:
            self._ran += 1
            if isinstance(result, Failed) and result.last:
                await _end(worker)
        return result

    def _died(self, code: int | None) -> RefusedError:
        """Say what a worker died of."""
        if code == OUT_OF_MEMORY:
            return too_much_memory(self._limits)
        # Code that recurses past the end of its stack meets a page that is not there. The engine
        # looks ahead nearly everywhere; its reader of JSON and that of its answers do not.
        return too_deep() if code == -signal.SIGSEGV else stopped()

    def _why(self, result: Done | Failed) -> Restart:
        """Say what ended a worker, by what its caller was told."""
        said = result.message if isinstance(result, Failed) else ""
        known = {
            too_slow(self._limits).message: Restart.DEADLINE,
            too_much_memory(self._limits).message: Restart.MEMORY,
            too_deep().message: Restart.DEPTH,
        }
        return known.get(said, Restart.DIED)

    async def _replaced(self, why: Restart) -> Process:
        """Start a new worker, again and again; until it stands, nobody waits in vain."""
        self._restarts[why] += 1
        self._ready -= 1
        while True:
            try:
                return await self._started()
            except RefusedError as error:
                if not self._ready:
                    self._refuse_waiting(error)
                await asyncio.sleep(_RESTART_PAUSE_SECONDS)

    async def _started(self) -> Process:
        """Start a worker and wait until it is ready."""
        try:
            worker = await asyncio.create_subprocess_exec(
                *_command(self._limits, self._modules),
                stdin=PIPE,
                stdout=PIPE,
                cwd="/",
                env={},  # INVARIANT: no secret of the gateway's environment reaches a worker
                start_new_session=True,  # a Ctrl-C is for the gateway, which ends its workers
            )
        except OSError as error:  # no process, memory or descriptor is left
            raise _unstartable() from error
        try:
            async with asyncio.timeout(_START_SECONDS):
                msgspec.msgpack.decode(await _receive(worker), type=Ready)
        except (OSError, EOFError, TimeoutError, msgspec.DecodeError) as error:
            await _end(worker)
            raise _unstartable() from error
        except asyncio.CancelledError:
            await _end(worker)
            raise
        self._ready += 1
        return worker

    def _refuse_waiting(self, error: RefusedError) -> None:
        while not self._waiting.empty():
            self._waiting.get_nowait().finish(failed(error))


def _command(limits: EngineLimits, modules: list[str]) -> list[str]:
    # -I: neither the environment nor the working folder decides what is imported.
    worker = [sys.executable, "-I", "-m", "keystile.googlesql.worker"]
    return [*worker, msgspec.json.encode(limits).decode(), *modules]


def _order(task: Task[Any, Any], request: Any) -> bytes:
    function, kind = task.function, task.request
    try:
        order = framed(
            Order(
                f"{function.__module__}:{function.__qualname__}",
                f"{kind.__module__}:{kind.__qualname__}",
                msgspec.Raw(msgspec.msgpack.encode(request)),
            )
        )
    except UnicodeEncodeError as error:
        raise InvalidRequestError(
            "the query holds half of a surrogate pair, which is no character",
            hint="send it as valid Unicode",
        ) from error
    except RecursionError:
        raise too_deep() from None
    if len(order) > FRAME_LIMIT:
        raise RefusedError("the query is too large to analyse", hint="make it shorter")
    return order


async def _send(worker: Process, frame: bytes) -> None:
    if worker.stdin is None:
        raise EOFError
    worker.stdin.write(frame)
    await worker.stdin.drain()


async def _receive(worker: Process) -> bytes:
    if worker.stdout is None:
        raise EOFError
    size = int.from_bytes(await worker.stdout.readexactly(HEADER_BYTES), "big")
    if size > FRAME_LIMIT:
        raise EOFError
    return await worker.stdout.readexactly(size)


async def _end(worker: Process) -> None:
    """Kill and reap."""
    if worker.returncode is None:
        worker.kill()
    await worker.wait()


def _unstartable() -> EngineFailedError:
    return EngineFailedError("the SQL analyser could not be started", hint="see the gateway's log")


def _closing() -> EngineFailedError:
    return EngineFailedError("the gateway is shutting down", hint="try again")
