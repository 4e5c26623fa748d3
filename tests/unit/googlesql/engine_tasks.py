"""Tasks that the tests hand to workers, which import them by name."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from keystile.googlesql.engine import Engine
from keystile.googlesql.messages import service
from keystile.googlesql.protos import analyzer_options, builtin_catalog, inherited, sql_type
from keystile.googlesql.protos import unwrapped as node_of
from keystile.googlesql.task import Task
from keystile.model.errors import NotFoundError
from keystile.model.schema import SqlType


def _types(engine: Engine, sql: str) -> tuple[SqlType, ...]:
    response = engine.call(
        "Analyze",
        service.AnalyzeRequest(
            options=analyzer_options(engine),
            registered_catalog_id=engine.registered(builtin_catalog(engine)),
            sql_statement=sql,
        ),
        service.AnalyzeResponse,
    )
    query = node_of(node_of(response.resolved_statement).query)
    return tuple(sql_type(column.type) for column in inherited(query, "column_list"))


def _sleep(_engine: Engine, seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def _die(_engine: Engine, code: int) -> int:
    os._exit(code)


def _not_found(_engine: Engine, name: str) -> None:
    raise NotFoundError(f"no `{name}`", hint="look elsewhere")


def _bug(_engine: Engine, text: str) -> None:
    raise ZeroDivisionError(text)


def _print(_engine: Engine, text: str) -> str:
    print(text)  # noqa: T201 -- shows that this cannot spoil the frames
    return text


class Surroundings(msgspec.Struct):
    environment: dict[str, str]
    files: list[int]  # descriptors of open files, not of pipes
    pid: int


def _look_around(_engine: Engine, _nothing: str) -> Surroundings:
    found = []
    for descriptor in range(1024):
        with suppress(OSError):
            os.lseek(descriptor, 0, os.SEEK_CUR)
            found.append(descriptor)
    return Surroundings(dict(os.environ), found, os.getpid())


class Attempt(msgspec.Struct):
    """What a task tried, and the name of the error that it got; empty where it went well."""

    what: str
    got: str


def _break_out(_engine: Engine, path: str) -> list[Attempt]:
    """Try what code of an attacker's would try, in a worker that it has taken over."""
    tries: dict[str, Callable[[], object]] = {
        "read a file": lambda: Path(path).read_bytes(),
        "write a file": lambda: Path(path).write_bytes(b""),
        "list a folder": lambda: list(Path(path).parent.iterdir()),
        "delete a file": Path(path).unlink,
        "open a socket": socket.socket,
        "start a process": lambda: subprocess.run(["/bin/true"], check=True),
        "fork": os.fork,
        "start a thread": lambda: threading.Thread(target=int).start(),
        "end another process": lambda: os.kill(1, 0),
        "read another's memory": Path("/proc/1/mem").read_bytes,
        "change its memory limit": lambda: resource.setrlimit(resource.RLIMIT_DATA, (-1, -1)),
        "become another user": lambda: os.setuid(0),
    }
    found = []
    for what, attempt in tries.items():
        try:
            attempt()
        except Exception as error:  # noqa: BLE001 -- its name is the answer
            found.append(Attempt(what, type(error).__name__))
        else:
            found.append(Attempt(what, ""))
    return found


def _take_memory(_engine: Engine, size: int) -> int:
    return len(bytearray(size))


def _recurse(engine: Engine, depth: int) -> int:
    return depth if depth == 0 else _recurse(engine, depth - 1)


TYPES = Task(_types, str, tuple[SqlType, ...])
SLEEP = Task(_sleep, float, int)
DIE = Task(_die, int, int)
NOT_FOUND = Task(_not_found, str, type(None))
BUG = Task(_bug, str, type(None))
PRINT = Task(_print, str, str)
BREAK_OUT = Task(_break_out, str, list[Attempt])
LOOK_AROUND = Task(_look_around, str, Surroundings)
TAKE_MEMORY = Task(_take_memory, int, int)
RECURSE = Task(_recurse, int, int)
