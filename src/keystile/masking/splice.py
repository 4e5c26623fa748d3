"""Puts a masking subquery in the place of each reference to a protected table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from keystile.analysis.information_schema import view_of
from keystile.analysis.mentions import Mention, refused
from keystile.analysis.parsing import identifiers
from keystile.analysis.resolve import Scan
from keystile.analysis.text import Edit, quoted, splice
from keystile.analysis.tree import Span, descendants, kind, span
from keystile.googlesql.protos import has, inherited, unwrapped
from keystile.masking import pseudo
from keystile.masking.metadata import metadata_query
from keystile.masking.sql import Masking, Path
from keystile.model.errors import RefusedError
from keystile.model.masks import Mask
from keystile.model.schema import Field, Table, TableKind


class ProtectedTable(msgspec.Struct, frozen=True):
    """A table and the masks of its columns, by path; a path of a STRUCT stands for its leaves.

    `renamed` are the names under which its pseudo columns are put out, which else they are not.
    `where` is the condition under which a row is read, empty for all rows; in it the row is `row`.
    """

    table: Table
    masks: dict[Path, Mask]
    renamed: dict[str, str] = {}
    where: str = ""

    @property
    def row(self) -> str:
        """What the subquery calls a row of the table."""
        return f"{_fresh(self.table.fields)}_row"

    def subquery(self, rows: str = "") -> str:
        """Give the query that reads the table masked, in the table's own columns and types.

        `rows` are clauses that say of when and how many the rows are.
        """
        row = self.row
        if view := view_of(self.table.id):
            return metadata_query(self.table, view, row)
        masking = Masking(self.masks, row.removesuffix("_row"))
        items = []
        for field in self.table.fields:
            name = quoted(field.name)
            masked = masking.of(field.sql_type, (field.name,), f"{row}.{name}")
            # INVARIANT: each column by its name, never `*`: a column that the table gets after the
            # masks were chosen, and that may be protected, is not read.
            items.append(f"{self._seen(masked or f'{row}.{name}')} AS {name}")
        if self.renamed:
            items += [
                f"{self._seen(f'{row}.{field.name}')} AS {self.renamed[field.name.upper()]}"
                for field in self.table.pseudo_columns
            ]
        table = self.table.id
        path = ".".join(quoted(part) for part in (table.project, table.dataset, table.table))
        # Names stand in backticks and values are literals; the proof resolves the result anew.
        some = f" WHERE {self.where}" if self.where else ""
        return f"SELECT {', '.join(items)} FROM {path} AS {row}{rows}{some}"  # noqa: S608

    def _seen(self, value: str) -> str:
        # INVARIANT: of a row that is filtered out no value is handed on. BigQuery may look at a
        # condition of the query before it looks at this one, and an error would tell what it saw.
        return f"IF({self.where}, {value}, NULL)" if self.where else value

    @property
    def columns(self) -> frozenset[str]:
        """The top-level columns of which anything is masked, or none is shown for some rows."""
        if self.where:
            fields = (*self.table.fields, *self.table.pseudo_columns)
            return frozenset(field.name for field in fields)
        if view := view_of(self.table.id):
            return view.withheld
        return frozenset(path[0] for path in self.masks)


def spliced(
    sql: str,
    tree: Any,
    scans: Iterable[Scan],
    protected: Iterable[ProtectedTable],
    mentions: tuple[Mention, ...],
) -> str:
    """Give the text with every reference to a protected table masked.

    `tree` is the parse tree, `scans` are where the resolved tree reads tables, and `mentions` say
    how a refusal names them. Raises `RefusedError` where a reference stands in a form that cannot
    be replaced.
    """
    by_id = {table.table.id: table for table in protected}
    wanted = {Span(s.start, s.end): by_id[s.table] for s in scans if s.table in by_id}
    edits: list[Edit] = []
    with_pseudo = []
    for node in descendants(tree):
        if kind(node) != "ASTTablePathExpression" or not has(node, "path_expr"):
            continue
        table = wanted.pop(span(node.path_expr) or Span(-1, -1), None)
        if table:
            _check_plain(node, table, mentions)
            edits += _edits(sql, node, table)
            if table.renamed and table.table.pseudo_columns:
                with_pseudo.append(pseudo.Reference(node, table.table))
    if wanted:
        missed = next(iter(wanted.values())).table.id
        raise refused(
            mentions,
            missed,
            "{} has masked columns and is named in a form that cannot be masked",
            hint="name it in a FROM clause",
        )
    edits += pseudo.edits(tree, next((t.renamed for t in by_id.values()), {}), with_pseudo)
    return splice(sql, edits)


def _edits(sql: str, node: Any, table: ProtectedTable) -> Iterator[Edit]:
    """Put the subquery in, and move what says which rows are read into it."""
    alias = "" if has(node, "alias") else f" AS {quoted(identifiers(node.path_expr)[-1])}"
    data, rows = sql.encode(), ""
    for clause in _row_clauses(node):
        place = _place(clause)
        rows += f" {data[place.start : place.end].decode()}"
        yield Edit(*place, "")
    yield Edit(*_place(node.path_expr), f"({table.subquery(rows)}){alias}")


def _row_clauses(node: Any) -> Iterator[Any]:
    """Give FOR SYSTEM_TIME and TABLESAMPLE, where they belong to the table itself."""
    if has(node, "for_system_time"):
        yield node.for_system_time
    operators = [unwrapped(operator) for operator in inherited(node, "postfix_operators")]
    if operators and kind(operators[0]) == "ASTSampleClause":
        yield operators[0]


def _check_plain(node: Any, table: ProtectedTable, mentions: tuple[Mention, ...]) -> None:
    operators = inherited(node, "postfix_operators")
    is_metadata = table.table.kind is TableKind.METADATA
    parts = {
        "a hint": has(node, "hint"),
        "WITH OFFSET": has(node, "with_offset"),
        "FOR SYSTEM_TIME": is_metadata and has(node, "for_system_time"),
        "TABLESAMPLE of a part of it": any(
            kind(inner) == "ASTSampleClause"
            for operator in (operators if is_metadata else operators[1:])
            for inner in descendants(operator)
        ),
    }
    for what, is_there in parts.items():
        if is_there:
            raise refused(
                mentions,
                table.table.id,
                f"{{}} is read through a filter or masks and cannot be read with {what}",
                hint="leave that out",
            )


def _place(node: Any) -> Span:
    place = span(node)
    if place is None:
        raise RefusedError("a table reference has no place in the text", hint="write it plainly")
    return place


def _fresh(fields: Iterable[Field]) -> str:
    """Give a beginning of names that no field of the table shares."""
    taken = set(_names(fields))
    names = "keystile"
    while any(name.startswith(names) for name in taken):
        names += "_"
    return names


def _names(fields: Iterable[Field]) -> Iterable[str]:
    for field in fields:
        yield field.name.lower()
        yield from _names(field.fields)
