"""What the bare engine says of a statement, apart from everything that the gateway does.

The verdicts say which of GoogleSQL's tests are queries that BigQuery accepts: the engine resolves
them in BigQuery's dialect, and they hold nothing that BigQuery's own reference does not have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from keystile.analysis.tree import kind
from keystile.analysis.walker import enum_name
from keystile.googlesql.engine import Engine
from keystile.googlesql.messages import service
from keystile.googlesql.protos import (
    analyzer_options,
    builtin_catalog,
    has,
    inherited,
    sql_type,
    type_proto,
    unwrapped,
)
from keystile.model.errors import InvalidQueryError
from keystile.model.schema import Field, Mode, Parameter, SqlType, Table, TableId, TableKind


class Verdict(NamedTuple):
    """Whether BigQuery accepts a statement as a query, or why not (a class, then the details).

    `columns` are the base columns, as table and column, that the resolved tree scans and names.
    """

    refused: str = ""
    details: str = ""
    columns: frozenset[tuple[str, str]] = frozenset()


def judged(
    engine: Engine, sql: str, tables: Iterable[Table], parameters: Iterable[Parameter]
) -> Verdict:
    """Resolve a statement against tables that are known by their short names."""
    catalog = builtin_catalog(engine)
    for table in tables:
        add_table(catalog, table)
    request = service.AnalyzeRequest(sql_statement=sql, options=analyzer_options(engine))
    for parameter in parameters:
        request.options.query_parameters.add(name=parameter.name, type=type_proto(parameter.type))
    request.registered_catalog_id = engine.registered(catalog)
    try:
        answer = engine.call("Analyze", request, service.AnalyzeResponse)
    except InvalidQueryError as error:
        return Verdict("the engine rejects it in BigQuery's dialect", error.message)
    statement = unwrapped(answer.resolved_statement)
    if kind(statement) != "ResolvedQueryStmt":
        return Verdict("no query", kind(statement).removeprefix("Resolved"))
    if why := next(filter(None, map(_foreign, _messages(statement))), ""):
        return Verdict("not in BigQuery", why)
    return Verdict(columns=frozenset(_scanned(statement)))


def add_table(catalog: Any, table: Table) -> None:
    """Put a table into a catalog under its short name."""
    added = catalog.table.add(name=table.id.table, full_name=table.id.table)
    for field in table.fields:
        added.column.add(name=field.name, type=type_proto(field.sql_type))


def defined(
    engine: Engine, definitions: Mapping[str, str], project: str, dataset: str
) -> Iterator[Table]:
    """Give the tables whose columns are spelled as in `CREATE TABLE`."""
    catalog = engine.registered(builtin_catalog(engine))
    for name, columns in definitions.items():
        request = service.AnalyzeRequest(
            sql_statement=f"CREATE TABLE `{name}` ({columns})",
            registered_catalog_id=catalog,
            options=analyzer_options(engine),
        )
        answer = engine.call("Analyze", request, service.AnalyzeResponse)
        statement = unwrapped(answer.resolved_statement)
        fields = [
            field(column.name, sql_type(column.type))
            for column in inherited(statement, "column_definition_list")
        ]
        yield Table(TableId(project, dataset, name), TableKind.TABLE, tuple(fields), "1")


def field(name: str, type_: SqlType) -> Field:
    """Give a table's column of a type."""
    if type_.kind == "ARRAY" and type_.element:
        inner = field(name, type_.element)
        return Field(
            name, inner.type, Mode.REPEATED, inner.fields, range_element=inner.range_element
        )
    fields = tuple(field(inner, of) for inner, of in type_.fields)
    element = type_.element.kind if type_.element else ""
    return Field(name, type_.kind, fields=fields, range_element=element)


def _messages(message: Any) -> Iterator[Any]:
    stack = [message]
    while stack:
        yield (current := stack.pop())
        for descriptor, value in current.ListFields():
            if descriptor.message_type is not None:
                stack.extend(value if descriptor.is_repeated else (value,))


def _scanned(statement: Any) -> Iterator[tuple[str, str]]:
    """Give the base columns that anything but a scan's list of its columns names."""
    named = {reference.column.column_id for reference in _references(statement)}
    for message in _messages(statement):
        if message.DESCRIPTOR.name == "ResolvedTableScanProto":
            for column in message.parent.column_list:
                if column.column_id in named:
                    yield message.table.full_name, column.name


