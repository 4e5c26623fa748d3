"""What the names of one statement mean, as a catalog and options that the engine takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from keystile.googlesql import protos
from keystile.googlesql.engine import Engine
from keystile.googlesql.messages import function_pb2 as public_function
from keystile.googlesql.messages import public_options
from keystile.model.errors import OpaqueQueryError
from keystile.model.schema import SqlType
from keystile.sandbox.errors import unsupported

# BigQuery's TIMESTAMP ends at microseconds; with these the engine would go on to picoseconds.
_NOT_BIGQUERY = (
    public_options.FEATURE_TIMESTAMP_NANOS,
    public_options.FEATURE_TIMESTAMP_PICOS,
    public_options.FEATURE_TIMESTAMP_PRECISION,
)
_ANY_NUMBER = -1  # what the engine writes for "this argument's number is not known yet"
_TEMPLATED, _OPAQUE = "Templated_SQL_Function", "External_function"

Column = tuple[str, SqlType]


class Spelled(msgspec.Struct, frozen=True):
    """A table as a query spells it, and what it is. `name` is its full name, `content` its rows.

    `content` is a serialized `TableContent`, empty where the statement is only described. The last
    `hidden` columns are pseudo columns, which `SELECT *` leaves out.
    """

    path: tuple[str, ...]
    name: str
    columns: tuple[Column, ...]
    content: bytes = b""
    hidden: int = 0


class Given(msgspec.Struct, frozen=True):
    """A parameter or a variable of a script.

    Its serialized `ValueProto` is empty where the statement is only described.
    """

    name: str
    type: SqlType
    value: bytes = b""


class Argument(msgspec.Struct, frozen=True):
    """An argument of a routine. `type` is None for `ANY TYPE`; `table` are a table's columns."""

    name: str
    type: SqlType | None = None
    table: tuple[Column, ...] = ()


class Callee(msgspec.Struct, frozen=True):
    """A routine as a query spells it. `body` is SQL whose tables are under their full names.

    An `opaque` one is in another language: it can be described, not run.
    """

    path: tuple[str, ...]
    body: str
    arguments: tuple[Argument, ...] = ()
    returns: SqlType | None = None
    is_table: bool = False
    is_aggregate: bool = False
    opaque: bool = False


class Statement(msgspec.Struct, frozen=True):
    """A statement and all that it names."""

    sql: str
    tables: tuple[Spelled, ...] = ()
    parameters: tuple[Given, ...] = ()
    callees: tuple[Callee, ...] = ()
    variables: tuple[Given, ...] = ()
    connections: tuple[tuple[str, ...], ...] = ()


def options(engine: Engine, parameters: Sequence[Given]) -> Any:
    """Give `AnalyzerOptionsProto` of BigQuery's dialect with these parameters declared."""
    made = protos.analyzer_options(engine)
    features = made.language_options.enabled_language_features
    for feature in _NOT_BIGQUERY:
        if feature in features:
            features.remove(feature)
    for given in parameters:
        type_ = protos.type_proto(given.type)
        if given.name:
            made.query_parameters.add(name=given.name, type=type_)
        else:
            made.positional_query_parameters.append(type_)
    if parameters and not parameters[0].name:
        made.parameter_mode = public_options.PARAMETER_POSITIONAL
    for name, kind in (("_PARTITIONTIME", "TIMESTAMP"), ("_PARTITIONDATE", "DATE")):
        made.ddl_pseudo_columns.add(name=name, type=protos.type_proto(SqlType(kind)))
    return made


def catalog(engine: Engine, statement: Statement, *, by_full_name: bool) -> Any:
    """Give the catalog of a statement.

    With `by_full_name` each table is found under its one full name, as the evaluator needs it,
    else under the path that the text spells.
    """
    made = protos.builtin_catalog(engine)
    for table in statement.tables:
        _add_table(made, (table.name,) if by_full_name else table.path, table)
    for callee in statement.callees:
        _add_callee(made, callee)
    for variable in statement.variables:
        constant = made.constant.add(type=type_of(variable.type))
        constant.name_path.append(variable.name)
        constant.value.MergeFromString(variable.value)
    for path in statement.connections:
        inner = _inner(made, path)
        inner.connection.add(name=path[-1])
    return made


