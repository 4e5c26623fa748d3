"""Facts in a short form, for tests of what the analysis finds."""

from __future__ import annotations

from keystile.analysis.analysed import Analysed
from keystile.model.schema import ColumnRef


def uses(analysed: Analysed) -> dict[str, str]:
    """Give each column that is used, without `customers.`, and its uses in the order of `Use`."""
    return {_short(use.column): " ".join(use.uses) for use in analysed.facts.columns}


def sources(analysed: Analysed) -> dict[str, str]:
    """Give each output column and what it derives from."""
    return {
        column.name: " ".join(sorted(_short(source) for source in column.sources))
        for column in analysed.facts.output
    }


def _short(column: ColumnRef) -> str:
    return ".".join((column.table.table, *column.path)).removeprefix("customers.")
