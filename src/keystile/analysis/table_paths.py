"""The tables that a parse tree names, for the many queries whose names are plain.

The engine has a method for it that parses the text once more. Where the tree leaves no doubt the
answer is the same; where it does, such as a path that may begin with an alias, this gives None and
the engine is asked. INVARIANT: a table that was missed here is not in the engine's catalog either,
so the query does not resolve and is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from keystile.analysis.names import Path
from keystile.analysis.tree import descendants, kind
from keystile.googlesql.protos import has, unwrapped

# What names tables in other ways than a path in FROM, or changes what such a path sees.
_ASK = frozenset(
    {"ASTAliasedGroupRows", "ASTFromQuery", "ASTModelClause", "ASTConnectionClause", "ASTTVF"}
)
_ASK_FAMILIES = ("ASTPipe", "ASTGraph", "ASTGql", "ASTTableClause", "ASTDescriptor", "ASTSubpipe")


def table_paths(tree: Any, nodes: Iterable[Any]) -> tuple[Path, ...] | None:
    """Give the tables that a statement names as spelled, or None where the engine must be asked.

    `nodes` are all of the tree. Names of common table expressions are left out.
    """
    if kind(tree) != "ASTQueryStatement":
        return None
    paths: set[Path] = set()
    aliases: set[str] = set()
    withs = []
    for node in nodes:
        name = kind(node)
        if name == "ASTTablePathExpression":
            if has(node, "path_expr"):
                paths.add(_names(node))
        elif name == "ASTAlias":
            aliases.add(node.identifier.id_string.lower())
        elif name == "ASTWithClause":
            withs.append(node)
        elif name in _ASK or name.startswith(_ASK_FAMILIES):
            return None
    aliases |= {path[-1].lower() for path in paths}
    local = {entry.alias.id_string.lower() for clause in withs for entry in _entries(clause)}
    if any(len(path) > 1 and path[0].lower() in aliases | local for path in paths):
        return None
    if local and not _is_plain(tree, withs):
        return None
    return tuple(sorted(path for path in paths if path[0].lower() not in local))


def _is_plain(tree: Any, withs: list[Any]) -> bool:
    """Tell whether each common table expression is seen by all that comes after it, and only that.

    That is so where there is one WITH, at the top, and none of it names itself or a later one.
    """
    if len(withs) != 1 or withs[0].recursive or not has(unwrapped(tree.query), "with_clause"):
        return False
    later: set[str] = set()
    for entry in reversed(_entries(withs[0])):
        later.add(entry.alias.id_string.lower())
        for node in descendants(entry):
            if kind(node) == "ASTTablePathExpression" and has(node, "path_expr"):
                path = _names(node)
                if len(path) == 1 and path[0].lower() in later:
                    return False
    return True


def _entries(clause: Any) -> list[Any]:
    return [entry.aliased_query for entry in clause.entries]


def _names(reference: Any) -> Path:
    return tuple(name.id_string for name in reference.path_expr.names)
