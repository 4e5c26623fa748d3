"""What a DDL statement creates, alters or drops."""

from __future__ import annotations

from keystile.model.errors import InvalidQueryError
from keystile.model.schema import TableId, TableKind
from keystile.sandbox.binding import table_id
from keystile.sandbox.defining import Definition
from keystile.sandbox.plans import Plan
from keystile.sandbox.queries import Catalog


def target(plan: Plan, definition: Definition) -> TableId:
    """Name what is created. Raises `InvalidQueryError` for a temporary thing outside a script."""
    question = plan.question
    if not definition.temporary:
        return table_id(definition.path, question)
    if not question.scope.dataset:
        if definition.kind == "CreateFunction":
            raise InvalidQueryError(
                "CREATE TEMPORARY FUNCTION statements must be followed by an actual query."
            )
        raise InvalidQueryError("Use of CREATE TEMPORARY TABLE requires a script or session")
    return TableId(question.project, question.scope.dataset, definition.path[-1])


def existing(catalog: Catalog, plan: Plan, definition: Definition) -> TableId:
    """Name what is altered or dropped: a temporary table hides one of the default dataset."""
    question = plan.question
    temporary = TableId(question.project, question.scope.dataset, definition.path[-1])
    if len(definition.path) == 1 and catalog.store.has_table(temporary):
        return temporary
    return table_id(definition.path, question)


def other_kind(id_: TableId, kind: TableKind) -> InvalidQueryError:
    """Say that a statement is for another kind of table than this one."""
    return InvalidQueryError(
        f"{id_.project}:{id_.dataset}.{id_.table} is not allowed for this operation because it is "
        f"currently a {kind.value}."
    )
