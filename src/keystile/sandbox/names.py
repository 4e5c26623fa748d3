"""What a statement names: tables, routines, the thing it creates or changes, system variables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from keystile.googlesql import protos
from keystile.googlesql.engine import Engine
from keystile.googlesql.messages import service
from keystile.googlesql.task import Task
from keystile.sandbox.dialect import every_node, kind_of, place, replaced

_PLACE = re.compile(r"\[(\d+):(\d+)\]")

# Where the tree holds the path of a table or a routine, by the field's name. All other paths name
# columns, fields, types and options, which have no project in them.
_OBJECT_PATHS = frozenset(
    (
        "path_expr",
        "target_path",
        "table_path",
        "like_table_name",
        "function",
        "procedure_name",
        "connection_path",
        "name",
        "path",
    )
)
_TARGETS = ("target_path", "name", "path")

Path = tuple[str, ...]


class TablePlace(msgspec.Struct, frozen=True):
    """Where a table path stands, in bytes. `named` says that no alias may or need be added.

    `time` is the range of its `FOR SYSTEM_TIME AS OF …`, and `time_sql` the expression in it.
    """

    start: int
    end: int
    path: Path
    named: bool
    time: tuple[int, int] = (0, 0)
    time_sql: str = ""


class Names(msgspec.Struct, frozen=True):
    """The table paths of a statement, and its text with `` `p.d.t` `` split into three names.

    `script` says that it is more than one statement, or one that only scripts have. `original` is
    the text as given, for the places that messages name. `kind` is the parser's name of the
    statement, such as `AlterTable`. `target` is the path that a DDL or DML statement changes,
    `calls` are the paths of called routines, `system` the places of `@@name`.
    """

    sql: str
    original: str
    kind: str = ""
    paths: tuple[Path, ...] = ()
    script: bool = False
    target: Path = ()
    calls: tuple[Path, ...] = ()
    places: tuple[TablePlace, ...] = ()
    system: tuple[tuple[int, int, str], ...] = ()
    connections: tuple[Path, ...] = ()

    def placed(self, message: str) -> str:
        """Say a place in `sql`, such as `[at 1:15]`, as the place in the text as given."""
        return _PLACE.sub(self._moved, message)

    def _moved(self, where: re.Match[str]) -> str:
        line, column = int(where[1]), int(where[2])
        split, original = self.sql.split("\n"), self.original.split("\n")
        if line > len(split) or "\t" in split[line - 1]:
            return where[0]
        grown = 0
        for at, character in enumerate(split[line - 1][: column - 1]):
            # Where the texts differ, the longer one has put "`.`" for ".".
            if original[line - 1][at - grown : at - grown + 1] != character:
                grown += 1
        return f"[{line}:{column - grown}]"


def find_names(engine: Engine, sql: str) -> Names:
    """Find what a statement names. Raises `InvalidQueryError` for a syntax error."""
    parsed = parse(engine, sql)
    statements = parsed.statement_list_node.statement_list
    if len(statements) != 1 or statements[0].HasField("ast_script_statement_node"):
        return Names(sql, sql, script=True)
    dotted = {
        place(name): f"`{'`.`'.join(name.id_string.split('.'))}`"
        for path in _object_paths(parsed)
        for name in path.names
        if "." in name.id_string
    }
    split = replaced(sql, dotted)
    if dotted:
        parsed = parse(engine, split)
    (wrapped,) = parsed.statement_list_node.statement_list
    statement = protos.unwrapped(wrapped)
    kind = kind_of(wrapped, "AST", "StatementProto")
    if kind == "ExecuteImmediate":
        return Names(sql, sql, kind, script=True)
    nodes = _Nodes(statement)
    return Names(
        sql=split,
        original=sql,
        kind=kind,
        paths=_table_paths(engine, split),
        target=_target(statement),
        calls=tuple(dict.fromkeys(_calls(nodes))),
        places=tuple(_places(nodes, split.encode())),
        system=tuple(
            (*place(node), ".".join(path_of(node.path)))
            for node in nodes.of("ASTSystemVariableExprProto")
        ),
        connections=tuple(
            path_of(node.connection_path)
            for node in nodes.of("ASTConnectionClauseProto")
            if node.HasField("connection_path")
        ),
    )


class _Nodes:
    """The nodes of a tree by their kind; a walk costs more than all that is done with them."""

    def __init__(self, statement: Any) -> None:
        self._by_kind: dict[str, list[Any]] = {}
        for node in every_node(statement):
            self._by_kind.setdefault(node.DESCRIPTOR.name, []).append(node)

    def of(self, kind: str) -> list[Any]:
        """Give those of a kind, such as `ASTFunctionCallProto`."""
        return self._by_kind.get(kind, [])


def parse(engine: Engine, sql: str) -> Any:
    """Give the syntax tree of a script. Raises `InvalidQueryError`."""
    request = service.ParseRequest(
        sql_statement=sql, options=protos.language_options(engine), allow_script=True
    )
    return engine.call("Parse", request, service.ParseResponse).parsed_script


def path_of(path: Any) -> Path:
    """Give the names of a path expression."""
    return tuple(name.id_string for name in protos.unwrapped(path).names)


def _table_paths(engine: Engine, sql: str) -> tuple[Path, ...]:
    request = service.ExtractTableNamesFromStatementRequest(
        sql_statement=sql, options=protos.language_options(engine)
    )
    answer = engine.call(
        "ExtractTableNamesFromStatement",
        request,
        service.ExtractTableNamesFromStatementResponse,
    )
    return tuple(tuple(name.table_name_segment) for name in answer.table_name)


def _object_paths(message: Any) -> Iterator[Any]:
    """Walk the paths of tables and routines."""
    for node in every_node(message):
        if node.DESCRIPTOR.name == "ASTUpdateSetValueProto":
            continue  # its paths are of columns
        for field, value in node.ListFields():
            if field.name in _OBJECT_PATHS and field.message_type is not None:
                path = protos.unwrapped(value)
                if path is not None and path.DESCRIPTOR.name == "ASTPathExpressionProto":
                    yield path


def _target(statement: Any) -> Path:
    if protos.has(statement, "function_declaration"):
        return path_of(protos.inherited(statement, "function_declaration").name)
    for field in _TARGETS:
        if protos.has(statement, field):
            return path_of(protos.inherited(statement, field))
    return ()


def _calls(nodes: _Nodes) -> Iterator[Path]:
    for call in nodes.of("ASTFunctionCallProto"):
        yield path_of(call.function)
    for call in nodes.of("ASTTVFProto"):
        yield path_of(call.name)
    for call in nodes.of("ASTCallStatementProto"):
        yield path_of(call.procedure_name)


def _places(nodes: _Nodes, data: bytes) -> Iterator[TablePlace]:
    for table in nodes.of("ASTTablePathExpressionProto"):
        if not table.HasField("path_expr"):
            continue  # UNNEST
        start, end = place(table.path_expr)
        if table.HasField("for_system_time"):
            time, expression = place(table.for_system_time), table.for_system_time.expression
            inner = place(protos.unwrapped(expression))
            time_sql = data[inner[0] : inner[1]].decode()
        else:
            time, time_sql = (0, 0), ""
        named = table.HasField("alias")
        yield TablePlace(start, end, path_of(table.path_expr), named, time, time_sql)
    for clause in nodes.of("ASTTableClauseProto"):
        if clause.HasField("table_path"):
            yield TablePlace(*place(clause.table_path), path_of(clause.table_path), named=True)


FIND_NAMES = Task(find_names, str, Names)
