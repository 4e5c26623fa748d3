"""From the path that a text spells to the table that BigQuery reads."""

from __future__ import annotations

import re
from collections.abc import Iterable

from keystile.model.errors import InvalidQueryError, RefusedError
from keystile.model.schema import TableId

Path = tuple[str, ...]

_MOST_PARTS = 3
_PROJECT = re.compile(r"[a-z0-9][a-z0-9.:\-]*", re.ASCII)
_DATASET = re.compile(r"\w+", re.ASCII)
# BigQuery allows letters, marks, numbers, connectors, dashes and spaces of Unicode.
# A wildcard ends in `*`.
_TABLE = re.compile(r"[\w\- ]+|[\w\- ]*\*")


def split(path: Iterable[str]) -> Path:
    """Split quoted parts at their dots, as BigQuery does: `` `p.d`.t `` is `p.d.t`.

    A project may begin with a domain (`example.com:p`), whose dots are not separators.
    """
    parts = [piece for part in path for piece in part.split(".")]
    colon = next((index for index, part in enumerate(parts) if ":" in part), 0)
    return (".".join(parts[: colon + 1]), *parts[colon + 1 :])


def strange(path: Path, *, written: bool = False) -> str:
    """Say what a table path names where it is no plain table; empty where it may be one.

    A wildcard (`events_*`) may be read and not `written`.
    """
    shown = ".".join(path)
    name = path[-1]
    signs = {
        "`INFORMATION_SCHEMA` view": "INFORMATION_SCHEMA" in {part.upper() for part in path},
        "meta table": name.startswith("__"),
        "`*` before the end of": "*" in "".join(path)[:-1],
        "writing to the wildcard": written and name.endswith("*"),
        "partition or snapshot decorator in": "$" in name or "@" in name,
        "hidden or temporary dataset in": len(path) > 1 and path[-2].startswith("_"),
        "more than three parts in": len(path) > _MOST_PARTS,
    }
    return next((f"{what} `{shown}`" for what, is_so in signs.items() if is_so), "")


def resolve(path: Path, project: str, dataset: str) -> TableId:
    """Complete a split path with the defaults.

    Raises `InvalidQueryError` where there is no default dataset to complete it with, in BigQuery's
    words, and `RefusedError` where a part has characters that no such name has.
    """
    if len(path) == 1:
        home = split((dataset,)) if dataset else ()
        if not home:
            raise InvalidQueryError(
                f'Table "{path[0]}" must be qualified with a dataset (e.g. dataset.table).'
            )
        path = (*home, *path)
    full = (project, *path)[-_MOST_PARTS:]
    for part, allowed in zip(full, (_PROJECT, _DATASET, _TABLE), strict=True):
        if not allowed.fullmatch(part):
            raise RefusedError(
                f"`{part}` is no valid part of a table name", hint="check how the table is spelled"
            )
    return TableId(*full)


def check_cases(paths: Iterable[Path]) -> None:
    """Refuse paths that differ by upper and lower case only.

    INVARIANT: the engine's catalog ignores case and BigQuery's does not, so two such tables would
    be taken for one.
    """
    seen: dict[Path, Path] = {}
    for path in paths:
        other = seen.setdefault(tuple(part.lower() for part in path), path)
        if other != path:
            raise RefusedError(
                f"`{'.'.join(other)}` and `{'.'.join(path)}` differ by upper and lower case only",
                hint="spell each table in one way",
            )
