"""Whether columns lie within one another, in a time that does not grow with how many there are."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from keystile.model.schema import ColumnRef

Names = tuple[Hashable, ...]
"""What leads to a column or a nested field, from above."""


class Within:
    """Columns and nested fields, each by what leads to it."""

    def __init__(self, columns: Iterable[Names]) -> None:
        """Take them all."""
        self._at = frozenset(columns)
        self._above = frozenset(names[:depth] for names in self._at for depth in range(len(names)))

    def covers(self, names: Names) -> bool:
        """Tell whether one of them is this one or lies above it."""
        return any(names[:depth] in self._at for depth in range(len(names) + 1))

    def touches(self, names: Names) -> bool:
        """Tell whether one of them is this one, or lies above or beneath it."""
        return names in self._above or self.covers(names)


def names_of(column: ColumnRef) -> Names:
    """Say what leads to a column: its table first."""
    return column.table, *column.path
