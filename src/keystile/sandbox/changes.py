"""DML: the rows of a table changed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from keystile.googlesql.messages import service, value_pb2
from keystile.model.errors import InvalidQueryError
from keystile.model.schema import Field, Mode, SqlType, TableKind
from keystile.sandbox.binding import Question
from keystile.sandbox.casts import assigned_sql
from keystile.sandbox.data import Stored
from keystile.sandbox.effects import Effects
from keystile.sandbox.limits import hold_to_limits
from keystile.sandbox.modifying import COMPOSE, DELETE, INSERT, UPDATE, Modification, Step
from keystile.sandbox.partitions import partition_cells
from keystile.sandbox.plans import Plan
from keystile.sandbox.queries import Catalog
from keystile.sandbox.sizes import value_bytes
from keystile.wire.responses import etag

DML = frozenset(("Insert", "Update", "Delete", "Merge", "Truncate"))
"""The engine's names of the statements that `modify` runs."""

Row = list[Any]


class _Change(msgspec.Struct, frozen=True):
    """What one step found: new rows, or by row number the new cells (None where it is deleted)."""

    action: str
    columns: tuple[str, ...]
    rows: list[Row]


async def modify(catalog: Catalog, plan: Plan) -> Effects:
    """Run a DML statement. Nothing is changed where it raises."""
    id_ = plan.bound.ids[plan.names.target]
    stored = await catalog.look_up(id_)
    if stored.kind is not TableKind.TABLE or not catalog.store.has_table(id_):
        raise InvalidQueryError(
            f"{id_.project}:{id_.dataset}.{id_.table} is not allowed for this operation because "
            f"it is currently a {stored.kind.value}."
        )
    content = await catalog.content(stored)
    rows = rows_of(content)
    if plan.statement == "TRUNCATE_TABLE":
        catalog.store.put_table(with_rows(stored, []))
        return Effects(deleted=len(rows), dml=True, destination=id_)
    steps = await _steps(catalog, plan, stored)
    changes = [await _found(catalog, plan, step, stored) for step in steps]
    _check_once(changes, steps)
    changes = [await _with_defaults(catalog, plan.question, change, stored) for change in changes]
    effects, after = _applied(stored, rows, changes)
    _check_required(stored.fields, after)
    catalog.store.put_table(with_rows(stored, after))
    return effects


async def _steps(catalog: Catalog, plan: Plan, stored: Stored) -> tuple[Step, ...]:
    columns = stored.fields + stored.hidden
    modification = Modification(
        plan.bound.names.sql,
        tuple((field.name, field.sql_type) for field in columns),
        len(stored.hidden),
        stored.defaults,
    )
    return (await catalog.run(COMPOSE, modification)).steps


async def _found(catalog: Catalog, plan: Plan, step: Step, stored: Stored) -> _Change:
    """Run the query of a step and bring its values to the types of the columns."""
    inner = await catalog.plan(plan.question.of(step.sql, numbered=stored.id))
    answer = await catalog.evaluated(inner)
    types = _types(inner)
    by_name = {field.name: field.sql_type for field in stored.fields + stored.hidden}
    wanted = [by_name[name] for name in step.columns]
    if step.action != INSERT:
        wanted.insert(0, SqlType("INT64"))
    content = await catalog.recast(answer.content, types, wanted)
    return _Change(step.action, step.columns, rows_of(content))


def _types(inner: Plan) -> list[SqlType]:
    columns = inner.described.columns if inner.described else ()
    if inner.described and inner.described.flat and columns[0][1].kind == "STRUCT":
        columns = columns[0][1].fields
    return [type_ for _, type_ in columns]


async def _with_defaults(
    catalog: Catalog, question: Question, change: _Change, stored: Stored
) -> _Change:
    if change.action != INSERT:
        return change
    columns, rows = await with_defaults(catalog, question, stored, change.columns, change.rows)
    return _Change(change.action, columns, rows)


