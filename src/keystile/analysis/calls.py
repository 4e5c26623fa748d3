"""Calls of persistent routines in a parse tree."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from keystile.analysis.functions import ALIASES, ALLOWED
from keystile.analysis.names import Path, split
from keystile.analysis.parsing import identifiers
from keystile.analysis.text import Edit, quoted
from keystile.analysis.tree import kind, span
from keystile.model.errors import InvalidQueryError
from keystile.model.schema import RoutineId

_NODES = {"ASTFunctionCall": "function", "ASTTVF": "name"}
"""The nodes that call something, and the field that names it."""

_SHORTEST, _LONGEST = 2, 3

# Google's own: what is not on the list of functions there is refused, not looked up in a dataset.
_OWN = frozenset({"aead", "ai", "hll_count", "keys", "kll_quantiles", "ml", "net", "obj", "safe"})


def calls(node: Any) -> bool:
    """Tell whether a node calls a function or a routine."""
    return kind(node) in _NODES


def called(node: Any) -> Path:
    """Give the path of the routine that a node calls, as spelled; empty where it calls none.

    A name without a dataset is a function of GoogleSQL, or a temporary one. `SAFE.` is no part of
    the name.
    """
    field = _NODES.get(kind(node))
    if field is None:
        return ()
    path = identifiers(getattr(node, field))
    if path[0].lower() == "safe":
        path = path[1:]
    if not _SHORTEST <= len(path) <= _LONGEST or path[0].lower() in _OWN:
        return ()
    return path


def in_full(node: Any, id_: RoutineId) -> Edit:
    """Name the routine that a node calls by its full name, whatever the defaults are there."""
    path = getattr(node, _NODES[kind(node)])
    place = span(path)
    if place is None:
        raise InvalidQueryError("a routine of the view is named in a form that is not understood")
    safe = identifiers(path)[:1] if identifiers(path)[0].lower() == "safe" else ()
    return Edit(*place, ".".join((*safe, *map(quoted, id_.path))))


def routine_id(path: Path, project: str, dataset: str = "") -> RoutineId:
    """Complete a path with the default project and, where it names none, the default dataset.

    Raises `InvalidQueryError` where there is none, in BigQuery's words.
    """
    if len(path) == 1:
        home = split((dataset,)) if dataset else ()
        if not home:
            raise InvalidQueryError(
                f'Routine name "{path[0]}" missing dataset while no default dataset is set in the'
                " request."
            )
        path = (*home, *path)
    return RoutineId(*(project, *path)[-_LONGEST:])


def doubt_of_any_type(named: Collection[object], functions: Iterable[str]) -> str:
    """Say what is not understood of a text whose types are those of each call.

    The engine resolves it anew for each call and does not show what it made of it, so the text may
    hold nothing but functions of its arguments. `named` are the tables and routines in it.
    """
    if named:
        return "an argument of any type, and tables or routines"
    unknown = sorted(set(functions) - ALLOWED - ALIASES)
    return f"function `{unknown[0].upper()}`" if unknown else ""


def function(node: Any) -> str:
    """Give the name of the function that a node calls, in lower case; empty where it calls none."""
    if kind(node) != "ASTFunctionCall" or called(node):
        return ""
    return ".".join(identifiers(node.function)).lower().removeprefix("safe.")
