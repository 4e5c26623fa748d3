"""Parse trees, table names and the canonical spelling of table paths."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from keystile.analysis.names import Path, split
from keystile.analysis.places import line_and_column
from keystile.analysis.table_paths import table_paths
from keystile.analysis.text import Edit, quoted, splice
from keystile.analysis.tree import edges, kind, span
from keystile.analysis.words import in_bigquery_words
from keystile.googlesql.engine import Engine
from keystile.googlesql.messages import service
from keystile.googlesql.protos import language_options, unwrapped
from keystile.model.errors import InvalidQueryError, RefusedError


class Parsed(NamedTuple):
    """A parse tree; `sql` is what it was made from and `script` whether it is several statements.

    `nodes` are all of the tree, parents first; none of a script.

    `paths` are the tables that it names as spelled, names of common table expressions left out, and
    `splits` what brings the text as it came into canonical spelling; nothing of either for a
    script, whose statements are parsed one by one.
    """

    sql: str
    tree: Any
    script: bool
    paths: tuple[Path, ...]
    splits: list[Edit]
    nodes: tuple[Any, ...] = ()


def parse(engine: Engine, sql: str) -> Parsed:
    """Parse the text with quoted table paths split at their dots (`` `p`.`d`.`t` ``).

    Raises `InvalidQueryError` where it does not parse, and `RefusedError` where splitting would
    change which tables are named.
    """
    first = _parse(engine, sql)
    if first.script:
        return first
    canonical = splice(sql, first.splits)
    if canonical == sql:
        return first
    second = _parse(engine, canonical)
    _check_same_tables(first, second)
    return second._replace(splits=first.splits)


def statement_tree(engine: Engine, sql: str) -> Any:
    """Parse a text that holds one statement. Raises `InvalidQueryError`."""
    request = service.ParseRequest(sql_statement=sql, options=language_options(engine))
    return unwrapped(engine.call("Parse", request, service.ParseResponse).parsed_statement)


def identifiers(path: Any) -> Path:
    """Give the names of a path expression."""
    return tuple(name.id_string for name in path.names)


def _parse(engine: Engine, sql: str) -> Parsed:
    try:
        tree = statement_tree(engine, sql)
    except InvalidQueryError:
        request = service.ParseRequest(
            sql_statement=sql, options=language_options(engine), allow_script=True
        )
        try:
            with in_bigquery_words():
                tree = engine.call("Parse", request, service.ParseResponse).parsed_script
        except InvalidQueryError as error:
            raise InvalidQueryError(error.message, hint=_legacy_hint(sql)) from None
        return Parsed(sql, tree, script=True, paths=(), splits=[])
    found = list(edges(tree))
    nodes = (tree, *(node for _, node in found))
    paths = table_paths(tree, nodes[1:])
    if paths is None:
        paths = _paths(engine, sql)
    return Parsed(sql, tree, script=False, paths=paths, splits=_splits(found), nodes=nodes)


# `FROM [project:dataset.table]` and `JOIN [dataset.table]` of BigQuery's old dialect.
_LEGACY_TABLE = re.compile(r"\b(?:FROM|JOIN)\s+\[([\w\-:.$]{1,200})\]", re.IGNORECASE)


def _legacy_hint(sql: str) -> str:
    """Say how GoogleSQL names a table that stands in the brackets of the old dialect."""
    found = _LEGACY_TABLE.search(sql)
    if found is None:
        return ""
    name = found[1].replace(":", ".")
    return f"legacy SQL is not served; write `{name}` in backticks instead of `[{found[1]}]`"


def _paths(engine: Engine, sql: str) -> tuple[Path, ...]:
    request = service.ExtractTableNamesFromStatementRequest(
        sql_statement=sql, options=language_options(engine)
    )
    with in_bigquery_words():
        answer = engine.call(
            "ExtractTableNamesFromStatement",
            request,
            service.ExtractTableNamesFromStatementResponse,
        )
    return tuple(sorted(tuple(table.table_name_segment) for table in answer.table_name))


def _check_same_tables(spelled: Parsed, canonical: Parsed) -> None:
    # To the engine a quoted `t.c` is one name; to BigQuery it may be a table or a column of an
    # alias `t`. Where splitting changes which tables are named, the two could disagree.
    doubtful = {split(path) for path in spelled.paths} ^ {split(path) for path in canonical.paths}
    if doubtful:
        name = min(doubtful)
        paths = (node for _, node in edges(spelled.tree) if kind(node) == "ASTPathExpression")
        quoted_ones = (node for node in paths if identifiers(node) != name)
        found = next((node for node in quoted_ones if split(identifiers(node)) == name), None)
        place = span(found) if found is not None else None
        raise RefusedError(
            f"`{'.'.join(name)}` may name a table or a column",
            hint="write each part in its own backticks",
            place=line_and_column(spelled.sql, place.start) if place else (0, 0),
        )


_TABLE_FIELDS = frozenset(
    {
        "function",
        "like_table_name",
        "name",
        "path",
        "path_expr",
        "table_name",
        "table_path",
        "target_path",
    }
)
"""The fields that hold the path of a table or a routine."""


def _splits(found: Iterable[tuple[str, Any]]) -> list[Edit]:
    edits = []
    for field, node in found:
        if field not in _TABLE_FIELDS or kind(node) != "ASTPathExpression":
            continue
        path, place = identifiers(node), span(node)
        if place and any("." in part for part in path):
            edits.append(Edit(*place, ".".join(quoted(part) for part in split(path))))
    return edits
