"""What the sandbox has an engine do: find names, describe a statement, convert, evaluate.

Requests hold everything, so any worker can run any of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import msgspec
from zetasql.wasi._pb2.zetasql.local_service import local_service_pb2 as service
from zetasql.wasi._pb2.zetasql.public import options_pb2 as public_options

from keystile.googlesql import protos
from keystile.googlesql.engine import Engine
from keystile.googlesql.task import Task
from keystile.model.errors import InvalidQueryError, OpaqueQueryError
from keystile.model.schema import SqlType
from keystile.sandbox import cells
from keystile.sandbox.errors import unsupported

# BigQuery's TIMESTAMP ends at microseconds; with these the engine would go on to picoseconds.
_NOT_BIGQUERY = (
    public_options.FEATURE_TIMESTAMP_NANOS,
    public_options.FEATURE_TIMESTAMP_PICOS,
    public_options.FEATURE_TIMESTAMP_PRECISION,
)
_PLACE = re.compile(r"\[(\d+):(\d+)\]")

# How the evaluator says that it cannot; and functions that BigQuery has beside GoogleSQL's own.
_NOT_EVALUABLE = ("Unsupported", "not implemented", "Unimplemented", "content set")
_MISSING = re.compile(
    r"unction not found: `?(ml\.|ai\.|(max_by|min_by|contains_substr|search|collate|appends|changes"
    r"|vector_search|external_query)\b)",
    re.IGNORECASE,
)

Column = tuple[str, SqlType]


class Spelled(msgspec.Struct, frozen=True):
    """A table as a query spells it, and what it is. `name` is its full name, `content` its rows.

    `content` is a serialized `TableContent`, empty where the statement is only described.
    """

    path: tuple[str, ...]
    name: str
    columns: tuple[Column, ...]
    content: bytes = b""


class Given(msgspec.Struct, frozen=True):
    """A parameter: its serialized `ValueProto` is empty where the statement is only described."""

    name: str
    type: SqlType
    value: bytes = b""


class Names(msgspec.Struct, frozen=True):
    """The table paths of a statement, and its text with `` `p.d.t` `` split into three names.

    `script` says that it is more than one statement, or one that only scripts have. `original` is
    the text as given, for the places that messages name. `kind` is the parser's name of the
    statement, such as `AlterTable`.
    """

    sql: str
    original: str
    kind: str = ""
    paths: tuple[tuple[str, ...], ...] = ()
    script: bool = False

    def placed(self, message: str) -> str:
        """Say a place in `sql`, such as `[at 1:15]`, as the place in the text as given."""
        return _PLACE.sub(self._moved, message)

    def _moved(self, place: re.Match[str]) -> str:
        line, column = int(place[1]), int(place[2])
        split, original = self.sql.split("\n"), self.original.split("\n")
        if line > len(split) or "\t" in split[line - 1]:
            return place[0]
        grown = 0
        for at, character in enumerate(split[line - 1][: column - 1]):
            # Where the texts differ, the longer one has put "`.`" for ".".
            if original[line - 1][at - grown : at - grown + 1] != character:
                grown += 1
        return f"[{line}:{column - grown}]"


class Statement(msgspec.Struct, frozen=True):
    """A statement whose tables are known."""

    sql: str
    tables: tuple[Spelled, ...]
    parameters: tuple[Given, ...] = ()


class Described(msgspec.Struct, frozen=True):
    """What a statement is. `used` are the columns that it reads, by full table name.

    `columns` is the result's shape; `sql` is the text that can be evaluated, where each table is
    one name; `flat` says that the result's rows are structs whose fields are the columns.
    """

    kind: str
    sql: str
    columns: tuple[Column, ...]
    used: dict[str, tuple[str, ...]]
    flat: bool


class Rows(msgspec.Struct, frozen=True):
    """The result: rows as BigQuery's JSON, and the same as a serialized `TableContent`."""

    rows: list[dict[str, Any]]
    content: bytes


