"""The write-ahead log: what it has acknowledged is on the disk."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from keystile.model.errors import RecordingUnavailableError, RefusedError
from keystile.recording.events import Event
from keystile.recording.writer import ChainWriter, canonical, claim


class Position(NamedTuple):
    """Where a record stands: its chain and its number in it, counted from 1."""

    chain: str
    seq: int


class _Waiting(NamedTuple):
    event: Event
    future: asyncio.Future[Position]


class RecordingLog:
    """Appends events to this process's own chain, many callers to one sync (group commit).

    INVARIANT: `append` returns only after the event is durable. Whoever releases anything first
    awaits it; when it raises, nothing may be released.
    """

    def __init__(
        self, folder: Path, segment_bytes: int, *, clock: Callable[[], float] = time.time
    ) -> None:
        """Take the recording folder and the size in bytes at which a segment is sealed."""
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._clock = clock
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failure: Exception | None = None

    async def open(self) -> None:
        """Claim a chain and start writing. Raises `RecordingUnavailableError`."""
        try:
            writer = await asyncio.to_thread(
                claim, self._folder, segment_bytes=self._segment_bytes, clock=self._clock
            )
        except OSError as error:
            raise _unavailable(error) from error
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(
            target=self._write, args=(writer,), name="keystile-recording", daemon=True
        )
        self._thread.start()

    async def close(self) -> None:
        """Write what is queued, then give the chain free."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(thread.join)

    @property
    def available(self) -> bool:
        """Whether the newest write succeeded, for readiness."""
        return self._thread is not None and self._failure is None

    async def append(self, event: Event) -> Position:
        """Make `event` durable.

        Raises `RecordingUnavailableError` when it cannot be: a later append may work again; and
        `RefusedError` for an event that is no JSON. It is then not in the recording.
        """
        if self._thread is None:
            raise RecordingUnavailableError("the recording is not open, so nothing is released")
        future: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        self._queue.put(_Waiting(event, future))
        return await future

    def _write(self, writer: ChainWriter) -> None:
        closing = False
        while not closing:
            batch, closing = self._next_batch()
            answers = self._append(writer, batch) if batch else []
            self._answer(answers)
        writer.close()

    def _next_batch(self) -> tuple[list[_Waiting], bool]:
        """Wait for one event, then take all that came while the disk was busy."""
        batch: list[_Waiting] = []
        waiting = self._queue.get()
        try:
            while waiting is not None:
                batch.append(waiting)
                waiting = self._queue.get_nowait()
        except queue.Empty:
            return batch, False
        return batch, True

    def _append(
        self, writer: ChainWriter, batch: list[_Waiting]
    ) -> list[tuple[_Waiting, Position | Exception]]:
        encoded: list[tuple[_Waiting, bytes]] = []
        answers: list[tuple[_Waiting, Position | Exception]] = []
        for waiting in batch:
            try:
                encoded.append((waiting, canonical(waiting.event)))
            except (ValueError, TypeError, RecursionError) as error:
                # Not `RecordingUnavailableError`: it would be as bad when tried again.
                refused = RefusedError(
                    "the event cannot be written as JSON, so nothing is released"
                )
                refused.__cause__ = error
                answers.append((waiting, refused))
        try:
            numbers = writer.append([event for _, event in encoded]) if encoded else []
        except Exception as error:  # noqa: BLE001 - a dead writer thread would leave callers waiting
            self._failure = error
            answers += [(waiting, _unavailable(error)) for waiting, _ in encoded]
        else:
            self._failure = None
            answers += [
                (waiting, Position(writer.chain, number))
                for (waiting, _), number in zip(encoded, numbers, strict=True)
            ]
        return answers

    def _answer(self, answers: list[tuple[_Waiting, Position | Exception]]) -> None:
        if self._loop is None or self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(_settle, answers)


def _settle(answers: list[tuple[_Waiting, Position | Exception]]) -> None:
    for waiting, answer in answers:
        if waiting.future.done():
            continue
        if isinstance(answer, Exception):
            waiting.future.set_exception(answer)
        else:
            waiting.future.set_result(answer)


def _unavailable(error: Exception) -> RecordingUnavailableError:
    why = error.strerror if isinstance(error, OSError) else type(error).__name__
    unavailable = RecordingUnavailableError(
        f"the recording cannot be written ({why}), so nothing is released",
        hint="try again once the operator has made room or repaired the recording folder",
    )
    unavailable.__cause__ = error
    return unavailable