async def with_defaults(
    catalog: Catalog,
    question: Question,
    stored: Stored,
    columns: tuple[str, ...],
    rows: list[Row],
) -> tuple[tuple[str, ...], list[Row]]:
    """Give new rows, of some columns of a table, the defaults of those that are not named."""
    missing = [name for name in stored.defaults if name not in columns]
    if not missing or not rows:
        return columns, rows
    types = {field.name: field.sql_type for field in stored.fields}
    values = ", ".join(assigned_sql(f"({stored.defaults[name]})", types[name]) for name in missing)
    sql = f"SELECT {values} FROM UNNEST(GENERATE_ARRAY(1, {len(rows)}))"  # noqa: S608  # own
    answer = await catalog.evaluated(await catalog.plan(question.of(sql)))
    given = rows_of(answer.content)
    return (*columns, *missing), [[*row, *more] for row, more in zip(rows, given, strict=True)]


def _check_once(changes: Sequence[_Change], steps: Sequence[Step]) -> None:
    touched = [
        row[0].int64_value
        for change, step in zip(changes, steps, strict=True)
        if step.matched
        for row in change.rows
    ]
    if len(set(touched)) != len(touched):
        raise InvalidQueryError(
            "UPDATE/MERGE must match at most one source row for each target row"
        )


def _applied(
    stored: Stored, rows: list[Row], changes: Sequence[_Change]
) -> tuple[Effects, list[Row]]:
    columns = stored.fields + stored.hidden
    places = {field.name: at for at, field in enumerate(columns)}
    deleted: set[int] = set()
    inserted: list[Row] = []
    updated = 0
    for change in changes:
        at = [places[name] for name in change.columns]
        if change.action == DELETE:
            deleted.update(row[0].int64_value for row in change.rows)
        elif change.action == UPDATE:
            updated += len(change.rows)
            for row in change.rows:
                changed = rows[row[0].int64_value] = list(rows[row[0].int64_value])
                for place, value in zip(at, row[1:], strict=True):
                    changed[place] = value
        else:
            inserted.extend(new_row(columns, at, row) for row in change.rows)
    partition_cells(stored, inserted)
    kept = [row for number, row in enumerate(rows) if number not in deleted]
    effects = Effects(len(inserted), updated, len(deleted), dml=True, destination=stored.id)
    return effects, kept + inserted


def new_row(columns: Sequence[Field], at: Sequence[int], given: Row) -> Row:
    """Put values at their places; all other columns are NULL."""
    row: Row = [value_pb2.ValueProto() for _ in columns]
    for place, value in zip(at, given, strict=True):
        row[place] = value
    return row


def _check_required(fields: Sequence[Field], rows: Sequence[Row]) -> None:
    for at, field in enumerate(fields):
        if field.mode is Mode.REQUIRED and any(row[at].WhichOneof("value") is None for row in rows):
            raise InvalidQueryError(f"Required field {field.name} cannot be null")


def rows_of(content: bytes) -> list[Row]:
    """Give the rows of a `TableContent`."""
    return [list(row.cell) for row in service.TableContent.FromString(content).table_data.row]


def _holds_array(field: Field) -> bool:
    return field.mode is Mode.REPEATED or any(map(_holds_array, field.fields))


def _fill_arrays(value: Any, field: Field) -> None:
    if field.mode is Mode.REPEATED:
        if value.WhichOneof("value") is None:
            value.array_value.SetInParent()
        one = msgspec.structs.replace(field, mode=Mode.NULLABLE)
        for item in value.array_value.element if _holds_array(one) else ():
            _fill_arrays(item, one)
    elif value.WhichOneof("value") is not None:
        for part, inner in zip(value.struct_value.field, field.fields, strict=True):
            _fill_arrays(part, inner)


def with_rows(stored: Stored, rows: Sequence[Row]) -> Stored:
    """Give the table with other rows. A stored array is never NULL, it is empty.

    Raises `InvalidQueryError` for a value beyond the parameters of its type.
    """
    hold_to_limits(stored, rows)
    content = service.TableContent()
    content.table_data.SetInParent()
    arrays = [at for at, field in enumerate(stored.fields) if _holds_array(field)]
    for row in rows:
        for at in arrays:
            _fill_arrays(row[at], stored.fields[at])
        content.table_data.row.add().cell.extend(row)
    now = time.time()
    return msgspec.structs.replace(
        stored,
        content=content.SerializeToString(),
        raw=b"",
        row_count=len(rows),
        sizes={
            field.name: sum(value_bytes(row[at], field.sql_type) for row in rows)
            for at, field in enumerate(stored.fields)
        },
        modified=now,
        etag=etag([stored.etag, now]),
    )
