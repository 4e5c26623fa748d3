"""Routines whose own text reads a protected column: that text stays as it is, so none is called."""

from __future__ import annotations

from collections.abc import Iterable

from keystile.analysis.analysed import Analysed
from keystile.masking.task import MaskedColumn
from keystile.masking.within import Within, names_of
from keystile.model.errors import RefusedError

HAND_IN = (
    "write what it does into the query, or call one that is handed the values as arguments, which"
    " are masked"
)
"""What to do instead: where a query itself reads a table, it reads it masked."""


def check(analysed: Analysed, columns: Iterable[MaskedColumn]) -> None:
    """Raise `RefusedError` where a mask falls on a column that the text of a routine reads."""
    masked = Within((column.table, *column.path) for column in columns)
    places = {call.id: (call.line, call.column) for call in analysed.calls}
    for called in analysed.scope.routines:
        reads = () if called.masked else called.reads
        if any(masked.touches(names_of(ref)) for ref in reads):
            # Which column it is stands in a text that the agent may not know.
            raise RefusedError(
                f"the routine `{called.routine.id}` reads a column that is masked for you",
                hint=HAND_IN,
                place=places.get(called.routine.id, (0, 0)),
            )
