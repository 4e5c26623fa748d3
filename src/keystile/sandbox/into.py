"""Writing the result of a query into a table of the client's choice."""

from __future__ import annotations

import msgspec

from keystile.model.errors import InvalidRequestError
from keystile.sandbox.asking import Into
from keystile.sandbox.changes import rows_of
from keystile.sandbox.plans import Plan
from keystile.sandbox.queries import Catalog
from keystile.sandbox.transfer.schemas import merged
from keystile.sandbox.transfer.writing import destination, fresh, write


def check_into(plan: Plan) -> None:
    """Raise `InvalidRequestError` where a statement has no result to write."""
    if plan.statement == "SCRIPT":
        raise InvalidRequestError("configuration.query.destinationTable cannot be set for scripts")
    if plan.statement != "SELECT":
        raise InvalidRequestError(
            f"Cannot set destination table in jobs with {plan.statement} statements"
        )


async def write_result(catalog: Catalog, into: Into, plan: Plan, content: bytes) -> None:
    """Write a result under the dispositions of its job.

    Raises `NotFoundError`, `DuplicateError` where there are rows already, `InvalidRequestError` for
    columns that differ from the table's.
    """
    async with catalog.changing:
        to = destination(catalog, into.table, into.create, into.write)
        table = fresh(into.table, plan.fields, into.details)
        if to.present and to.keeps_schema:
            fields = merged(to.present.fields, plan.fields, into.options, into.table)
            table = msgspec.structs.replace(to.present, fields=fields)
        elif to.present:
            kept = {**to.present.details, **into.details}
            table = msgspec.structs.replace(
                fresh(into.table, plan.fields, kept),
                created=to.present.created,
                description=to.present.description,
            )
        await write(catalog, to, table, plan.fields, rows_of(content))
