"""Masks of views' columns, carried down to the columns that they derive from."""

from __future__ import annotations

from collections.abc import Iterable

from keystile.analysis.analysed import Analysed
from keystile.analysis.mentions import refused
from keystile.model.decision import ColumnMask
from keystile.model.schema import ColumnRef


def carried_down(masks: Iterable[ColumnMask], analysed: Analysed) -> tuple[ColumnMask, ...]:
    """Give the masks with those of views' columns put on what these derive from.

    A view is replaced by its text, so a mask of its own has no place to stand. INVARIANT: what the
    policy masks in a view alone is masked beneath it, for all of the statement; what is masked
    beneath already keeps the mask it has there, so that it is not masked twice. Raises
    `RefusedError` where a column that the statement uses derives from nothing that has a mask.
    """
    views = {view.view for view in analysed.facts.views}
    of_tables = [mask for mask in masks if mask.column.table not in views]
    waiting = [
        mask for mask in masks if mask.column.table in views and _is_used(mask.column, analysed)
    ]
    sources = {column.column: column.sources for column in analysed.derived}
    added: dict[ColumnMask, None] = {}
    while waiting:
        mask = waiting.pop()
        beneath = sources.get(ColumnRef(mask.column.table, mask.column.path[:1]), ())
        if not beneath or any(ref.table in analysed.facts.wildcards for ref in beneath):
            raise refused(
                analysed.mentions,
                mask.column,
                "{} is masked for you, and what it derives from cannot be masked",
                hint="leave it out",
            )
        for ref in beneath:
            carried = ColumnMask(ref, mask.label, mask.mask)
            if ref.table in views:
                waiting.append(carried)
            elif not any(_covers(one.column, ref) for one in of_tables):
                added[carried] = None
    return (*of_tables, *added)


def _is_used(column: ColumnRef, analysed: Analysed) -> bool:
    return any(
        _covers(column, use.column) or _covers(use.column, column) for use in analysed.facts.columns
    )


def _covers(above: ColumnRef, column: ColumnRef) -> bool:
    return above.table == column.table and column.path[: len(above.path)] == above.path
