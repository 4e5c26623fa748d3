"""What views and routines have in common: texts that others wrote, which read and call further."""

from __future__ import annotations

from keystile.model.schema import RoutineId, TableId

Above = tuple[TableId | RoutineId, ...]
"""The views and routines through whose texts a name was reached, outermost first."""

DEEPEST = 16
"""How many of them may stand on one another: BigQuery's own limit of views on views."""


class NotReadyError(Exception):
    """A view or a routine is not understood; the text says what of it, and names no table."""


def within(above: Above, id_: TableId | RoutineId) -> Above:
    """Go one text deeper. Raises `NotReadyError` where that text is read already, or too deep."""
    if id_ in above:
        raise NotReadyError("a text that leads back to itself")
    if len(above) >= DEEPEST:
        raise too_deep()
    return (*above, id_)


def too_deep() -> NotReadyError:
    """Say that too many texts stand on one another."""
    return NotReadyError(f"more than {DEEPEST} views and routines on one another")


def without_names(what: str) -> str:
    """Leave the names of tables and routines out; functions are everybody's."""
    return what if what.startswith("function ") else what.partition("`")[0].strip()


def what_of(error: NotReadyError) -> str:
    """Say what is not understood, as it goes on after the name of the view or the routine."""
    return f" with {error}" if error.args[0] else ""
