"""The second witness: BigQuery's dry run of the rewritten text must tell the same story as ours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from keystile.analysis.information_schema import view_of
from keystile.analysis.wildcard import stands_for
from keystile.masking.moved import Place
from keystile.model.errors import RefusedError
from keystile.model.facts import QueryFacts, ViewReads
from keystile.model.schema import Field, TableId
from keystile.upstream.values import DryRun


def agree(facts: QueryFacts, schema: tuple[Field, ...], witness: DryRun) -> None:
    """Compare statement type, tables and result schema.

    Raises `RefusedError`, naming what differs, when the two do not agree.
    """
    if problem := next(_differences(facts, schema, witness), ""):
        raise RefusedError(
            f"BigQuery and the gateway do not read this query alike: {problem}",
            hint="write it more plainly, or show it to the gateway's operator",
        )


def without_temporary(witness: DryRun, names: Iterable[str]) -> DryRun:
    """Leave out a session's own tables, which lie in a hidden dataset at BigQuery.

    INVARIANT: a table of a hidden dataset that has another name is none of them.
    """
    own = {name.lower() for name in names}
    left = tuple(
        table
        for table in witness.referenced_tables
        if not (table.dataset.startswith("_") and table.table.lower() in own)
    )
    return msgspec.structs.replace(witness, referenced_tables=left)


def as_named(witness: DryRun, places: tuple[Place, ...]) -> DryRun:
    """Give what BigQuery says in the names of the query, for tables that lie elsewhere there."""
    if not places:
        return witness
    named = {place.at: place.named for place in places}
    tables = tuple(named.get(table, table) for table in witness.referenced_tables)
    return msgspec.structs.replace(witness, referenced_tables=tables)


def agree_at_the_end(
    facts: QueryFacts,
    planned: tuple[Field, ...],
    got: tuple[Field, ...],
    results: tuple[tuple[Field, ...], ...] = (),
) -> None:
    """Compare the result's schema with the plan's, once the query has run.

    Which statement of a script gives its result shows only then: `results` are the schemas of all
    that may. A dry run tells none of them. Raises `RefusedError` when a table has changed in
    between: what it got since was not decided on.
    """
    allowed = [_shape(fields) for fields in ((), *results)]
    unplanned = facts.statement == "SCRIPT" and _shape(got) not in allowed
    if unplanned or (facts.statement == "SELECT" and _shape(planned) != _shape(got)):
        raise RefusedError(
            "a table of this query got other columns while it ran, so its result is withheld",
            hint="run it again",
        )


def _differences(facts: QueryFacts, schema: tuple[Field, ...], witness: DryRun) -> Iterator[str]:
    if witness.statement_type != facts.statement:
        yield f"the statement is `{witness.statement_type}` there and `{facts.statement}` here"
    # Which names INFORMATION_SCHEMA has there is not documented.
    metadata = {(view.project, view_of(view)) for view in facts.metadata}
    there = {t for t in witness.referenced_tables if (t.project, view_of(t)) not in metadata}
    if odd := _odd_tables(facts, there) - _left_open(facts):
        # What a view or a routine reads since it was looked at may be hidden from the agent.
        has_texts = facts.views or facts.routines
        shown = sorted(odd.intersection((*facts.reads, *facts.wildcards)) if has_texts else odd)
        yield f"the tables differ{' in ' * bool(shown)}{', '.join(f'`{each}`' for each in shown)}"
    if facts.statement == "SELECT" and _shape(schema) != _shape(witness.schema):
        yield "the result's columns differ"


_LISTS_ALL_READS = frozenset(
    {"CREATE_TABLE_AS_SELECT", "DELETE", "INSERT", "MERGE", "SELECT", "UPDATE"}
)
"""Statements of which a dry run names every table that they read; of others it names no other."""


def _left_open(facts: QueryFacts) -> set[TableId]:
    """Give the tables that BigQuery may name and need not, such as a target that it reads.

    Whether it names what the texts of routines read is not documented.
    """
    if facts.statement == "SELECT":
        return set(facts.through_routines)
    every = (*facts.reads, *facts.wildcards, *(view.view for view in facts.views))
    open_ = {*facts.writes, *facts.through_routines}
    return {*open_, *(() if facts.statement in _LISTS_ALL_READS else every)}


def _odd_tables(facts: QueryFacts, there: set[TableId]) -> set[TableId]:
    """Give the tables that only one of both names.

    Of a wildcard BigQuery may name it, or those of its tables that the query needs. Of a view it
    may name the view, what the view reads, or both: the text that is sent holds the view's name
    where nothing beneath is masked, and its tables where something is.
    """
    here = {*facts.reads, *facts.wildcards}
    named = set(there)
    for view in _from_above(facts.views):
        if view.view in named:
            named.update(view.reads)
    for wildcard in facts.wildcards:
        members = {table for table in facts.reads if stands_for(wildcard, table)}
        if wildcard in named or members & named:
            named |= {wildcard, *members}
    for view in reversed(_from_above(facts.views)):
        if named.issuperset(view.reads):
            named.add(view.view)
    return (there - here) | (here - named)


def _from_above(views: tuple[ViewReads, ...]) -> list[ViewReads]:
    """Sort views so that each comes before those that it reads."""
    left = {view.view: view for view in views}
    found: list[ViewReads] = []
    while left:
        read = {table for view in left.values() for table in view.reads}
        top = [id_ for id_ in left if id_ not in read] or list(left)
        found += [left.pop(id_) for id_ in top]
    return found


def _shape(fields: tuple[Field, ...]) -> list[tuple[str, str]]:
    return [(field.name, str(field.sql_type)) for field in fields]