def _references(statement: Any) -> Iterator[Any]:
    names = {"ResolvedColumnRefProto", "ResolvedOutputColumnProto"}
    return (message for message in _messages(statement) if message.DESCRIPTOR.name in names)


def _foreign(message: Any) -> str:
    """Name what BigQuery's reference does not have; empty for what it has."""
    name = message.DESCRIPTOR.name.removesuffix("Proto")
    if name == "Type" and hasattr(message, "type_kind"):
        shown = sql_type(message).kind
        return f"type {shown}" if shown in _FOREIGN_TYPES else ""
    if name == "FunctionRef":
        function = message.name.rpartition(":")[2].lower()
        return f"function {function}" if function in _FOREIGN_FUNCTIONS else ""
    if name == "ResolvedSampleScan":
        return "" if _is_plain_sample(message) else "TABLESAMPLE other than SYSTEM (n PERCENT)"
    if name.startswith("ResolvedGraph"):
        return "graph query"
    return _FOREIGN_NODES.get(name, "")


def _is_plain_sample(scan: Any) -> bool:
    odd = any(has(scan, field) for field in ("repeatable_argument", "weight_column"))
    unit = enum_name(scan, "unit")
    return scan.method == "system" and unit == "PERCENT" and not odd and not scan.partition_by_list


_FOREIGN_TYPES = frozenset(
    [
        *("DOUBLE", "INT32", "UINT32", "UINT64", "FLOAT", "PROTO", "MAP", "UUID", "TOKENLIST"),
        *("GRAPH_ELEMENT", "GRAPH_PATH", "MEASURE", "EXTENDED"),
    ]
)
"""Types of GoogleSQL that BigQuery's list of data types does not have."""

_FOREIGN_FUNCTIONS = frozenset(
    """
aead.envelope_decrypt_bytes aead.envelope_decrypt_string aead.envelope_encrypt agg apply
filter_fields flatten new_uuid proto_map_contains_key proto_modify_map to_seconds_interval
zstd_compress zstd_decompress_to_bytes zstd_decompress_to_string
""".split()  # noqa: SIM905 - names read better as a table
)
"""Functions of GoogleSQL on none of BigQuery's lists of functions.

Not named here, and so among the queries to be understood, are those that BigQuery may come to have,
such as functions with lambdas.
"""

_FOREIGN_NODES = {
    "ResolvedAnonymizedAggregateScan": "SELECT WITH ANONYMIZATION",
    "ResolvedDescribeScan": "pipe operator DESCRIBE",
    "ResolvedFlatten": "fields of the elements of an array",
    "ResolvedFlattenedArg": "fields of the elements of an array",
    "ResolvedGeneralizedQueryStmt": "pipe operator FORK, TEE, EXPORT DATA, CREATE TABLE or INSERT",
    "ResolvedGetProtoField": "protocol buffer",
    "ResolvedGroupRowsScan": "GROUP_ROWS",
    "ResolvedLockMode": "FOR UPDATE",
    "ResolvedLogScan": "pipe operator LOG",
    "ResolvedMakeProto": "protocol buffer",
    "ResolvedPipeIfScan": "pipe operator IF",
    "ResolvedStaticDescribeScan": "pipe operator STATIC_DESCRIBE",
}
"""Statement parts of GoogleSQL that BigQuery's reference of queries and pipe syntax lacks."""


def field_of_query(engine: Engine, query: str, id_: TableId) -> Table:
    """Give the table that a query's result makes.

    Raises `InvalidQueryError`, and `OpaqueQueryError` for a type that BigQuery does not have.
    """
    request = service.AnalyzeRequest(
        sql_statement=query,
        registered_catalog_id=engine.registered(builtin_catalog(engine)),
        options=analyzer_options(engine),
    )
    statement = unwrapped(
        engine.call("Analyze", request, service.AnalyzeResponse).resolved_statement
    )
    columns = [(out.name, sql_type(out.column.type)) for out in statement.output_column_list]
    for _, type_ in columns:
        type_proto(type_)
    fields = [field(name, type_) for name, type_ in columns]
    return Table(id_, TableKind.TABLE, tuple(fields), "1")


def parameters_of(engine: Engine, types: Mapping[str, str]) -> Iterator[Parameter]:
    """Give query parameters of types that are spelled in SQL."""
    for name, type_ in types.items():
        table = field_of_query(engine, f"SELECT CAST(NULL AS {type_}) AS p", TableId("", "", ""))
        yield Parameter(name, table.fields[0].sql_type, {})
