"""Masks of views' columns, carried down to the columns that they derive from."""

from __future__ import annotations

from collections.abc import Iterable

from keystile.analysis.analysed import Analysed
from keystile.analysis.mentions import refused
from keystile.masking.within import Within, names_of
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
    used = Within(names_of(use.column) for use in analysed.facts.columns)
    waiting = [
        mask for mask in masks if mask.column.table in views and used.touches(names_of(mask.column))
    ]
    masked = Within(names_of(mask.column) for mask in of_tables)
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
            elif not masked.covers(names_of(ref)):
                added[carried] = None
    return (*of_tables, *added)
