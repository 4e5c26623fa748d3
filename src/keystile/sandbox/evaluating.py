"""Running a query on GoogleSQL's reference evaluator, and turning text into values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import count
from typing import Any

import msgspec

from keystile.googlesql import protos
from keystile.googlesql.engine import Engine
from keystile.googlesql.messages import service
from keystile.googlesql.task import Task
from keystile.model.errors import InvalidQueryError
from keystile.model.schema import SqlType
from keystile.sandbox import casts, cells, dialect
from keystile.sandbox.describing import Described
from keystile.sandbox.dialect import Column, Given, Spelled, Statement, replaced
from keystile.sandbox.errors import unsupported
from keystile.sandbox.names import Names

# How the evaluator says that it cannot; and functions that BigQuery has beside GoogleSQL's own.
_NOT_EVALUABLE = ("Unsupported", "not implemented", "Unimplemented", "content set")
_MISSING = re.compile(
    r"unction not found: `?(ml\.|ai\.|(max_by|min_by|contains_substr|search|collate|appends|changes"
    r"|vector_search|external_query)\b)",
    re.IGNORECASE,
)


# An engine keeps this much of a few statements' tables, so as not to make them anew for the next.
_KEPT_BYTES = 1 << 18


class Rows(msgspec.Struct, frozen=True):
    """The result: rows as BigQuery's JSON, and the same as a serialized `TableContent`."""

    rows: list[dict[str, Any]]
    content: bytes
    columns: tuple[Column, ...] = ()


class Raw(msgspec.Struct, frozen=True):
    """Serialized rows with text leaves, to become values of these types."""

    types: tuple[SqlType, ...]
    rows: bytes


class Texts(msgspec.Struct, frozen=True):
    """Serialized values with text leaves, each to become one of its type."""

    types: tuple[SqlType, ...]
    values: tuple[bytes, ...]


class Recast(msgspec.Struct, frozen=True):
    """A `TableContent` of one row of types, to become one of another."""

    types: tuple[SqlType, ...]
    wanted: tuple[SqlType, ...]
    content: bytes


def evaluable(names: Names, described: Described, versions: dict[int, str]) -> str:
    """Write what the evaluator looks up: each table by its one full name, parameters by name.

    `versions` are the names of tables as they were, by where the path starts.
    """
    edits: dict[tuple[int, int], str] = {}
    places = {table.start: table for table in names.places}
    for start, end, name in described.scans:
        found = places.get(start)
        named = found is None or found.named
        alias = "" if named or found is None else f" AS `{found.path[-1]}`"
        edits[start, end] = f"`{versions.get(start, name)}`{alias}"
        if found and found.time_sql:
            edits[found.time] = ""
    for start, end, position in described.marks:
        edits[start, end] = f"@{positional(position)}"
    return replaced(names.sql, edits)


def positional(position: int) -> str:
    """Name a positional parameter, counted from 1."""
    return f"p{position}"


def evaluate(engine: Engine, statement: Statement) -> Rows:
    """Run a query that `evaluable` wrote.

    Raises `InvalidQueryError` in GoogleSQL's words, or with what the sandbox does not support.
    """
    parameters = tuple(
        msgspec.structs.replace(given, name=given.name or positional(position))
        for position, given in enumerate(statement.parameters, start=1)
    )
    options = dialect.options(engine, parameters)
    # The evaluator of table functions wants all columns that the body gives.
    options.prune_unused_columns = not any(callee.is_table for callee in statement.callees)
    request = service.EvaluateQueryRequest(sql=statement.sql, options=options)
    catalog = dialect.catalog(engine, statement, by_full_name=True)
    contents = {table.name: table.content for table in statement.tables}
    if sum(map(len, contents.values())) <= _KEPT_BYTES:
        request.registered_catalog_id = engine.registered(catalog, contents)
    else:
        request.simple_catalog.CopyFrom(catalog)
        for name, rows in contents.items():
            request.table_content[name].MergeFromString(rows)
    for given in parameters:
        request.params.add(name=given.name).value.MergeFromString(given.value)
    try:
        answer = engine.call("EvaluateQuery", request, service.EvaluateQueryResponse)
    except InvalidQueryError as error:
        raise honest(error) from error
    columns = named(
        [(column.name, protos.sql_type(column.type)) for column in answer.prepared.columns]
    )
    data = answer.content.table_data.row
    return Rows(
        [_row(row, columns) for row in data], answer.content.SerializeToString(), tuple(columns)
    )


