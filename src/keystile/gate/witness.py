"""The second witness: BigQuery's dry run of the rewritten text must tell the same story as ours."""

from __future__ import annotations

from collections.abc import Iterator

from keystile.analysis.wildcard import stands_for
from keystile.model.errors import RefusedError
from keystile.model.facts import QueryFacts
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


def agree_at_the_end(facts: QueryFacts, planned: tuple[Field, ...], got: tuple[Field, ...]) -> None:
    """Compare the result's schema with the plan's, once the query has run.

    Raises `RefusedError` when a table has changed in between: what it got since was not decided on.
    """
    if facts.statement == "SELECT" and _shape(planned) != _shape(got):
        raise RefusedError(
            "a table of this query got other columns while it ran, so its result is withheld",
            hint="run it again",
        )


def _differences(facts: QueryFacts, schema: tuple[Field, ...], witness: DryRun) -> Iterator[str]:
    if witness.statement_type != facts.statement:
        yield f"the statement is `{witness.statement_type}` there and `{facts.statement}` here"
    if facts.statement != "SELECT":
        return
    if odd := _odd_tables(facts, set(witness.referenced_tables)):
        yield f"the tables differ in {', '.join(f'`{table}`' for table in sorted(odd))}"
    if _shape(schema) != _shape(witness.schema):
        yield "the result's columns differ"


def _odd_tables(facts: QueryFacts, there: set[TableId]) -> set[TableId]:
    """Give the tables that only one of both names.

    Of a wildcard BigQuery may name it, or those of its tables that the query needs.
    """
    here, wildcards = set(facts.reads), set(facts.wildcards)
    odd = there - here - wildcards
    for wildcard in wildcards:
        members = {table for table in here if stands_for(wildcard, table)}
        if wildcard in there or members & there:
            here -= members - there
        else:
            odd.add(wildcard)
    return odd | (here - there)


def _shape(fields: tuple[Field, ...]) -> list[tuple[str, str]]:
    return [(field.name, str(field.sql_type)) for field in fields]
