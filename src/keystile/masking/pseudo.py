"""Pseudo columns of tables that are read through a subquery, such as `_PARTITIONTIME`.

BigQuery gives no column of a subquery such a name, so the subquery puts them out under names of
their own, each mention of them is renamed, and no star gives them. The edits go by the parse tree
alone and may be wrong where names are used in unforeseen ways: `same_query` finds that out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from keystile.analysis.parsing import identifiers
from keystile.analysis.text import Edit, quoted
from keystile.analysis.tree import Span, children, descendants, edges, kind, span
from keystile.googlesql.protos import has, unwrapped
from keystile.model.errors import RefusedError
from keystile.model.schema import Table

Names = Mapping[str, str]
"""The names of pseudo columns in upper case, and what they are called outside of the subquery."""


def names(tree: Any, tables: Iterable[Table]) -> Names:
    """Give names for the pseudo columns of these tables; none where the statement names none."""
    tables = tuple(tables)
    pseudo = {field.name.upper() for table in tables for field in table.pseudo_columns}
    spelled = {n.id_string.upper() for n in descendants(tree) if kind(n) == "ASTIdentifier"}
    if pseudo.isdisjoint(spelled):
        return {}
    taken = {field.name.lower() for table in tables for field in table.fields}
    first = "keystile"
    while any(name.startswith(first) for name in taken):
        first += "_"
    return {name: f"{first}{name.lower()}" for name in sorted(pseudo)}


class Reference(NamedTuple):
    """A node of the parse tree that names a table, which is read through a subquery."""

    node: Any
    table: Table


def edits(tree: Any, renamed: Names, references: Collection[Reference]) -> Iterator[Edit]:
    """Rename each mention, and keep stars as they are."""
    if not renamed:
        return
    for column, name in _mentions(tree, renamed):
        place = _place(name)
        given = renamed[name.id_string.upper()]
        # What has no alias is called by its name; that one stays, for better or worse.
        alias = f" AS {quoted(name.id_string)}" if column else ""
        yield Edit(place.start, place.end, f"{given}{alias}")
    yield from _stars(tree, renamed, references)


def _mentions(tree: Any, wanted: Collection[str]) -> Iterator[tuple[bool, Any]]:
    """Give each name that may mean a pseudo column, and whether it is a column without alias."""
    bare = {
        _key(path)
        for node in descendants(tree)
        if kind(node) == "ASTSelectColumn" and not has(node, "alias")
        if kind(path := unwrapped(node.expression)) == "ASTPathExpression"
    }
    for field, node in edges(tree):
        if kind(node) != "ASTPathExpression" or field in {"path_expr", "function"}:
            continue
        last = node.names[-1]
        if last.id_string.upper() in wanted:
            yield _key(node) in bare, last


def _stars(tree: Any, renamed: Names, references: Collection[Reference]) -> Iterator[Edit]:
    by_alias = {_alias(one.node): one.table for one in references}
    by_place = {_key(one.node): one.table for one in references}
    for select in descendants(tree):
        if kind(select) != "ASTSelect":
            continue
        nodes = _directly_in(select.from_clause) if has(select, "from_clause") else ()
        read = [by_place[key] for key in map(_key, nodes) if key in by_place]
        for column in select.select_list.columns:
            star = unwrapped(column.expression)
            of = read if kind(star).startswith("ASTStar") else []
            if kind(star).startswith("ASTDotStar"):
                row = unwrapped(star.expr)
                if kind(row) == "ASTPathExpression" and len(row.names) == 1:
                    table = by_alias.get(row.names[0].id_string.lower())
                    of = [table] if table else []
            if of:
                yield _without(star, _hidden(renamed, of))


def _hidden(renamed: Names, tables: Iterable[Table]) -> str:
    put_out = {field.name.upper() for table in tables for field in table.pseudo_columns}
    return ", ".join(renamed[name] for name in sorted(put_out))


def _without(star: Any, hidden: str) -> Edit:
    """Take columns out of a star."""
    if not has(star, "modifiers"):
        end = _place(star).end
        return Edit(end, end, f" EXCEPT ({hidden})")
    if has(star.modifiers, "except_list"):
        end = _place(star.modifiers.except_list.identifiers[-1]).end
        return Edit(end, end, f", {hidden}")
    start = _place(star.modifiers).start
    return Edit(start, start, f"EXCEPT ({hidden}) ")


def _directly_in(from_clause: Any) -> Iterator[Any]:
    """Give the tables of a FROM clause, but for those of queries in it."""
    waiting = [from_clause]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += [child for _, child in children(node) if kind(child) != "ASTQuery"]


def _alias(reference: Any) -> str:
    if has(reference, "alias"):
        return str(reference.alias.identifier.id_string).lower()
    return identifiers(reference.path_expr)[-1].lower()


def _key(node: Any) -> tuple[str, Any]:
    return kind(node), span(node)


def _place(node: Any) -> Span:
    if (place := span(node)) is None:
        raise not_served()
    return place


def not_served() -> RefusedError:
    """Say that a statement with pseudo columns has no masked form that is known to be the same."""
    return RefusedError(
        "a pseudo column of a table with masked columns is used in a form that is not served",
        hint="name it in a subquery beside the columns that you need, such as `(SELECT a, b,"
        " _PARTITIONTIME AS part FROM t)`, and go on from there",
    )