def type_of(type_: SqlType) -> Any:
    """Give a `TypeProto`. Raises `InvalidQueryError` for a type that the sandbox has not."""
    try:
        return protos.type_proto(type_)
    except OpaqueQueryError as error:
        raise unsupported(f"values of type {type_}") from error


def _inner(catalog_: Any, path: tuple[str, ...]) -> Any:
    for segment in path[:-1]:
        inner = next((each for each in catalog_.catalog if each.name == segment), None)
        catalog_ = catalog_.catalog.add(name=segment) if inner is None else inner
    return catalog_


def _add_table(catalog_: Any, path: tuple[str, ...], table: Spelled) -> None:
    inner = _inner(catalog_, path)
    if any(each.name_in_catalog == path[-1] for each in inner.table):
        return  # one table that is both named and read by a routine
    added = inner.table.add(name=table.name, name_in_catalog=path[-1])
    shown = len(table.columns) - table.hidden
    for at, (name, type_) in enumerate(table.columns):
        added.column.add(name=name, type=type_of(type_), is_pseudo_column=at >= shown)


def _add_callee(catalog_: Any, callee: Callee) -> None:
    inner = _inner(catalog_, callee.path)
    if callee.is_table:
        added = inner.custom_tvf.add(type=public_function.FunctionEnums.TEMPLATED_SQL_TVF)
        signature = added.signature
        signature.return_type.kind = public_function.ARG_TYPE_RELATION
        added.argument_name.extend(argument.name for argument in callee.arguments)
    else:
        added = inner.custom_function.add(group=_OPAQUE if callee.opaque else _TEMPLATED)
        modes = public_function.FunctionEnums
        added.mode = modes.AGGREGATE if callee.is_aggregate else modes.SCALAR
        signature = added.signature.add()
        if not callee.opaque:
            added.templated_sql_function_argument_name.extend(a.name for a in callee.arguments)
        _set_type(signature.return_type, callee.returns)
    added.name_path.extend(callee.path)
    if not callee.opaque:
        added.parse_resume_location.input = callee.body
        added.parse_resume_location.byte_position = 0
    signature.return_type.num_occurrences = _ANY_NUMBER
    for argument in callee.arguments:
        declared = signature.argument.add(num_occurrences=_ANY_NUMBER)
        declared.options.argument_name = argument.name
        if argument.table:
            declared.kind = public_function.ARG_TYPE_RELATION
        else:
            _set_type(declared, argument.type)


def _set_type(declared: Any, type_: SqlType | None) -> None:
    if type_ is None:
        declared.kind = public_function.ARG_TYPE_ARBITRARY
    else:
        declared.kind = public_function.ARG_TYPE_FIXED
        declared.type.CopyFrom(type_of(type_))


def nodes(message: Any, kind: str) -> Iterator[Any]:
    """Walk a tree for the nodes of one kind, such as `ASTTablePathExpressionProto`."""
    return (node for node in every_node(message) if node.DESCRIPTOR.name == kind)


def every_node(message: Any) -> list[Any]:
    """Give all messages of a tree, each before those in it."""
    found, left = [], [message]
    while left:
        node = left.pop()
        found.append(node)
        inner: list[Any] = []
        for field, value in node.ListFields():
            if field.message_type is not None:
                inner += value if field.is_repeated else (value,)
        left += reversed(inner)
    return found


def kind_of(node: Any, prefix: str, suffix: str) -> str:
    """Name a wrapped node: `AlterTable` for an `ASTAlterTableStatementProto`."""
    name: str = protos.unwrapped(node).DESCRIPTOR.name
    return name.removeprefix(prefix).removesuffix(suffix)


def place(node: Any) -> tuple[int, int]:
    """Give a node's byte range in the text."""
    where = protos.inherited(node, "parse_location_range")
    return where.start, where.end


def replaced(sql: str, edits: dict[tuple[int, int], str]) -> str:
    """Put other text in place of byte ranges that do not overlap."""
    data = sql.encode()
    for (start, end), text in sorted(edits.items(), reverse=True):
        data = data[:start] + text.encode() + data[end:]
    return data.decode()
