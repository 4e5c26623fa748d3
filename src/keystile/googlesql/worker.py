"""A worker process: takes one task at a time from standard input, answers on standard output.

Started by `pool.py` as `python -I -m keystile.googlesql.worker LIMITS MODULES`. It holds nothing of
the gateway's: no environment, no files but the two pipes, no key. It imports the modules of its
tasks, and before it reads the first order it gives up opening anything.

INVARIANT: it ends when its parent does, even in the middle of a task: the reading thread sees the
end of standard input and ends the process.
"""

from __future__ import annotations

import importlib
import os
import resource
import sys
import traceback
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, BinaryIO

import msgspec

from keystile.config.settings import EngineLimits
from keystile.googlesql.frames import FRAME_LIMIT, HEADER_BYTES, Done, Order, Ready, failed, framed
from keystile.googlesql.inline import InlineRunner, stopped, too_much_memory
from keystile.googlesql.native import load_time_zones
from keystile.googlesql.seal import seal
from keystile.googlesql.task import Task
from keystile.model.errors import KeystileError, RefusedError


def main() -> None:
    """Serve until standard input ends, or say on standard error why it cannot."""
    try:
        _serve()
    except KeystileError as error:
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
        os._exit(1)  # the reading thread would hold up an exit in order


def _serve() -> None:
    answers = _take_standard_output()
    limits = msgspec.json.decode(sys.argv[1], type=EngineLimits)
    runner = InlineRunner()
    for module in sys.argv[2:]:
        importlib.import_module(module)
    load_time_zones()
    _limit_memory(limits.memory_bytes)
    orders: SimpleQueue[bytes] = SimpleQueue()
    Thread(target=_read, args=(sys.stdin.buffer, orders), daemon=True).start()
    seal()
    _write(answers, framed(Ready()))
    while True:
        _write(answers, _answer(runner, limits, orders.get()))


def _answer(runner: InlineRunner, limits: EngineLimits, frame: bytes) -> bytes:
    try:
        order = msgspec.msgpack.decode(frame, type=Order)
        request = msgspec.msgpack.decode(order.request, type=_named(order.type))
        task: Task[Any, Any] = Task(_named(order.function), Any, Any)
        answer = msgspec.msgpack.encode(runner.run_now(task, request))
        if len(answer) > FRAME_LIMIT:
            raise RefusedError(  # noqa: TRY301 -- crosses the border like any other refusal
                "the analysis of the query is too large", hint="make the query shorter"
            )
        return framed(Done(msgspec.Raw(answer)))
    except KeystileError as error:
        return framed(failed(error))
    except MemoryError:  # what the task has taken may be in pieces now
        return framed(failed(too_much_memory(limits), last=True))
    except Exception as error:  # noqa: BLE001 -- whatever a bug left behind ends with the worker
        # Where and what kind, not the message: it could quote the query.
        sys.stderr.writelines(traceback.format_tb(error.__traceback__))
        sys.stderr.write(f"{type(error).__name__} in a task\n")
        return framed(failed(stopped(), last=True))


@cache
def _named(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _read(orders_in: BinaryIO, orders: SimpleQueue[bytes]) -> None:
    while header := orders_in.read(HEADER_BYTES):
        orders.put(orders_in.read(int.from_bytes(header, "big")))
    os._exit(0)


def _take_standard_output() -> BinaryIO:
    """Keep the pipe for answers, and send what anything else prints to standard error."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    return answers


def _write(answers: BinaryIO, frame: bytes) -> None:
    view = memoryview(frame)
    while view:
        view = view[answers.write(view) :]


def _limit_memory(allowed: int) -> None:
    """Allow `allowed` bytes more than the process holds now.

    What is writable counts; the engine's code is read from its file and shared by all workers.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return  # not Linux: the deadline is the only bound
    held = next(int(line.split()[1]) << 10 for line in status if line.startswith("VmData:"))
    resource.setrlimit(resource.RLIMIT_DATA, (held + allowed, held + allowed))


if __name__ == "__main__":
    main()