class Raw(msgspec.Struct, frozen=True):
    """Serialized rows with text leaves, to become values of these types."""

    types: tuple[SqlType, ...]
    rows: bytes


def find_names(engine: Engine, sql: str) -> Names:
    """Find the tables that a statement names. Raises `InvalidQueryError` for a syntax error."""
    request = service.ParseRequest(
        sql_statement=sql, options=protos.language_options(engine), allow_script=True
    )
    parsed = engine.call("Parse", request, service.ParseResponse).parsed_script
    statements = parsed.statement_list_node.statement_list
    if len(statements) != 1 or statements[0].HasField("ast_script_statement_node"):
        return Names(sql, sql, script=True)
    data = sql.encode()
    for start, end, names in reversed(_dotted(parsed)):
        data = data[:start] + f"`{'`.`'.join(names)}`".encode() + data[end:]
    split = data.decode()
    named = service.ExtractTableNamesFromStatementRequest(
        sql_statement=split, options=protos.language_options(engine)
    )
    answer = engine.call(
        "ExtractTableNamesFromStatement",
        named,
        service.ExtractTableNamesFromStatementResponse,
    )
    paths = tuple(tuple(name.table_name_segment) for name in answer.table_name)
    return Names(split, sql, _kind(statements[0], "AST", "StatementProto"), paths)


def _kind(statement: Any, prefix: str, suffix: str) -> str:
    name: str = protos.unwrapped(statement).DESCRIPTOR.name
    return name.removeprefix(prefix).removesuffix(suffix)


def _dotted(parsed: Any) -> list[tuple[int, int, list[str]]]:
    """Find names such as `` `p.d.t` `` in table paths, as byte ranges."""
    found = []
    for path in _nodes(parsed, "ASTTablePathExpressionProto"):
        for name in path.path_expr.names:
            if "." in name.id_string:
                place = protos.inherited(name, "parse_location_range")
                found.append((place.start, place.end, name.id_string.split(".")))
    return sorted(found)


def describe(engine: Engine, statement: Statement) -> Described:
    """Resolve a statement. Raises `InvalidQueryError` in GoogleSQL's words."""
    catalog = protos.builtin_catalog(engine)
    for table in statement.tables:
        _add(catalog, table.path, table)
    request = service.AnalyzeRequest(
        options=_options(engine, statement.parameters),
        registered_catalog_id=engine.registered(catalog),
        sql_statement=statement.sql,
    )
    answer = engine.call("Analyze", request, service.AnalyzeResponse)
    resolved = protos.unwrapped(answer.resolved_statement)
    kind = _kind(answer.resolved_statement, "Resolved", "StmtProto")
    if kind == "Drop":
        kind += resolved.object_type.title().replace(" ", "")
    columns = (
        tuple(
            (column.name, protos.sql_type(column.column.type))
            for column in resolved.output_column_list
        )
        if kind == "Query"
        else ()
    )
    scans = list(_nodes(resolved, "ResolvedTableScanProto"))
    return Described(
        kind=kind,
        sql=_evaluable(statement.sql, scans, _question_marks(engine, statement)),
        columns=columns,
        used=_used(scans),
        flat=kind == "Query" and resolved.is_value_table,
    )


def _used(scans: list[Any]) -> dict[str, tuple[str, ...]]:
    used: dict[str, dict[str, None]] = {}
    for scan in scans:
        names = used.setdefault(scan.table.name, {})
        names.update((column.name, None) for column in protos.inherited(scan, "column_list"))
    return {table: tuple(names) for table, names in used.items()}


def _question_marks(engine: Engine, statement: Statement) -> list[Any]:
    if not statement.parameters or statement.parameters[0].name:
        return []
    request = service.ParseRequest(
        sql_statement=statement.sql, options=protos.language_options(engine)
    )
    parsed = engine.call("Parse", request, service.ParseResponse)
    return list(_nodes(parsed, "ASTParameterExprProto"))


