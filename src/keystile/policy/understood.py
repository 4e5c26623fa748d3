"""Whether all that a query names is known, and which labels are on the columns that it uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from keystile.model.facts import QueryFacts, Use, used_columns
from keystile.model.schema import Table, TableId
from keystile.policy.conditions import TouchedLabels
from keystile.policy.labels import Path

Covered = Mapping[TableId, Mapping[Path, frozenset[str]]]

_ROW_CHOOSING_USES = frozenset({Use.FILTER, Use.JOIN})


class NotUnderstoodError(Exception):
    """Something of a query is not known; what it says is the sentence for its author."""


def touched_labels(facts: QueryFacts, tables: Sequence[Table], covered: Covered) -> TouchedLabels:
    """Give the labels that a query touches. `covered` has those of every column of `tables`.

    Raises `NotUnderstoodError` for a query that is not understood.
    """
    _check_tables(facts, tables, covered)
    touches: set[str] = set()
    outputs: set[str] = set()
    filters: set[str] = set()
    try:
        for use in facts.columns:
            if labels := covered[use.column.table][use.column.path]:
                touches |= labels
                if Use.OUTPUT in use.uses:
                    outputs |= labels
                if not _ROW_CHOOSING_USES.isdisjoint(use.uses):
                    filters |= labels
        for column in facts.output:
            for source in column.sources:
                if labels := covered[source.table][source.path]:
                    outputs |= labels
    except KeyError:
        unknown = next(
            column
            for column in used_columns(facts)
            if column.path not in covered.get(column.table, ())
        )
        message = (
            f"column `{unknown}` is not in its table's schema, so the query is refused;"
            " leave it out, or try again if the table has just changed"
        )
        raise NotUnderstoodError(message) from None
    return TouchedLabels(touches | outputs, outputs, filters)


def _check_tables(facts: QueryFacts, tables: Sequence[Table], covered: Covered) -> None:
    if facts.opaque:
        what = facts.opaque[0]
        place = f" at [{what.line}:{what.column}]" if what.line else ""
        hint = what.hint or "write it without"
        message = f"{what.what}{place} is not understood, so the query is refused; {hint}"
        raise NotUnderstoodError(message)
    if not facts.actions:
        message = (
            f"what a `{facts.statement}` statement does is not known, so it is refused; write"
            " it as statements of other kinds"
        )
        raise NotUnderstoodError(message)
    for table in (*facts.reads, *facts.writes):
        if table in covered or (table in facts.unseen and table not in facts.reads):
            continue
        if not any(table == member.id for one in tables for member in one.members):
            message = (
                f"the schema of `{table}` is not known, so the query is refused; read another"
                " table, or ask the gateway's operator"
            )
            raise NotUnderstoodError(message)
