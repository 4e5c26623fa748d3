"""A query whose result is written into a table of its client's choice.

BigQuery gives the rows of such a job from the table, as it is when somebody asks: with the rows
that were there before, and those that others have written since. So it gets two jobs instead. The
first is the query, and its agent's rows are its result, which nobody can change; the second writes
exactly this result. INVARIANT: no row of the table is given for a row of the query.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from keystile.analysis.analysed import Analysed
from keystile.analysis.text import quoted
from keystile.gate import targets
from keystile.gate.jobs import Job
from keystile.gate.plan import job_labels
from keystile.gate.visible import VisibleObjects
from keystile.model.decision import Decision
from keystile.model.errors import InvalidRequestError, RefusedError
from keystile.model.facts import Action, WrittenColumn
from keystile.model.schema import ColumnRef, Table, TableId, TableKind
from keystile.upstream.values import JobStatus, UpstreamQuery
from keystile.wire.into import Into


async def analysed_into(analysed: Analysed, into: Into, objects: VisibleObjects) -> Analysed:
    """Add to what a query does that its result goes into a table.

    It is what `CREATE OR REPLACE TABLE … AS SELECT` is, or `INSERT … SELECT`, in other words.
    Raises `InvalidRequestError` for another statement than SELECT, and as `targets.target` does.
    """
    facts = analysed.facts
    if facts.statement != "SELECT":
        raise InvalidRequestError(
            f"`destinationTable` is for a SELECT, and this is a `{facts.statement}` statement",
            hint="leave it out, and name the table in the statement: `CREATE TABLE t AS SELECT …`",
        )
    table = await targets.target(into.table, objects)
    actions = {*facts.actions, Action.WRITE}
    if into.reshapes or (into.creates and table is None):
        actions.add(Action.SCHEMA_CHANGE)
    written = tuple(_written(analysed, into.table, table))
    facts = msgspec.structs.replace(
        facts,
        actions=tuple(action for action in Action if action in actions),
        writes=(into.table,),
        unseen=() if table else (into.table,),
        written=written,
        lineage=written,
        anew=(into.table,) if into.replaces else (),
        redefined=targets.redefined(into.table, replaced=into.replaces and into.reshapes),
    )
    # Labels may fit by name what is not there yet. A table that must be new has no values that a
    # mask could take the place of.
    there = table is not None or into.adds or into.replaces
    made = table or Table(into.table, TableKind.TABLE, analysed.schema, "")
    return msgspec.structs.replace(analysed, facts=facts, made=(made,) if there else ())


def refuse_hidden(into: Into, decision: Decision) -> None:
    """Raise `RefusedError` where rows would be replaced that are not for the agent to see."""
    if into.replaces:
        targets.refuse_to_replace(into.table, decision)


def writing(
    job: Job, into: Into, status: JobStatus, most_billed: int | None = None
) -> UpstreamQuery:
    """Give the job that writes the result of a finished query, for so many bytes at most.

    Raises `RefusedError` where BigQuery keeps none.
    """
    if status.result is None:
        raise RefusedError("BigQuery does not say where it keeps the result of the query")
    configuration = dict(into.configuration)
    if Action.SCHEMA_CHANGE not in job.plan.facts.actions:
        configuration |= targets.CREATE_NEVER
    result = status.result
    path = ".".join(map(quoted, (result.project, result.dataset, result.table)))
    return UpstreamQuery(
        project=job.request.project,
        sql=f"SELECT * FROM {path}",  # noqa: S608 - every name stands in backticks
        location=job.location,
        labels=job_labels(job.principal),
        maximum_bytes_billed=most_billed,
        timeout_ms=job.request.job_timeout_ms,
        into=configuration,
    )


def _written(analysed: Analysed, id_: TableId, table: Table | None) -> Iterator[WrittenColumn]:
    """Give the columns that the result fills, as the table spells them."""
    spelled = {field.name.lower(): field.name for field in table.fields} if table else {}
    # The functions that may stand before a query have columns of their own.
    output = analysed.facts.output[len(analysed.facts.output) - len(analysed.schema) :]
    for field, column in zip(analysed.schema, output, strict=True):
        name = spelled.get(field.name.lower(), field.name)
        yield WrittenColumn(ColumnRef(id_, (name,)), column.sources, column.same)