def _evaluable(sql: str, scans: list[Any], question_marks: list[Any]) -> str:
    """Write what the evaluator looks up: each table by its one full name, parameters by name."""
    edits: dict[tuple[int, int], str] = {}
    for scan in scans:
        if protos.has(scan, "for_system_time_expr"):
            raise unsupported("time travel (FOR SYSTEM_TIME AS OF)")
        place = protos.inherited(scan, "parse_location_range")
        name = scan.table.name
        alias = "" if scan.alias else f" AS `{name.rpartition('.')[2]}`"
        edits[place.start, place.end] = f"`{name}`{alias}"
    for mark in question_marks:
        place = protos.inherited(mark, "parse_location_range")
        edits[place.start, place.end] = f"@{_positional(mark.position)}"
    data = sql.encode()
    for (start, end), text in sorted(edits.items(), reverse=True):
        data = data[:start] + text.encode() + data[end:]
    return data.decode()


def _positional(position: int) -> str:
    return f"p{position}"


def evaluate(engine: Engine, statement: Statement) -> Rows:
    """Run a query that `describe` made evaluable.

    Raises `InvalidQueryError` in GoogleSQL's words, or with what the sandbox does not support.
    """
    catalog = protos.builtin_catalog(engine)
    for table in statement.tables:
        _add(catalog, (table.name,), table)
    parameters = tuple(
        msgspec.structs.replace(given, name=given.name or _positional(position))
        for position, given in enumerate(statement.parameters, start=1)
    )
    request = service.EvaluateQueryRequest(
        sql=statement.sql,
        options=_options(engine, parameters),
        simple_catalog=catalog,
    )
    for table in statement.tables:
        content = request.table_content[table.name]
        content.table_data.SetInParent()  # a table with no rows has content too
        content.MergeFromString(table.content)
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
    return Rows([_row(row, columns) for row in data], answer.content.SerializeToString())


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
    texts = tuple(cells.text_type(type_) for type_ in raw.types)
    columns = tuple((f"c{at}", type_) for at, type_ in enumerate(texts))
    table = Spelled(("raw",), "raw", (("at", SqlType("INT64")), *columns), raw.rows)
    casts = [cells.cast_sql(f"raw.c{at}", type_) for at, type_ in enumerate(raw.types)]
    sql = f"SELECT {', '.join(casts)} FROM raw ORDER BY raw.at"  # noqa: S608  # no user's text
    return evaluate(engine, Statement(sql, (table,))).content if casts else b""


def _options(engine: Engine, parameters: tuple[Given, ...]) -> Any:
    options = protos.analyzer_options(engine)
    features = options.language_options.enabled_language_features
    for feature in _NOT_BIGQUERY:
        if feature in features:
            features.remove(feature)
    for given in parameters:
        type_ = protos.type_proto(given.type)
        if given.name:
            options.query_parameters.add(name=given.name, type=type_)
        else:
            options.positional_query_parameters.append(type_)
    if parameters and not parameters[0].name:
        options.parameter_mode = public_options.PARAMETER_POSITIONAL
    return options


def _add(catalog: Any, path: tuple[str, ...], table: Spelled) -> None:
    for segment in path[:-1]:
        inner = next((each for each in catalog.catalog if each.name == segment), None)
        catalog = catalog.catalog.add(name=segment) if inner is None else inner
    added = catalog.table.add(name=table.name, name_in_catalog=path[-1])
    for name, type_ in table.columns:
        try:
            added.column.add(name=name, type=protos.type_proto(type_))
        except OpaqueQueryError as error:
            raise unsupported(f"columns of type {type_}") from error


def _nodes(message: Any, kind: str) -> Iterator[Any]:
    if message.DESCRIPTOR.name == kind:
        yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for child in value if field.is_repeated else (value,):
                yield from _nodes(child, kind)


FIND_NAMES = Task(find_names, str, Names)
DESCRIBE = Task(describe, Statement, Described)
EVALUATE = Task(evaluate, Statement, Rows)
CONVERT = Task(convert, Raw, bytes)
