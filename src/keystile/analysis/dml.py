"""Walks INSERT, UPDATE, DELETE, MERGE and TRUNCATE, and notes what each target column gets.

INVARIANT: a target is written, not read: its columns count as read where an expression names them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from keystile.analysis.lineage import NOTHING, Value, by_name, merged
from keystile.analysis.scans import Walk
from keystile.analysis.tree import children, kind
from keystile.googlesql.protos import has, inherited, unwrapped
from keystile.model.facts import OutputColumn, Use, WrittenColumn
from keystile.model.schema import ColumnRef, Field, Table

Path = tuple[str, ...]


class StatementWalk(Walk):
    """A walk that also notes which columns the statement fills, and from what."""

    def __init__(self, tables: Mapping[str, Table]) -> None:
        """`tables` are by their full name, which the catalog gave the engine."""
        super().__init__(tables)
        self._target: Table | None = None
        self._columns_of_target: dict[str, Field] = {}
        self._filled: dict[ColumnRef, list[Value]] = {}

    @property
    def written(self) -> tuple[WrittenColumn, ...]:
        """The columns of the target that get values."""
        filled = [(ref, merged(values)) for ref, values in sorted(self._filled.items())]
        return tuple(
            WrittenColumn(
                ref, tuple(sorted(value.sources)), value.place.ref if value.place else None
            )
            for ref, value in filled
        )

    def target(self, scan: Any) -> None:
        """Bind the columns of the table that the statement changes."""
        self._target = self.table(scan, written=True)
        fields = self._target.fields if self._target else ()
        self._columns_of_target = by_name(fields)

    def fill(self, path: Path, value: Value) -> None:
        """Note that a column or field of the target gets a value."""
        if self._target and path:
            ref = ColumnRef(self._target.id, _spelled(self._columns_of_target, path))
            self._filled.setdefault(ref, []).append(value)


def insert(walk: StatementWalk, node: Any) -> tuple[OutputColumn, ...]:
    """Walk INSERT."""
    walk.target(node.table_scan)
    paths = [(column.name,) for column in node.insert_column_list]
    if has(node, "query"):
        walk.scan(node.query)
        for path, column in zip(paths, node.query_output_column_list, strict=True):
            value = walk.column(column)
            walk.use(value, Use.OUTPUT)
            walk.fill(path, value)
    for row in node.row_list:
        _row(walk, paths, row)
    only(walk, node, {"table_scan", "query", "row_list"})
    return ()


def update(walk: StatementWalk, node: Any) -> tuple[OutputColumn, ...]:
    """Walk UPDATE."""
    walk.target(node.table_scan)
    if has(node, "from_scan"):
        walk.scan(node.from_scan)
    if has(node, "where_expr"):
        walk.used(node.where_expr, Use.FILTER)
    _assignments(walk, node.update_item_list)
    only(walk, node, {"table_scan", "from_scan", "where_expr", "update_item_list"})
    return ()


def delete(walk: StatementWalk, node: Any) -> tuple[OutputColumn, ...]:
    """Walk DELETE and TRUNCATE."""
    walk.target(node.table_scan)
    if has(node, "where_expr"):
        walk.used(node.where_expr, Use.FILTER)
    only(walk, node, {"table_scan", "where_expr"})
    return ()


def merge(walk: StatementWalk, node: Any) -> tuple[OutputColumn, ...]:
    """Walk MERGE."""
    walk.target(node.table_scan)
    walk.scan(node.from_scan)
    walk.used(node.merge_expr, Use.JOIN)
    for when in node.when_clause_list:
        if has(when, "match_expr"):
            walk.used(when.match_expr, Use.FILTER)
        if has(when, "insert_row"):
            _row(walk, [(column.name,) for column in when.insert_column_list], when.insert_row)
        _assignments(walk, when.update_item_list)
    only(walk, node, {"table_scan", "from_scan", "merge_expr", "when_clause_list"})
    return ()


def only(walk: Walk, node: Any, fields: AbstractSet[str]) -> None:
    """Doubt everything of a statement that was not walked."""
    for field, child in children(node):
        if field not in fields | {"hint_list", "query_parameter_list"}:
            walk.doubt(f"`{field}` of this statement", child)


def target_path(target: Any) -> Path:
    """Give the path of the column or field that an assignment sets; empty where it is neither."""
    names: list[str] = []
    node = unwrapped(target)
    while kind(node) == "ResolvedGetStructField":
        fields = inherited(unwrapped(node.expr), "type").struct_type.field
        names.append(fields[node.field_idx].field_name)
        node = unwrapped(node.expr)
    if kind(node) != "ResolvedColumnRef":
        return ()
    return (node.column.name, *reversed(names))


def _row(walk: StatementWalk, paths: Iterable[Path], row: Any) -> None:
    for path, value in zip(paths, row.value_list, strict=True):
        walk.fill(path, walk.used(value, Use.OUTPUT))


def _assignments(walk: StatementWalk, items: Any) -> None:
    for item in items:
        if not (path := target_path(item.target)):
            walk.doubt("DML on a nested field", item)
        value = NOTHING
        for field, child in children(item):
            if field == "set_value":
                value = walk.used(child, Use.OUTPUT)
            elif field != "target":
                walk.doubt("DML on a nested field", child)
        walk.fill(path, value)


def _spelled(fields: Mapping[str, Field], path: Path) -> Path:
    """Give a path as the schema spells it."""
    if not path:
        return ()
    field = fields.get(path[0].lower())
    beneath = by_name(field.fields) if field else {}
    return (field.name if field else path[0], *_spelled(beneath, path[1:]))
