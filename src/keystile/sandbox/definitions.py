"""DDL: tables, views, routines and datasets created, altered and dropped."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import msgspec

from keystile.googlesql.messages import service
from keystile.model.errors import DuplicateError, InvalidQueryError
from keystile.model.schema import Field, TableId, TableKind
from keystile.sandbox.alterations import (
    altered,
    dataset_details,
    table_details,
    with_options,
)
from keystile.sandbox.binding import dataset_id
from keystile.sandbox.changes import with_rows
from keystile.sandbox.data import Stored, partition_columns
from keystile.sandbox.defining import DEFINE, IF_NOT_EXISTS, OR_REPLACE, Definition
from keystile.sandbox.dialect import Spelled, Statement
from keystile.sandbox.drops import drop, drop_materialized, drop_routine
from keystile.sandbox.effects import Effects
from keystile.sandbox.errors import unsupported
from keystile.sandbox.keys import with_keys
from keystile.sandbox.locations import location_name
from keystile.sandbox.partitions import partition_cells, partitioning
from keystile.sandbox.plans import Plan
from keystile.sandbox.queries import Catalog
from keystile.sandbox.routines import AGGREGATE, SCALAR, SQL, TABLE, Routine
from keystile.sandbox.store import Dataset
from keystile.sandbox.targets import existing, other_kind, target
from keystile.wire.responses import etag

_LANGUAGES = {"JS": "JAVASCRIPT"}
_VIEWS = (TableKind.VIEW, TableKind.MATERIALIZED_VIEW)
_ALTERED = {
    "AlterMaterializedView": TableKind.MATERIALIZED_VIEW,
    "AlterTable": TableKind.TABLE,
    "AlterView": TableKind.VIEW,
}


async def define(catalog: Catalog, plan: Plan) -> Effects:
    """Run a DDL statement. Nothing is changed where it raises."""
    definition = await definition_of(catalog, plan)
    run = _RUN.get(definition.kind)
    if run is None:
        raise unsupported(f"statements of type {plan.statement}")
    _check_rights(catalog, plan, definition)
    return await run(catalog, plan, definition)


def _check_rights(catalog: Catalog, plan: Plan, definition: Definition) -> None:
    account = plan.question.account
    if "SCHEMA" in plan.statement:
        catalog.rights.check_dataset(account, dataset_id(definition.path, plan.question))
    elif not definition.temporary:
        catalog.rights.check_change(account, existing(catalog, plan, definition))


async def definition_of(catalog: Catalog, plan: Plan) -> Definition:
    """Read what a planned DDL statement defines."""
    return await catalog.run(DEFINE, await _statement(catalog, plan))


def runs(kind: str) -> bool:
    """Tell whether `define` runs statements that the engine calls so."""
    return kind in _RUN or kind.startswith("Drop")


async def _statement(catalog: Catalog, plan: Plan) -> Statement:
    bound = plan.bound
    tables = []
    for path, id_ in bound.paths:
        stored = await catalog.look_up(id_)
        columns = tuple((each.name, each.sql_type) for each in stored.fields + stored.hidden)
        tables.append(Spelled(path, str(id_), columns, hidden=len(stored.hidden)))
    return Statement(
        bound.names.sql,
        tuple(tables),
        plan.question.given,
        bound.callees,
        bound.variables,
        bound.names.connections,
    )


async def _create_table(catalog: Catalog, plan: Plan, definition: Definition) -> Effects:
    id_ = target(plan, definition)
    made = _operation(catalog, id_, definition)
    if made == "SKIP":
        return Effects(operation=made, table=id_)
    fields, content = definition.fields, b""
    if definition.kind == "CreateTableAsSelect":
        fields, content = await _selected(catalog, plan, definition)
    details = table_details(definition.options)
    time_partitioning = partitioning(definition.partition, definition.options)
    if time_partitioning:
        details |= time_partitioning
    if definition.clustering:
        details["clustering"] = {"fields": list(definition.clustering)}
    details = with_keys(details, definition.keys)
    now = time.time()
    empty = Stored(
        id=id_,
        kind=TableKind.TABLE,
        etag=etag([str(id_), now]),
        modified=now,
        fields=fields,
        attributes=definition.attributes,
        description=str(definition.options.get("description") or ""),
        created=now,
        hidden=partition_columns(details.get("timePartitioning")),
        details=details,
        defaults=definition.defaults,
    )
    rows = [list(row.cell) for row in service.TableContent.FromString(content).table_data.row]
    for row in rows:
        row.extend(type(row[0])() for _ in empty.hidden)
    partition_cells(empty, rows)
    catalog.store.put_table(with_rows(empty, rows))
    return Effects(operation=made, table=id_, destination=id_)


async def _selected(
    catalog: Catalog, plan: Plan, definition: Definition
) -> tuple[tuple[Field, ...], bytes]:
    """Run the query of CREATE TABLE … AS; declared columns say the types."""
    inner = await catalog.plan(plan.question.of(definition.sql))
    answer = await catalog.evaluated(inner)
    fields = definition.fields or inner.fields
    types = [field.sql_type for field in inner.fields]
    wanted = [field.sql_type for field in fields]
    for field in fields:
        if field.sql_type.kind == "STRUCT" and not field.fields:
            raise InvalidQueryError(f"Column {field.name} has no fields")
    return fields, await catalog.recast(answer.content, types, wanted)


def _operation(catalog: Catalog, id_: TableId, definition: Definition) -> str:
    """Name what a CREATE does. Raises `DuplicateError` where the name is taken."""
    store = catalog.store
    if not definition.temporary:
        store.dataset((id_.project, id_.dataset))
    if not store.has_table(id_):
        return "CREATE"
    if definition.mode == IF_NOT_EXISTS:
        return "SKIP"
    if definition.mode != OR_REPLACE:
        raise DuplicateError(f"Already Exists: Table {id_.project}:{id_.dataset}.{id_.table}")
    is_view = definition.kind in ("CreateView", "CreateMaterializedView")
    if (store.table(id_).kind in _VIEWS) is not is_view:
        raise other_kind(id_, store.table(id_).kind)
    return "REPLACE"


async def _create_view(catalog: Catalog, plan: Plan, definition: Definition) -> Effects:
    id_ = target(plan, definition)
    made = _operation(catalog, id_, definition)
    if made == "SKIP":
        return Effects(operation=made, table=id_)
    # As a view has no default dataset, its query must be good without one.
    inner = await catalog.plan(plan.question.of(definition.sql).without_default())
    if definition.columns and len(definition.columns) != len(inner.fields):
        raise InvalidQueryError("The number of view columns differs from the query's")
    now = time.time()
    is_plain = definition.kind == "CreateView"
    catalog.store.put_table(
        Stored(
            id=id_,
            kind=TableKind.VIEW if is_plain else TableKind.MATERIALIZED_VIEW,
            etag=etag([str(id_), definition.sql, now]),
            modified=now,
            created=now,
            view_query=definition.sql,
            view_columns=definition.columns,
            description=str(definition.options.get("description") or ""),
            details=table_details(definition.options),
        )
    )
    return Effects(operation=made, table=id_, destination=id_)


async def _create_routine(catalog: Catalog, plan: Plan, definition: Definition) -> Effects:
    id_ = target(plan, definition)
    store = catalog.store
    known = store.routine(id_)
    if not definition.temporary:
        store.dataset((id_.project, id_.dataset))
    if known and definition.mode == IF_NOT_EXISTS:
        return Effects(operation="SKIP", routine=id_)
    if known and definition.mode != OR_REPLACE:
        raise DuplicateError(f"Already Exists: Routine {id_.project}:{id_.dataset}.{id_.table}")
    kind = AGGREGATE if definition.aggregate else SCALAR
    now = time.time()
    language = _LANGUAGES.get(definition.language, definition.language)
    store.put_routine(
        Routine(
            id=id_,
            kind=TABLE if definition.kind == "CreateTableFunction" else kind,
            body=definition.sql,
            arguments=definition.arguments,
            returns=definition.returns[1] if definition.returns else None,
            columns=definition.table,
            language="" if definition.connection and not definition.sql else language or SQL,
            created=known.created if known else now,
            modified=now,
            details=_routine_details(definition),
        )
    )
    return Effects(operation="REPLACE" if known else "CREATE", routine=id_)


def _routine_details(definition: Definition) -> dict[str, object]:
    options = definition.options
    details: dict[str, object] = {}
    if options.get("description"):
        details["description"] = options["description"]
    if options.get("library"):
        details["importedLibraries"] = options["library"]
    if options.get("data_governance_type"):
        details["dataGovernanceType"] = options["data_governance_type"]
    if definition.connection and not definition.sql:
        details["remoteFunctionOptions"] = {
            "endpoint": options.get("endpoint", ""),
            "connection": definition.connection,
        }
    return details


async def _create_schema(catalog: Catalog, plan: Plan, definition: Definition) -> Effects:
    id_ = dataset_id(definition.path, plan.question)
    if id_ in catalog.store.datasets:
        if definition.mode == IF_NOT_EXISTS:
            return Effects(operation="SKIP", dataset=id_)
        raise DuplicateError(f"Already Exists: Dataset {id_[0]}:{id_[1]}")
    # Without the option it lies where its statement runs ("CREATE SCHEMA" of BigQuery's reference).
    location = location_name(str(definition.options.get("location") or plan.question.location))
    details = {**dataset_details(definition.options), "location": location}
    catalog.store.put_dataset(Dataset(id_, time.time(), details))
    return Effects(operation="CREATE", dataset=id_)


async def _alter_schema(catalog: Catalog, plan: Plan, definition: Definition) -> Effects:
    id_ = dataset_id(definition.path, plan.question)
    if definition.lenient and id_ not in catalog.store.datasets:
        return Effects(operation="SKIP", dataset=id_)
    before = catalog.store.dataset(id_)
    details = before.details
    for alteration in definition.alterations:
        options = alteration.options
        details = with_options(details, options, dataset_details(options))
    catalog.store.put_dataset(
        msgspec.structs.replace(before, details=details, modified=time.time())
    )
    return Effects(operation="ALTER", dataset=id_)


async def _alter(catalog: Catalog, plan: Plan, definition: Definition) -> Effects:
    id_ = existing(catalog, plan, definition)
    if definition.lenient and not catalog.store.has_table(id_):
        return Effects(operation="SKIP", table=id_)
    stored = catalog.store.table(id_)
    if stored.kind is not _ALTERED[definition.kind]:
        raise other_kind(id_, stored.kind)
    is_view = stored.kind in _VIEWS
    content = b"" if is_view else await catalog.content(stored)
    after = msgspec.structs.replace(stored, etag=etag([stored.etag, time.time()]))
    for alteration in definition.alterations:
        after, content = altered(after, content, alteration)
    if not is_view:
        rows = service.TableContent.FromString(content).table_data.row
        after = with_rows(after, [list(row.cell) for row in rows])
    if after.id != id_:
        catalog.store.put_table(after, new=True)
        catalog.store.drop_table(id_)
    else:
        catalog.store.put_table(after)
    return Effects(operation="ALTER", table=id_)


async def _set_options(catalog: Catalog, plan: Plan, definition: Definition) -> Effects:
    id_ = existing(catalog, plan, definition)
    stored = catalog.store.table(id_)
    after = msgspec.structs.replace(
        stored,
        details=with_options(stored.details, definition.options, table_details(definition.options)),
        description=str(definition.options.get("description", stored.description) or ""),
        etag=etag([stored.etag, time.time()]),
    )
    catalog.store.put_table(after)
    return Effects(operation="ALTER", table=id_)


_RUN: dict[str, Callable[[Catalog, Plan, Definition], Awaitable[Effects]]] = {
    "CreateTable": _create_table,
    "CreateTableAsSelect": _create_table,
    "CreateView": _create_view,
    "CreateMaterializedView": _create_view,
    "CreateFunction": _create_routine,
    "CreateTableFunction": _create_routine,
    "CreateSchema": _create_schema,
    "Drop": drop,
    "DropMaterializedView": drop_materialized,
    "DropFunction": drop_routine,
    "DropTableFunction": drop_routine,
    "AlterTable": _alter,
    "AlterView": _alter,
    "AlterMaterializedView": _alter,
    "AlterSchema": _alter_schema,
    "AlterTableSetOptions": _set_options,
}
