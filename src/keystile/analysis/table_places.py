"""Where in a text the tables stand that the resolved tree reads.

The engine gives a scan the place of its table's path, but for `FROM t` as a whole query, and for
what pipe operators such as RENAME leave as it is: there it gives the place of the query.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from keystile.analysis.parsing import statement_tree
from keystile.analysis.tree import Span, descendants, kind, span
from keystile.googlesql.engine import Engine
from keystile.googlesql.protos import has

_NAME = r"(?:`[^`]*`|[\w-]+)"
_PATH = re.compile(rf"{_NAME}(?:\s*\.\s*{_NAME})*")


def path_places(engine: Engine, sql: str, scans: Iterable[Span]) -> dict[Span, Span]:
    """Give for the place of each scan that of the path, or the same where no one path is meant."""
    found = {place: place for place in scans}
    data = sql.encode()
    if all(_PATH.fullmatch(data[place.start : place.end].decode()) for place in found):
        return found
    paths = set(_paths(statement_tree(engine, sql)))
    free = paths - found.keys()
    for place in found.keys() - paths:
        within = [path for path in free if place.start <= path.start and path.end <= place.end]
        if len(within) == 1:
            found[place] = within[0]
    return found


def _paths(tree: Any) -> Iterator[Span]:
    for node in descendants(tree):
        if kind(node) == "ASTTablePathExpression" and has(node, "path_expr"):
            place = span(node.path_expr)
            if place is not None:
                yield place
