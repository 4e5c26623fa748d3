"""One thread that watches all deadlines of this process.

A thread for each task, as `threading.Timer` has it, takes longer than a small task does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Condition, Thread
from typing import NamedTuple


class Deadline(NamedTuple):
    """When to do what, in `time.monotonic()`'s seconds."""

    at: float
    do: Callable[[], None]


class Deadlines:
    """What is to be done when, unless it ends before."""

    def __init__(self) -> None:
        """Begin with none; the thread starts with the first."""
        self._changed = Condition()
        self._open: dict[int, Deadline] = {}
        self._asleep_until = 0.0
        self._thread: Thread | None = None
        self._last = 0

    def begin(self, seconds: float, do: Callable[[], None]) -> int:
        """Do something in so many seconds; gives the number to `end` it by."""
        with self._changed:
            self._last += 1
            self._open[self._last] = deadline = Deadline(time.monotonic() + seconds, do)
            if self._thread is None or not self._thread.is_alive():  # none outlives a fork
                self._thread = Thread(target=self._watch, name="deadlines", daemon=True)
                self._thread.start()
            elif deadline.at < self._asleep_until:
                self._changed.notify()
            return self._last

    def end(self, number: int) -> None:
        """Forget it. INVARIANT: what it was to do is done by now or never."""
        with self._changed:
            self._open.pop(number, None)

    def _watch(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for number, deadline in list(self._open.items()):
                    if deadline.at <= now:
                        del self._open[number]
                        deadline.do()
                # One that has ended meanwhile wakes this once for nothing, which costs less than
                # waking it for each that begins.
                self._asleep_until = min(
                    (deadline.at for deadline in self._open.values()), default=float("inf")
                )
                self._changed.wait(None if not self._open else self._asleep_until - now)


DEADLINES = Deadlines()
"""Those of this process."""
