"""The same query without some of its columns, to tell an agent what it may ask instead.

It is a guess at what the agent wants: whoever shows it has analysed it and decided on it anew.
"""

from __future__ import annotations

from typing import Any

import msgspec

from keystile.analysis.parsing import statement_tree
from keystile.analysis.text import Edit, quoted, splice
from keystile.analysis.tree import Span, descendants, kind, span
from keystile.googlesql.engine import Engine
from keystile.googlesql.protos import has, unwrapped


class WithoutRequest(msgspec.Struct, frozen=True):
    """A query as the agent wrote it, and the names of columns to leave out."""

    sql: str
    names: tuple[str, ...]


class WithoutText(msgspec.Struct, frozen=True):
    """The query without them; empty where it cannot be said so simply."""

    sql: str = ""


def without(engine: Engine, request: WithoutRequest) -> WithoutText:
    """Leave out each result column that names one of the columns.

    Raises `InvalidQueryError` where the text does not parse as one statement.
    """
    tree = statement_tree(engine, request.sql)
    if kind(tree) != "ASTQueryStatement":
        return WithoutText()
    select: Any = unwrapped(tree.query.query_expr)
    if kind(select) != "ASTSelect" or not has(select, "select_list"):
        return WithoutText()
    data = request.sql.encode()
    names = frozenset(name.lower() for name in request.names)
    kept = []
    columns = select.select_list.columns
    for column in columns:
        place = span(column)
        if place is None:
            return WithoutText()
        text = data[place.start : place.end].decode()
        expression = kind(unwrapped(column.expression))
        if expression in _STARS:
            wanted = ", ".join(_identifier(name) for name in request.names)
            kept.append(f"{text} EXCEPT ({wanted})")
        elif not _names(column) & names:
            kept.append(text)
    whole = span(select.select_list) or Span(0, 0)
    if not kept or (len(kept) < len(columns) and _by_number(tree)):
        return WithoutText()
    return WithoutText(splice(request.sql, [Edit(*whole, ", ".join(kept))]))


_STARS = frozenset({"ASTStar", "ASTDotStar"})


def _by_number(node: Any) -> bool:
    """Tell whether something is grouped or ordered by the number of a result column."""
    return any(
        kind(inner) in {"ASTGroupingItem", "ASTOrderingExpression"}
        and kind(unwrapped(inner.expression)) == "ASTIntLiteral"
        for inner in descendants(node)
    )


def _names(node: Any) -> set[str]:
    found = (inner for inner in descendants(node) if kind(inner) == "ASTIdentifier")
    return {part.lower() for inner in found for part in inner.id_string.split(".")}


def _identifier(name: str) -> str:
    return name if name.isidentifier() and name.isascii() else quoted(name)
