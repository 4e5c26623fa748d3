"""Catalogs that several texts share.

Registering one takes the engine longer than resolving a query, whatever tables are in it, since it
makes all of GoogleSQL's functions anew. So a catalog holds what earlier texts named as well.

INVARIANT: a text resolves as if the catalog held its own tables alone: no text in which the name
of another table stands gets a catalog with that table, and errors, which may suggest names, always
come from a catalog of the text's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from keystile.analysis.scope import Scope, SpelledTable, catalog
from keystile.googlesql.engine import Engine
from keystile.model.errors import InvalidQueryError

ResultT = TypeVar("ResultT")
Path = tuple[str, ...]

_SHARED_CATALOGS = 4
_MOST_TABLES = 256
"""How many paths one catalog holds."""


class _Shared(NamedTuple):
    """A registered catalog, and its tables by path in lower case: the engine ignores case."""

    id: int
    tables: dict[Path, SpelledTable]


_shared: WeakKeyDictionary[Engine, list[_Shared]] = WeakKeyDictionary()


def with_catalog(engine: Engine, sql: str, scope: Scope, do: Callable[[int], ResultT]) -> ResultT:
    """Do something with the number of a registered catalog in which the text resolves.

    It may be done twice: an `InvalidQueryError` of the first time is not the last word.
    """
    shared = _fitting(engine, sql, scope.in_full())
    if shared is not None:
        try:
            return do(shared)
        except InvalidQueryError:
            pass
    return do(engine.registered(catalog(engine, scope)))


def _fitting(engine: Engine, sql: str, scope: Scope) -> int | None:
    """Give a shared catalog with the tables of a scope; None where it needs one of its own."""
    # Escapes in names hide which ones a text holds.
    if scope.routines or scope.variables or scope.connections or "\\" in sql:
        return None
    known = _shared.setdefault(engine, [])
    asked = {tuple(map(_lower, spelled.path)): spelled for spelled in scope.tables}
    if len(asked) < len(scope.tables):
        return None
    kept = next((one for one in known if _holds(one, asked)), None)
    if kept is None:
        kept = _extended(engine, known, asked)
    # The newest is the first, and the first to get more tables.
    known.sort(key=lambda one: one is not kept)
    own = {spelled.table.id for spelled in scope.tables}
    foreign = {path[-1] for path, one in kept.tables.items() if one.table.id not in own}
    return None if _names_any(sql, foreign) else kept.id


def _extended(engine: Engine, known: list[_Shared], asked: dict[Path, SpelledTable]) -> _Shared:
    """Put tables into a shared catalog, which becomes another one, or begin with one."""
    old = next((one for one in known if _may_hold(one, asked)), None)
    if old is None and len(known) == _SHARED_CATALOGS:
        old = known[-1]
        tables = asked
    else:
        tables = {**(old.tables if old else {}), **asked}
    if old is not None:
        known.remove(old)
        engine.unregister(old.id)
    made = _Shared(engine.register(catalog(engine, Scope(tuple(tables.values())))), tables)
    known.append(made)
    return made


def _holds(shared: _Shared, asked: dict[Path, SpelledTable]) -> bool:
    return all(shared.tables.get(path) == spelled for path, spelled in asked.items())


def _may_hold(shared: _Shared, asked: dict[Path, SpelledTable]) -> bool:
    """Tell whether tables may be added: no path of theirs stands for another one."""
    if len({*shared.tables, *asked}) > _MOST_TABLES:
        return False
    return all(shared.tables.get(path, spelled) == spelled for path, spelled in asked.items())


def _names_any(sql: str, names: set[str]) -> bool:
    """Tell whether one of these names may stand in a text."""
    text = _lower(sql)
    words = set(_WORD.findall(text))
    return any(name in (words if _WORD.fullmatch(name) else text) for name in names)


_WORD = re.compile(r"\w+", re.ASCII)


def _lower(text: str) -> str:
    """Lower the letters that the engine lowers."""
    return text.encode().lower().decode()
