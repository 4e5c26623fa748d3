"""From the path that a text spells to the table that BigQuery reads."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from keystile.analysis import information_schema
from keystile.model.errors import InvalidQueryError, RefusedError
from keystile.model.schema import TableId

Path = tuple[str, ...]

# `t$2024`, `t$202401`, `t$20240131` and `t$2024013112`.
_DECORATED = re.compile(r"([^$@]+)\$(\d{4})(?:([01]\d)(?:([0-3]\d)([0-2]\d)?)?)?", re.ASCII)
_PARTITIONS = {1: "YEAR", 2: "MONTH", 3: "DAY", 4: "HOUR"}

# What the gateway calls the results of queries, and what agents call tables of their own data that
# lie beside them. Only the source of tables knows whose they are.
_OWN_DATASET = re.compile(r"_[0-9a-f]{40}", re.ASCII)
_OWN_TABLE = re.compile(r"anon[0-9a-f]{32}|(?!anon)[a-zA-Z0-9][\w\-]*", re.ASCII)

_MOST_PARTS = 3
_PROJECT = re.compile(r"[a-z0-9][a-z0-9.:\-]*", re.ASCII)
_DATASET = re.compile(r"\w+", re.ASCII)
# BigQuery allows letters, marks, numbers, connectors, dashes and spaces of Unicode.
# A wildcard ends in `*`; a view of INFORMATION_SCHEMA has its name in two parts.
_TABLE = re.compile(r"[\w\- ]+|[\w\- ]*\*|INFORMATION_SCHEMA\.[A-Z_]+")


def split(path: Iterable[str]) -> Path:
    """Split quoted parts at their dots, as BigQuery does: `` `p.d`.t `` is `p.d.t`.

    A project may begin with a domain (`example.com:p`), whose dots are not separators.
    """
    parts = [piece for part in path for piece in part.split(".")]
    colon = next((index for index, part in enumerate(parts) if ":" in part), 0)
    return (".".join(parts[: colon + 1]), *parts[colon + 1 :])


class Strange(NamedTuple):
    """What a path names that is no table, and what to write instead."""

    what: str
    hint: str = ""


def strange(path: Path, *, written: bool = False) -> Strange | None:
    """Say what a table path names where it is no plain table; None where it may be one.

    A wildcard (`events_*`) may be read and not `written`.
    """
    return next(_signs(path, written=written), None)


def _signs(path: Path, *, written: bool) -> Iterator[Strange]:
    shown, name = ".".join(path), path[-1]
    if information_schema.is_named(path):
        if hint := "read it" if written else information_schema.hint(path):
            yield Strange(f"`INFORMATION_SCHEMA` view `{shown}`", hint)
        return
    if name.startswith("__"):
        yield Strange(f"meta table `{shown}`", "read the dataset's `INFORMATION_SCHEMA.TABLES`")
    if "*" in "".join(path)[:-1]:
        yield Strange(f"`*` before the end of `{shown}`", "let one `*` end the table's name")
    if written and name.endswith("*"):
        yield Strange(f"writing to the wildcard `{shown}`", "name one table")
    if "$" in name or "@" in name:
        yield Strange(f"partition or snapshot decorator in `{shown}`", _undecorated(shown))
    if len(path) > 1 and path[-2].startswith("_") and (written or not may_be_own(path)):
        hint = "read the table that it was made from"
        yield Strange(f"hidden or temporary dataset in `{shown}`", hint)
    if len(path) > _MOST_PARTS:
        yield Strange(f"more than three parts in `{shown}`", "write `project.dataset.table`")


def may_be_own(path: Path) -> bool:
    """Tell whether a path may name the result of a query, or a table beside one's results."""
    if len(path) <= 1:
        return False
    return bool(_OWN_DATASET.fullmatch(path[-2]) and _OWN_TABLE.fullmatch(path[-1]))


def _undecorated(shown: str) -> str:
    """Say how to read what a decorator stands for."""
    decorated = _DECORATED.fullmatch(shown)
    if decorated is None:
        return (
            "name the table without it, and filter by what partitions the table, or add"
            " FOR SYSTEM_TIME AS OF"
        )
    table, *date = decorated.groups()
    unit = _PARTITIONS[sum(part is not None for part in date)]
    year, month, day, hour = date[0], date[1] or "01", date[2] or "01", date[3] or "00"
    time = f"{year}-{month}-{day} {hour}:00:00"
    return (
        f"read `{table}` WHERE TIMESTAMP_TRUNC(_PARTITIONTIME, {unit}) = TIMESTAMP '{time}', or"
        " filter by the column that partitions it"
    )


def resolve(path: Path, project: str, dataset: str) -> TableId:
    """Complete a split path with the defaults.

    Raises `InvalidQueryError` where there is no default dataset to complete it with, in BigQuery's
    words, and `RefusedError` where a part has characters that no such name has.
    """
    if information_schema.is_named(path):
        path = information_schema.as_table(path)
    if len(path) == 1:
        home = split((dataset,)) if dataset else ()
        if not home:
            raise InvalidQueryError(
                f'Table "{path[0]}" must be qualified with a dataset (e.g. dataset.table).'
            )
        path = (*home, *path)
    full = (project, *path)[-_MOST_PARTS:]
    if full[1].startswith("_") and not may_be_own(full):
        raise RefusedError(
            f"`{full[1]}` is a hidden or temporary dataset",
            hint="read the tables that its tables were made from",
        )
    for part, allowed in zip(full, (_PROJECT, _DATASET, _TABLE), strict=True):
        if not allowed.fullmatch(part):
            raise RefusedError(
                f"`{part}` is no valid part of a table name", hint="check how the table is spelled"
            )
    return TableId(*full)


def check_cases(paths: Iterable[Path], place: Callable[[Path], tuple[int, int]]) -> None:
    """Refuse paths that differ by upper and lower case only; `place` tells where one stands.

    INVARIANT: the engine's catalog ignores case and BigQuery's does not, so two such tables would
    be taken for one.
    """
    seen: dict[Path, Path] = {}
    for path in paths:
        other = seen.setdefault(tuple(part.lower() for part in path), path)
        if other != path:
            raise RefusedError(
                f"`{'.'.join(other)}` and `{'.'.join(path)}` differ by upper and lower case only",
                hint="spell the table in one way, or read the two tables in queries of their own",
                place=max(place(other), place(path)),
            )
