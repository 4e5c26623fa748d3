"""Which partitions a query leaves unnamed: what its agent can do to have it read less."""

from __future__ import annotations

from keystile.analysis.analysed import Analysed
from keystile.model.decision import Decision
from keystile.model.facts import Use

_CHOOSING = frozenset({Use.FILTER, Use.JOIN})


def unnamed_partitions(analysed: Analysed, decision: Decision) -> tuple[str, ...]:
    """Name the columns that tables are partitioned by and that the query asks nothing of.

    Left out are those by which BigQuery would leave out nothing: a column that is masked, and one
    of a table whose rows are filtered.
    """
    facts = analysed.facts
    asked = {
        (use.column.table, use.column.path[0].lower())
        for use in facts.columns
        if not _CHOOSING.isdisjoint(use.uses)
    }
    asked |= {(one.column.table, one.column.path[0].lower()) for one in decision.masks}
    filtered = {one.table for one in decision.row_filters}
    return tuple(
        sorted(
            f"{table.id}.{table.partitioned_by}"
            for table in analysed.tables
            if table.partitioned_by
            and table.id in facts.reads
            and table.id not in filtered
            and (table.id, table.partitioned_by.lower()) not in asked
        )
    )
