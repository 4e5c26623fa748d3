"""Tasks that the tests hand to workers, which import them by name."""

from __future__ import annotations

import os
import time
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
    open_files: list[str]
    pid: int


def _look_around(_engine: Engine, _nothing: str) -> Surroundings:
    links = [link for link in Path("/proc/self/fd").iterdir() if link.exists()]
    return Surroundings(
        dict(os.environ), sorted(str(link.resolve()) for link in links), os.getpid()
    )


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
LOOK_AROUND = Task(_look_around, str, Surroundings)
TAKE_MEMORY = Task(_take_memory, int, int)
RECURSE = Task(_recurse, int, int)
