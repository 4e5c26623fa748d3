"""Running a planned statement, whatever it is."""

from __future__ import annotations

from keystile.sandbox import definitions
from keystile.sandbox.changes import DML, modify
from keystile.sandbox.effects import Effects
from keystile.sandbox.errors import unsupported
from keystile.sandbox.plans import Answer, Plan
from keystile.sandbox.queries import Catalog


async def run(catalog: Catalog, plan: Plan) -> Answer | Effects:
    """Run a statement: a query gives rows, all others tell what they changed.

    Raises `InvalidQueryError` for what the sandbox has not, and for errors at run time, and
    `AccessDeniedError` where its account may not change what it changes.
    """
    kind = plan.described.kind if plan.described else ""
    if kind == "Query":
        return await catalog.evaluated(plan)
    async with catalog.changing:
        if kind in DML:
            target = plan.bound.ids[plan.names.target]
            catalog.rights.check_change(plan.question.account, target)
            # What was planned may have changed while others had the lock.
            return await modify(catalog, await catalog.plan(plan.question))
        if definitions.runs(kind):
            return await definitions.define(catalog, await catalog.plan(plan.question))
    raise unsupported(f"statements of type {plan.statement}")
