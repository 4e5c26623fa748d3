"""DDL that drops: tables, views, routines and datasets."""

from __future__ import annotations

from keystile.model.errors import InUseError, NotFoundError
from keystile.model.schema import TableKind
from keystile.sandbox.binding import dataset_id
from keystile.sandbox.defining import Definition
from keystile.sandbox.effects import Effects
from keystile.sandbox.errors import unsupported
from keystile.sandbox.plans import Plan
from keystile.sandbox.queries import Catalog
from keystile.sandbox.routines import TABLE
from keystile.sandbox.targets import existing, other_kind, target


async def drop(catalog: Catalog, plan: Plan, definition: Definition) -> Effects:
    """Run DROP TABLE, VIEW or SCHEMA."""
    if definition.object_type == "SCHEMA":
        return _drop_schema(catalog, plan, definition)
    wanted = {"TABLE": TableKind.TABLE, "VIEW": TableKind.VIEW}.get(definition.object_type)
    if wanted is None:
        raise unsupported(f"statements of type {plan.statement}")
    return _dropped_table(catalog, plan, definition, wanted)


async def drop_materialized(catalog: Catalog, plan: Plan, definition: Definition) -> Effects:
    """Run DROP MATERIALIZED VIEW."""
    return _dropped_table(catalog, plan, definition, TableKind.MATERIALIZED_VIEW)


def _dropped_table(
    catalog: Catalog, plan: Plan, definition: Definition, wanted: TableKind
) -> Effects:
    id_ = existing(catalog, plan, definition)
    if definition.lenient and not catalog.store.has_table(id_):
        return Effects(operation="SKIP", table=id_)
    if catalog.store.table(id_).kind is not wanted:
        raise other_kind(id_, catalog.store.table(id_).kind)
    catalog.store.drop_table(id_)
    return Effects(operation="DROP", table=id_)


async def drop_routine(catalog: Catalog, plan: Plan, definition: Definition) -> Effects:
    """Run DROP FUNCTION or DROP TABLE FUNCTION."""
    id_ = target(plan, definition)
    known = catalog.store.routine(id_)
    is_table = definition.kind == "DropTableFunction"
    if known is None or (known.kind == TABLE) is not is_table:
        if definition.lenient:
            return Effects(operation="SKIP", routine=id_)
        raise NotFoundError(f"Not found: Routine {id_.project}:{id_.dataset}.{id_.table}")
    catalog.store.drop_routine(id_)
    return Effects(operation="DROP", routine=id_)


def _drop_schema(catalog: Catalog, plan: Plan, definition: Definition) -> Effects:
    id_, store = dataset_id(definition.path, plan.question), catalog.store
    if definition.lenient and id_ not in store.datasets:
        return Effects(operation="SKIP", dataset=id_)
    if (store.tables_in(id_) or store.routines_in(id_)) and not definition.cascade:
        raise InUseError(f"Dataset {id_[0]}:{id_[1]} is still in use")
    store.drop_dataset(id_)
    return Effects(operation="DROP", dataset=id_)