def named(columns: Sequence[Column]) -> list[Column]:
    """Name the columns that have no name as BigQuery does: `f0_`, then `f1_`, and so on."""
    unnamed = count()
    return [
        (name if name and not name.startswith("$") else f"f{next(unnamed)}_", type_)
        for name, type_ in columns
    ]


def honest(error: InvalidQueryError) -> InvalidQueryError:
    """Say where BigQuery would have gone on and only the sandbox ends."""
    missing = _MISSING.search(error.message)
    if missing or any(sign in error.message for sign in _NOT_EVALUABLE):
        return unsupported(error.message)
    return error


def _row(row: Any, columns: list[Column]) -> dict[str, Any]:
    cells_ = zip(row.cell, columns, strict=True)
    return {"f": [{"v": cells.cell(value, type_, name)} for value, (name, type_) in cells_]}


def convert(engine: Engine, raw: Raw) -> bytes:
    """Turn text leaves into values, by SQL casts; gives a serialized `TableContent`."""
    texts = tuple(casts.text_type(type_) for type_ in raw.types)
    columns = tuple((f"c{at}", type_) for at, type_ in enumerate(texts))
    table = Spelled(("raw",), "raw", (("at", SqlType("INT64")), *columns), raw.rows)
    written = [casts.cast_sql(f"raw.c{at}", type_) for at, type_ in enumerate(raw.types)]
    sql = f"SELECT {', '.join(written)} FROM raw ORDER BY raw.at"  # noqa: S608  # no user's text
    return evaluate(engine, Statement(sql, (table,))).content if written else b""


def convert_values(engine: Engine, texts: Texts) -> bytes:
    """Turn single values alike; gives a serialized `TableContent` of one row.

    They are parameters and no table's rows: the engine then needs no new catalog for them.
    """
    given = tuple(
        Given(f"c{at}", casts.text_type(type_), value)
        for at, (type_, value) in enumerate(zip(texts.types, texts.values, strict=True))
    )
    written = [casts.cast_sql(f"@c{at}", type_) for at, type_ in enumerate(texts.types)]
    return evaluate(engine, Statement(f"SELECT {', '.join(written)}", parameters=given)).content


def recast(engine: Engine, asked: Recast) -> bytes:
    """Turn values of some types into values of others, as an assignment does."""
    if asked.types == asked.wanted:
        return asked.content
    content = service.TableContent.FromString(asked.content)
    for at, row in enumerate(content.table_data.row):
        row.cell.add(int64_value=at)
    columns = [*((f"c{at}", type_) for at, type_ in enumerate(asked.types)), ("at", _INT64)]
    table = Spelled(("raw",), "raw", tuple(columns), content.SerializeToString())
    written = [
        f"raw.c{at}" if type_ == wanted else casts.assigned_sql(f"raw.c{at}", wanted)
        for at, (type_, wanted) in enumerate(zip(asked.types, asked.wanted, strict=True))
    ]
    sql = f"SELECT {', '.join(written)} FROM raw ORDER BY raw.at"  # noqa: S608  # no user's text
    return evaluate(engine, Statement(sql, (table,))).content


_INT64 = SqlType("INT64")
EVALUATE = Task(evaluate, Statement, Rows)
CONVERT = Task(convert, Raw, bytes)
CONVERT_VALUES = Task(convert_values, Texts, bytes)
RECAST = Task(recast, Recast, bytes)
