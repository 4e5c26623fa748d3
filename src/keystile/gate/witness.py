"""The second witness: BigQuery's dry run of the rewritten text must tell the same story as ours."""

from __future__ import annotations

from collections.abc import Iterator

from keystile.model.errors import RefusedError
from keystile.model.facts import QueryFacts
from keystile.model.schema import Field
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
    there = {str(table) for table in witness.referenced_tables}
    here = {str(table) for table in facts.reads}
    if there != here:
        odd = ", ".join(f"`{table}`" for table in sorted(there ^ here))
        yield f"the tables differ in {odd}"
    if _shape(schema) != _shape(witness.schema):
        yield "the result's columns differ"


def _shape(fields: tuple[Field, ...]) -> list[tuple[str, str]]:
    return [(field.name, str(field.sql_type)) for field in fields]
