"""Proves of a rewritten text that nothing reads a protected column unmasked.

It does not trust the splicing. The rewritten text is resolved anew, and every mention of a
protected table must stand directly under the very projection that masks it, equal to what the
engine makes of that projection alone; no column that such a read gives raw may be named anywhere
else in the statement. No routine may be called whose own text reads a protected column: that text
stays as it is. The one mention that is no read is the table that DML changes: of its masked
columns none may be named but to be set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from keystile.analysis.dml import target_path
from keystile.analysis.groups import GOOGLESQL
from keystile.analysis.holding import Holding
from keystile.analysis.tree import kind
from keystile.googlesql.protos import inherited, unwrapped
from keystile.masking.masked_reads import Path, Template, masked_read
from keystile.masking.messages import inner_messages
from keystile.masking.within import Within
from keystile.model.errors import RefusedError
from keystile.model.schema import ColumnRef

_MOST_NAMES = 5

_DML = frozenset(
    {
        "ResolvedDeleteStmt",
        "ResolvedInsertStmt",
        "ResolvedMergeStmt",
        "ResolvedTruncateStmt",
        "ResolvedUpdateStmt",
    }
)

TELLING = Holding(
    "FunctionRefProto",
    "ResolvedColumnProto",
    "ResolvedColumnRefProto",
    "ResolvedGetStructFieldProto",
    "ResolvedProjectScanProto",
    "TableRefProto",
    "TableValuedFunctionRefProto",
)
"""What `_Found` takes note of."""


def prove(
    statement: Any,
    templates: Mapping[str, Template],
    expected: int,
    routines: Mapping[str, frozenset[ColumnRef]],
) -> None:
    """Prove a resolved statement (not pruned) safe, or raise `RefusedError`.

    `templates` are by the full names of the protected tables; `expected` is how many reads of them
    there must be. `routines` says of each routine, by its full name, what its text reads and those
    of the routines that it calls (`Scope.raw_reads`); one that is not among them may read anything.
    """
    found = _Found(templates, routines)
    found.look_at(statement)
    if found.read_in_target:
        column = ".".join(min(found.read_in_target))
        raise RefusedError(
            f"this statement reads `{column}` of the table that it changes, where it cannot be"
            " masked",
            hint=f"choose rows by {found.free} instead, or read it in a subquery, which gives"
            " masked values",
        )
    if found.raw_calls:
        raise RefusedError(
            f"the routine `{min(found.raw_calls)}` reads a column that is masked for you",
            hint="write what it does into the query",
        )
    if found.masked != expected or found.unmasked or found.raw & found.named:
        raise RefusedError(
            "the masked form of this query could not be proved safe",
            hint="write it in a simpler way",
        )


class _Found:
    """What one pass over every message of a statement finds."""

    def __init__(
        self, templates: Mapping[str, Template], routines: Mapping[str, frozenset[ColumnRef]]
    ) -> None:
        self._templates = templates
        self._routines = routines
        self._target: dict[int, str] = {}
        self._of_target = Template(b"", Within(()))
        self.masked = 0
        self.unmasked = 0
        self.raw_calls: set[str] = set()
        self.raw: set[int] = set()
        self.named: set[int] = set()
        self.read_in_target: list[Path] = []

    @property
    def free(self) -> str:
        """Name the columns of the changed table that have no mask, or some of them."""
        names = [f"`{name}`" for name in self._of_target.free]
        shown = ", ".join(names[:_MOST_NAMES]) or "other columns"
        return f"{shown} and others" if len(names) > _MOST_NAMES else shown

    def look_at(self, statement: Any) -> None:
        """Look at every message; a list of those to come, not recursion: trees may be deep."""
        waiting = list(self._of_statement(statement))
        while waiting:
            waiting.extend(self._of(waiting.pop()))

    def _of_statement(self, statement: Any) -> Iterator[Any]:
        """Give what a statement reads; take note of the table that it changes."""
        if kind(statement) not in _DML:
            yield statement
            return
        scan = statement.table_scan
        template = self._templates.get(scan.table.full_name)
        if template is not None:
            self._of_target = template
            columns = inherited(scan, "column_list")
            self._target = {column.column_id: column.name for column in columns}
        else:
            yield scan
        yield from self._without_targets(statement)

    def _without_targets(self, message: Any) -> Iterator[Any]:
        for field, value in message.ListFields():
            if field.message_type is None or field.name in {"table_scan", "insert_column_list"}:
                continue
            for inner in value if field.is_repeated else (value,):
                if inner.DESCRIPTOR.name in {"ResolvedMergeWhenProto", "ResolvedUpdateItemProto"}:
                    yield from self._without_targets(inner)
                elif field.name != "target" or not target_path(inner):
                    yield inner

    def _of(self, message: Any) -> Iterator[Any]:
        """Note what one message says, and give those beneath it that are still to be looked at."""
        name = message.DESCRIPTOR.name
        if name == "ResolvedProjectScanProto" and self._is_masked(message):
            self.masked += 1
            yield message.parent  # the columns that it puts out, not what it makes them of
            return
        if name == "ResolvedColumnProto":
            self._name(message, (message.name,))
        elif name in {"ResolvedColumnRefProto", "ResolvedGetStructFieldProto"}:
            if path := target_path(message):
                self._name(_bottom(message), path)
                return
        elif name == "TableRefProto" and message.full_name in self._templates:
            self.unmasked += 1
        elif name == "FunctionRefProto":
            group, _, called = message.name.partition(":")
            if group != GOOGLESQL:
                self._call(called)
        elif name == "TableValuedFunctionRefProto":
            self._call(message.name)
        yield from inner_messages(message, TELLING)

    def _call(self, routine: str) -> None:
        """Note that a routine is called, where its text may read a masked column."""
        reads = self._routines.get(routine)
        if reads is None or any(
            template.covers(ref.path) if ref.path else template.filtered
            for ref in reads
            if (template := self._templates.get(str(ref.table))) is not None
        ):
            self.raw_calls.add(routine)

    def _name(self, column: Any, path: Path) -> None:
        """Note that a column, or a field of it, is named."""
        self.named.add(column.column_id)
        if column.column_id in self._target:
            path = (self._target[column.column_id], *path[1:])
            if self._of_target.covers(path):
                self.read_in_target.append(path)

    def _is_masked(self, projection: Any) -> bool:
        scan = masked_read(projection, self._templates)
        if scan is None:
            return False
        template = self._templates[scan.table.full_name]
        columns = inherited(scan, "column_list")
        self.raw |= {column.column_id for column in columns if template.holds(column.name)}
        return True


def _bottom(expression: Any) -> Any:
    """Give the column that a chain of fields begins with."""
    node = expression
    while kind(node) == "ResolvedGetStructField":
        node = unwrapped(node.expr)
    return node.column
