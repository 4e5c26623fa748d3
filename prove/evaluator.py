"""Runs queries on the engine's reference evaluator, over tables held in memory.

The evaluator finds content for tables of its root catalog only, so a table is registered under its
full name as one identifier and its short one, and `runnable` turns full paths into that.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from keystile.analysis.text import quoted
from keystile.googlesql.engine import Engine
from keystile.googlesql.messages import service, value_pb2
from keystile.googlesql.protos import analyzer_options, builtin_catalog, sql_type, type_proto
from keystile.model.errors import InvalidQueryError
from keystile.model.schema import Routine, SqlType, Table, TableId
from prove.routines import add_routines


class Content(NamedTuple):
    """A table and its rows, each the values of the table's columns in their order, pseudo last.

    A value is the engine's own or what `value_proto` takes.
    """

    table: Table
    rows: list[tuple[Any, ...]]


class Given(NamedTuple):
    """A named query parameter."""

    name: str
    type: SqlType
    value: Any


class Answer(NamedTuple):
    """What a query gave: its columns and rows in wire form, or an error's text."""

    columns: tuple[tuple[str, SqlType], ...] = ()
    rows: tuple[Any, ...] = ()
    error: str = ""

    def same(self, other: Answer) -> bool:
        """Tell whether both say the same, to the order of rows.

        The evaluator is deterministic, so even an order that the query leaves open is the same
        where nothing differs.
        """
        if (self.columns, self.error) != (other.columns, other.error):
            return False
        mine, theirs = (
            [row.SerializeToString(deterministic=True) for row in answer.rows]
            for answer in (self, other)
        )
        return mine == theirs


class World:
    """Tables with content, on one engine."""

    def __init__(
        self,
        engine: Engine,
        contents: Iterable[Content],
        *,
        short_names: bool = True,
        routines: Iterable[Routine] = (),
    ) -> None:
        """Register the tables with their rows, under their short names too if wanted."""
        self._engine = engine
        catalog = builtin_catalog(engine)
        request = service.RegisterCatalogRequest()
        for content in contents:
            short = (content.table.id.table,) if short_names else ()
            for name in (*short, _engine_name(content.table.id)):
                _add_table(catalog, name, content.table)
                request.table_content[name].table_data.CopyFrom(table_data(content))
        add_routines(catalog, routines)
        request.simple_catalog.CopyFrom(catalog)
        answer = engine.call("RegisterCatalog", request, service.RegisterResponse)
        self._id = answer.registered_id

    def close(self) -> None:
        """Let the engine forget the tables."""
        self._engine.unregister(self._id)

    def run(self, sql: str, parameters: Iterable[Given] = ()) -> Answer:
        """Run a query, or tell which rows INSERT and DELETE change, without changing them.

        An error of the statement is an answer too.
        """
        writes = changes(sql)
        kind = service.EvaluateModifyRequest if writes else service.EvaluateQueryRequest
        request = kind(sql=sql, registered_catalog_id=self._id)
        request.options.CopyFrom(analyzer_options(self._engine))
        for given in parameters:
            request.options.query_parameters.add(name=given.name, type=type_proto(given.type))
            request.params.add(name=given.name, value=value_proto(given.value, given.type))
        try:
            if writes:
                changed = service.EvaluateModifyResponse
                return Answer(rows=(self._engine.call("EvaluateModify", request, changed),))
            answer = self._engine.call("EvaluateQuery", request, service.EvaluateQueryResponse)
        except InvalidQueryError as error:
            return Answer(error=error.message)
        columns = tuple((column.name, sql_type(column.type)) for column in answer.prepared.columns)
        return Answer(columns, tuple(answer.content.table_data.row))


def changes(sql: str) -> bool:
    """Tell whether a generated statement writes."""
    return sql.startswith(("INSERT ", "DELETE "))


def literal_rows(
    engine: Engine, table: Table, rows: Iterable[Iterable[str]]
) -> list[tuple[Any, ...]]:
    """Turn rows of SQL literals into values, by asking the engine."""
    fields = (*table.fields, *table.pseudo_columns)
    types = ", ".join(f"`{field.name}` {written(field.sql_type)}" for field in fields)
    items = ", ".join(f"STRUCT<{types}>({', '.join(row)})" for row in rows)
    # Every part was made by the proof itself.
    sql = f"SELECT r.* FROM UNNEST([{items}]) AS r WITH OFFSET AS o ORDER BY o"  # noqa: S608
    answer = World(engine, []).run(sql)
    if answer.error:
        raise ValueError(answer.error)
    return [tuple(row.cell) for row in answer.rows]


def runnable(sql: str, tables: Iterable[Table]) -> str:
    """Spell full paths as the one identifier that a world knows, or as a view's text.

    A view stands before the tables and views that it reads.
    """
    for table in tables:
        parts = (table.id.project, table.id.dataset, table.id.table)
        name = f"({table.view_query})" if table.view_query else quoted(_engine_name(table.id))
        sql = sql.replace(".".join(quoted(part) for part in parts), name)
        sql = sql.replace(quoted(str(table.id)), name)
    return sql


def value_proto(value: Any, type_: SqlType) -> Any:
    """Turn a Python value into the engine's: a tuple is a STRUCT, a list an ARRAY, None NULL.

    A value of the engine's own stays. DATE is given as days since 1970. Types that have no Python
    form here are a `KeyError`.
    """
    if isinstance(value, value_pb2.ValueProto):
        return value
    proto = value_pb2.ValueProto()
    if value is None:
        return proto
    if type_.kind == "ARRAY" and type_.element:
        proto.array_value.SetInParent()
        proto.array_value.element.extend(value_proto(item, type_.element) for item in value)
    elif type_.kind == "STRUCT":
        pairs = zip(value, type_.fields, strict=True)
        proto.struct_value.SetInParent()
        proto.struct_value.field.extend(value_proto(item, inner) for item, (_, inner) in pairs)
    else:
        setattr(proto, _FIELDS[type_.kind], value)
    return proto


_FIELDS = {
    "BOOL": "bool_value",
    "BYTES": "bytes_value",
    "DATE": "date_value",
    "FLOAT64": "double_value",
    "INT64": "int64_value",
    "JSON": "json_value",
    "STRING": "string_value",
}


def _add_table(catalog: Any, name: str, table: Table) -> None:
    added = catalog.table.add(name=name, full_name=name)
    for field in table.fields:
        added.column.add(name=field.name, type=type_proto(field.sql_type))
    for field in table.pseudo_columns:
        type_ = type_proto(field.sql_type)
        added.column.add(name=field.name, type=type_, is_pseudo_column=True)


def table_data(content: Content) -> Any:
    """Give the rows of a table, its pseudo columns last."""
    data = service.TableContent().table_data
    fields = (*content.table.fields, *content.table.pseudo_columns)
    types = [field.sql_type for field in fields]
    for row in content.rows:
        cells = data.row.add()
        for value, type_ in zip(row, types, strict=True):
            cells.cell.append(value_proto(value, type_))
    return data


def _engine_name(id_: TableId) -> str:
    """Name a table for a catalog that ignores case: capitals are marked."""
    return "".join(f"{letter}^" if letter.isupper() else letter for letter in str(id_))


def written(type_: SqlType) -> str:
    """Write a type with its field names in backticks."""
    if type_.kind == "STRUCT":
        inner = (f"{quoted(name)} {written(field)}" for name, field in type_.fields)
        return f"STRUCT<{', '.join(inner)}>"
    return f"{type_.kind}<{written(type_.element)}>" if type_.element else type_.kind
